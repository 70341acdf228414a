"""A spy: stands between a model and its author's methods, to watch, slow down or break them.

What LangChain calls (invoke, batch, …) goes on as it is; only the methods that the author has
written are wrapped, on the one object, and only as long as the spy is on.
"""

from __future__ import annotations

import asyncio
import contextvars
import functools
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from langchain_core.language_models.llms import LLM, BaseLLM
from langchain_core.outputs import Generation, GenerationChunk, LLMResult

from langchain_wrap.contract import Contract

PROBE: contextvars.ContextVar[str | None] = contextvars.ContextVar("probe", default=None)
"""Set by a check around a call; each visit notes its value inside the model."""

_METHODS = ("_call", "_acall", "_stream", "_astream", "_generate", "_agenerate")
ASYNC = frozenset({"_acall", "_astream", "_abatch", "_agenerate"})
STREAMS = frozenset({"_stream", "_astream"})
LISTS = frozenset({"_batch", "_abatch", "_generate", "_agenerate"})


@dataclass(eq=False)
class Visit:
    """One call of an author's method."""

    method: str
    prompts: list[str]
    kwargs: dict[str, Any]
    entered: float
    thread: int
    probe: str | None
    left: float | None = None
    chunks: int = 0
    """How many chunks the method has given."""
    pieces: int = 0
    """How many of these have text."""
    said: str = ""
    """The text of these chunks."""
    early: bool = False
    """Whether a stream was closed, or an async method cancelled, before its end."""
    error: BaseException | None = None
    """What the method raised."""

    @property
    def whole(self) -> bool:
        """Whether the method has come to its own end.

        A stream that was left may be open for a while yet: asyncio closes what nobody holds in a
        task of its own.
        """
        return self.left is not None and not self.early and self.error is None

    def note(self, text: str) -> None:
        """Count a chunk that the method has given."""
        self.chunks += 1
        self.pieces += bool(text)
        self.said += text


@dataclass(eq=False)
class Spy:
    """What to do to the author's methods, and what was seen of them."""

    delay: float = 0.0
    """Seconds before the method, blocking where the method is blocking."""
    pause: float = 0.0
    """Seconds before each chunk of a stream."""
    fail: Callable[[str], BaseException | None] = lambda prompt: None
    """Says for a prompt what to raise in place of calling the method."""
    fail_after: int = 0
    """After how many chunks a stream raises that."""
    around: Callable[[str, Callable[..., Any]], Callable[..., Any]] = lambda name, method: method
    """What to put directly around each method, inside of all else that the spy does."""
    change: Callable[[str, dict[str, Any]], str] = lambda text, kwargs: text
    """What to make of a whole text, given the parameters of the call; not used on streams."""
    methods: tuple[str, ...] = ()
    """The names of the methods that it stands before."""
    visits: list[Visit] = field(default_factory=list)
    peak: int = 0
    """How many different prompts were inside at most, at once."""

    def __post_init__(self) -> None:
        self._lock = threading.Lock()
        # By prompt: a method that calls another of the same model counts once.
        self._inside: Counter[str] = Counter()

    @property
    def inside(self) -> int:
        """How many different prompts are inside now."""
        with self._lock:
            return len(self._inside)

    def wrap(self, name: str, original: Callable[..., Any]) -> Callable[..., Any]:
        """Return a function to stand in the place of a method."""
        method = self.around(name, original)
        if name in STREAMS:
            wrapped = self._astream(name, method) if name in ASYNC else self._stream(name, method)
        else:
            wrapped = self._acall(name, method) if name in ASYNC else self._call(name, method)
        return functools.wraps(original)(wrapped)

    @contextmanager
    def _visit(self, name: str, prompt: Any, kwargs: dict[str, Any]) -> Iterator[Visit]:
        prompts = list(prompt) if name in LISTS else [prompt]
        visit = Visit(
            name, prompts, kwargs, time.perf_counter(), threading.get_ident(), PROBE.get()
        )
        with self._lock:
            self.visits.append(visit)
            self._inside.update(prompts)
            self.peak = max(self.peak, len(self._inside))
        try:
            yield visit
        except (GeneratorExit, asyncio.CancelledError):
            visit.early = True
            raise
        except BaseException as error:
            visit.error = error
            raise
        finally:
            with self._lock:
                self._inside -= Counter(prompts)  # leaves out what has come to none
                visit.left = time.perf_counter()

    def _raise(self, visit: Visit) -> None:
        for prompt in visit.prompts:
            error = self.fail(prompt)
            if error is not None:
                raise error

    def _changed(self, result: Any, kwargs: dict[str, Any]) -> Any:
        if isinstance(result, str):
            return self.change(result, kwargs)
        if isinstance(result, list):
            return [self._changed(one, kwargs) for one in result]
        for row in getattr(result, "generations", ()):
            for generation in row:
                generation.text = self.change(generation.text, kwargs)
        return result

    def _call(self, name: str, original: Callable[..., Any]) -> Callable[..., Any]:
        def spied(prompt: Any, *args: Any, **kwargs: Any) -> Any:
            with self._visit(name, prompt, kwargs) as visit:
                time.sleep(self.delay)
                self._raise(visit)
                return self._changed(original(prompt, *args, **kwargs), kwargs)

        return spied

    def _acall(self, name: str, original: Callable[..., Any]) -> Callable[..., Any]:
        async def spied(prompt: Any, *args: Any, **kwargs: Any) -> Any:
            with self._visit(name, prompt, kwargs) as visit:
                if self.delay:
                    await asyncio.sleep(self.delay)
                self._raise(visit)
                return self._changed(await original(prompt, *args, **kwargs), kwargs)

        return spied

    def _stream(self, name: str, original: Callable[..., Any]) -> Callable[..., Any]:
        def spied(prompt: Any, *args: Any, **kwargs: Any) -> Iterator[Any]:
            with self._visit(name, prompt, kwargs) as visit:
                time.sleep(self.delay)
                chunks = iter(original(prompt, *args, **kwargs))
                try:
                    for chunk in chunks:
                        if visit.chunks >= self.fail_after:
                            self._raise(visit)
                        time.sleep(self.pause)
                        visit.note(text_of(chunk))
                        yield chunk
                    self._raise(visit)
                finally:
                    close = getattr(chunks, "close", None)
                    if close is not None:
                        close()

        return spied

    def _astream(self, name: str, original: Callable[..., Any]) -> Callable[..., Any]:
        async def spied(prompt: Any, *args: Any, **kwargs: Any) -> AsyncIterator[Any]:
            with self._visit(name, prompt, kwargs) as visit:
                if self.delay:
                    await asyncio.sleep(self.delay)
                made = original(prompt, *args, **kwargs)
                chunks = aiter(await made if asyncio.iscoroutine(made) else made)
                try:
                    async for chunk in chunks:
                        if visit.chunks >= self.fail_after:
                            self._raise(visit)
                        if self.pause:
                            await asyncio.sleep(self.pause)
                        visit.note(text_of(chunk))
                        yield chunk
                    self._raise(visit)
                finally:
                    close = getattr(chunks, "aclose", None)
                    if close is not None:
                        await close()

        return spied


def text_of(chunk: Any) -> str:
    """Return the text of what a stream of the author's gives."""
    text = chunk if isinstance(chunk, str) else getattr(chunk, "text", "")
    return text if isinstance(text, str) else ""


def saying(name: str, answer: Callable[[str, dict[str, Any]], str]) -> Callable[..., Any]:
    """Return what can stand for an author's method of this name, as `around` may put it.

    Args:
        name: Says in which form the texts are given.
        answer: Says what to answer to a prompt, given the parameters of the call.
    """

    def call(prompt: Any, *args: Any, **kwargs: Any) -> Any:
        if name not in LISTS:
            return answer(prompt, kwargs)
        texts = [answer(one, kwargs) for one in prompt]
        if "generate" in name:
            return LLMResult(generations=[[Generation(text=text)] for text in texts])
        return texts

    async def acall(prompt: Any, *args: Any, **kwargs: Any) -> Any:
        return call(prompt, *args, **kwargs)

    def stream(prompt: str, *args: Any, **kwargs: Any) -> Iterator[GenerationChunk]:
        yield GenerationChunk(text=answer(prompt, kwargs))

    async def astream(prompt: str, *args: Any, **kwargs: Any) -> AsyncIterator[GenerationChunk]:
        yield GenerationChunk(text=answer(prompt, kwargs))

    if name in STREAMS:
        return astream if name in ASYNC else stream
    return acall if name in ASYNC else call


def authored(llm: BaseLLM) -> tuple[str, ...]:
    """Return the names of the methods that the author of a model has written."""
    if isinstance(llm, Contract):
        return tuple(sorted(llm._implemented))
    return tuple(
        name
        for name in _METHODS
        if getattr(type(llm), name, None) is not None and not _is_core(type(llm), name)
    )


def _is_core(cls: type, name: str) -> bool:
    return any(getattr(cls, name) is getattr(base, name, None) for base in (LLM, BaseLLM))


@contextmanager
def spying(llm: BaseLLM, spy: Spy) -> Iterator[Spy]:
    """Put a spy on one object for the time of the body."""
    spy.methods = authored(llm)
    choose: Callable[[str], Any] = (
        llm._method if isinstance(llm, Contract) else functools.partial(getattr, llm)
    )
    put = {name: spy.wrap(name, choose(name)) for name in spy.methods}
    if isinstance(llm, Contract):
        # By name too, not only by `_method`: the author's methods may call one another.
        spied = dict(put)
        put["_method"] = lambda name: spied.get(name) or choose(name)
    # pydantic allows no assignment of these, and its own copies must not take them along.
    llm.__dict__.update(put)
    try:
        yield spy
    finally:
        for name in put:
            llm.__dict__.pop(name, None)
