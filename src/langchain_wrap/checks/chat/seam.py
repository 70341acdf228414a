"""The seam: what is written by the author of a chat model, to be watched, slowed down or broken.

Of a class on langchain-core that is its four methods; of one on `langchain_wrap.ChatModel` it is
`_chat`; of what `as_chat()` makes, the methods of the LLM. All else goes on as it is.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.language_models.chat_models import SimpleChatModel
from langchain_core.messages import BaseMessage

from langchain_wrap.chat.adapter import LLMChat
from langchain_wrap.chat.model import ChatModel
from langchain_wrap.checks.probes import spy

_METHODS = ("_generate", "_agenerate", "_stream", "_astream")


@dataclass
class Visit:
    """One call of an author's method."""

    method: str
    text: str
    """The text of all messages, or the prompt that was made of them."""
    parameters: dict[str, Any]
    chunks: int = 0
    left: bool = False
    """Whether the method has ended."""
    early: bool = False
    """Whether a stream was closed, or an async method cancelled, before its end."""


@dataclass(eq=False)
class Seam:
    """What to do before the author's methods go on, and what was seen of them."""

    before: Callable[[str], None] = lambda text: None
    """Called with the text that a method is given; what it raises, the method raises."""
    delay: float = 0.0
    """Seconds before the method, blocking where the method is blocking."""
    pause: float = 0.0
    """Seconds before each chunk of a stream but the first."""
    methods: tuple[str, ...] = ()
    visits: list[Visit] = field(default_factory=list)
    peak: int = 0
    """How many calls were inside at most, at once."""

    def __post_init__(self) -> None:
        self._lock = threading.Lock()
        self._inside: set[str] = set()

    @contextmanager
    def _visit(self, name: str, given: Any, kwargs: dict[str, Any]) -> Iterator[Visit]:
        visit = Visit(name, described(given), kwargs)
        with self._lock:
            self.visits.append(visit)
            # A method that calls another of the same model counts once.
            self._inside.add(visit.text)
            self.peak = max(self.peak, len(self._inside))
        try:
            yield visit
        except (GeneratorExit, asyncio.CancelledError):
            visit.early = True
            raise
        finally:
            with self._lock:
                self._inside.discard(visit.text)
            visit.left = True

    def wrap(self, name: str, original: Callable[..., Any]) -> Callable[..., Any]:
        """Return a function of the same kind to stand in the place of a method."""
        inner = original
        while isinstance(inner, functools.partial):
            inner = inner.func
        if name in spy.STREAMS or inspect.isgeneratorfunction(inner):
            kind = self._astream if name in spy.ASYNC else self._stream
        elif inspect.isasyncgenfunction(inner):
            kind = self._astream
        elif name in spy.ASYNC or inspect.iscoroutinefunction(inner):
            kind = self._acall
        else:
            kind = self._call
        return functools.wraps(original)(kind(name, original))

    def _call(self, name: str, original: Callable[..., Any]) -> Callable[..., Any]:
        def seen(given: Any, *args: Any, **kwargs: Any) -> Any:
            with self._visit(name, given, kwargs) as visit:
                time.sleep(self.delay)
                self.before(visit.text)
                return original(given, *args, **kwargs)

        return seen

    def _acall(self, name: str, original: Callable[..., Any]) -> Callable[..., Any]:
        async def seen(given: Any, *args: Any, **kwargs: Any) -> Any:
            with self._visit(name, given, kwargs) as visit:
                if self.delay:
                    await asyncio.sleep(self.delay)
                self.before(visit.text)
                return await original(given, *args, **kwargs)

        return seen

    def _stream(self, name: str, original: Callable[..., Any]) -> Callable[..., Any]:
        def seen(given: Any, *args: Any, **kwargs: Any) -> Iterator[Any]:
            with self._visit(name, given, kwargs) as visit:
                time.sleep(self.delay)
                self.before(visit.text)
                chunks = iter(original(given, *args, **kwargs))
                try:
                    for chunk in chunks:
                        if visit.chunks and self.pause:
                            time.sleep(self.pause)
                        visit.chunks += 1
                        yield chunk
                finally:
                    close = getattr(chunks, "close", None)
                    if close is not None:
                        close()

        return seen

    def _astream(self, name: str, original: Callable[..., Any]) -> Callable[..., Any]:
        async def seen(given: Any, *args: Any, **kwargs: Any) -> AsyncIterator[Any]:
            with self._visit(name, given, kwargs) as visit:
                if self.delay:
                    await asyncio.sleep(self.delay)
                self.before(visit.text)
                made = original(given, *args, **kwargs)
                chunks = aiter(await made if inspect.iscoroutine(made) else made)
                try:
                    async for chunk in chunks:
                        if visit.chunks and self.pause:
                            await asyncio.sleep(self.pause)
                        visit.chunks += 1
                        yield chunk
                finally:
                    close = getattr(chunks, "aclose", None)
                    if close is not None:
                        await close()

        return seen


def described(given: Any) -> str:
    """Return the text that a method is given: of a prompt, of prompts or of messages."""
    if isinstance(given, str):
        return given
    if isinstance(given, BaseMessage):
        return str(given.text)
    return "\n".join(map(described, given)) if isinstance(given, list | tuple) else repr(given)


def authored(llm: BaseChatModel) -> tuple[str, ...]:
    """Return which of langchain-core's four methods the author of a model has written."""
    return tuple(
        name
        for name in _METHODS
        if not any(
            getattr(type(llm), name) is getattr(base, name)
            for base in (BaseChatModel, SimpleChatModel)
        )
        or (name == "_generate" and isinstance(llm, SimpleChatModel))
    )


@contextmanager
def standing(llm: BaseChatModel, seam: Seam) -> Iterator[BaseChatModel]:
    """Put a seam on a copy of a model, for the time of the body; the body is given the copy."""
    copied: Any = llm.model_copy()
    target: Any = copied
    if isinstance(copied, LLMChat):
        target = copied.llm.model_copy()
        copied = copied.model_copy(update={"llm": target})
    if isinstance(target, BaseChatModel) and not isinstance(target, ChatModel):
        choose: Callable[[str], Any] = functools.partial(getattr, target)
        seam.methods = authored(target)
        put: dict[str, Any] = {name: seam.wrap(name, choose(name)) for name in seam.methods}
    else:
        choose = target._method
        by_prompt = isinstance(copied, LLMChat) and not copied._is_native
        seam.methods = tuple(sorted(target._implemented)) if by_prompt else ("_chat",)
        spied = {name: seam.wrap(name, choose(name)) for name in seam.methods}
        put = {**spied, "_method": lambda name: spied.get(name) or choose(name)}
    # pydantic allows no assignment of these.
    target.__dict__.update(put)
    try:
        yield copied
    finally:
        for name in put:
            target.__dict__.pop(name, None)
