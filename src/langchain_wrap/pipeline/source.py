"""The source: an author's method, whichever it is, read as chunks."""

from __future__ import annotations

import contextvars
import inspect
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from langchain_core.outputs import Generation, GenerationChunk

from langchain_wrap.pipeline.cancel import CancelToken
from langchain_wrap.pipeline.signature import Signature


class Method(NamedTuple):
    """One of the methods that an author can implement."""

    name: str
    is_async: bool
    gives: Literal["text", "chunks", "list"]


METHODS = {
    method.name: method
    for method in (
        Method("_call", False, "text"),
        Method("_acall", True, "text"),
        Method("_stream", False, "chunks"),
        Method("_astream", True, "chunks"),
        Method("_batch", False, "list"),
        Method("_abatch", True, "list"),
    )
}

# Which method serves a call, best first. A whole text asks a batch method first, so that
# concurrent callers share its calls; then, as langchain-core does, a method that gives a whole
# text before one that streams. Otherwise the method native to the caller's side is preferred.
_WHOLE = {
    False: ("_batch", "_call", "_stream", "_abatch", "_acall", "_astream"),
    True: ("_abatch", "_batch", "_acall", "_call", "_astream", "_stream"),
}
_STREAMED = {False: ("_stream", "_astream"), True: ("_astream", "_stream")}


def choose(implemented: Collection[str], *, streamed: bool, is_async: bool) -> Method:
    """Return the method that serves a call.

    Args:
        implemented: The names of the methods that the author has written.
        streamed: Whether somebody listens to the single chunks.
        is_async: Whether the caller is in an event loop.
    """
    order = (_STREAMED[is_async] if streamed else ()) + _WHOLE[is_async]
    return METHODS[next(name for name in order if name in implemented)]


calling: contextvars.ContextVar[object] = contextvars.ContextVar("calling", default=None)
"""The model whose method is at work in this context."""


@dataclass(eq=False, repr=False)
class SourceCall:
    """One call of an author's method."""

    label: str
    """What an error message calls the method."""
    method: Method
    function: Callable[..., Any]
    prompt: str | list[str]
    stop: tuple[str, ...]
    parameters: Mapping[str, Any]
    cancel: CancelToken
    run_manager: Callable[[], Any] = lambda: None
    """Makes the run manager for a method that asks for one."""
    secrets: Callable[[], Iterable[str]] = tuple
    """Gives the texts that must not show in an error."""
    owner: object = None
    """The model, where its own changes to its fields have to be told from others'."""

    def __call__(self) -> Any:
        """Call the method with what it takes of stop, cancel, run_manager and parameters."""
        given: dict[str, Any] = {}
        for name in Signature.of(self.function).offered:
            if name == "stop":
                given[name] = list(self.stop) or None
            elif name == "cancel":
                given[name] = self.cancel
            else:
                given[name] = self.run_manager()
        return self.function(self.prompt, **given, **self.parameters)

    def text(self, value: object) -> GenerationChunk:
        """Return a whole text as one chunk.

        Raises:
            TypeError: It is neither a string nor a Generation.
        """
        if isinstance(value, str):
            return GenerationChunk(text=value)
        if isinstance(value, Generation):
            return GenerationChunk(text=value.text, generation_info=value.generation_info)
        raise self._wrong("return", "a str", value)

    def chunk(self, value: object) -> GenerationChunk:
        """Return what a stream has yielded as a chunk.

        Raises:
            TypeError: It is neither a string nor a GenerationChunk.
        """
        if isinstance(value, GenerationChunk):
            return value
        if isinstance(value, str):
            return GenerationChunk(text=value)
        raise self._wrong("yield", "GenerationChunk or str", value)

    def texts(self, values: object, count: int) -> list[object]:
        """Return what a batch method has returned, one value for each prompt.

        Raises:
            TypeError: It is not a list.
            ValueError: It has another length than the list of prompts.
        """
        if not isinstance(values, list | tuple):
            raise self._wrong("return", "a list of str", values)
        if len(values) != count:
            raise ValueError(
                f"{self.label} was given {count} prompts and returned {len(values)} completions; "
                "it must return one for each prompt, in order"
            )
        return list(values)

    def iterator(self, value: object) -> Iterator[object]:
        """Return what a blocking stream method has returned as an iterator."""
        if isinstance(value, str | bytes | Mapping | Generation) or not hasattr(value, "__iter__"):
            raise self._wrong("return", "an iterator of GenerationChunk or str", value)
        return iter(value)

    def async_iterator(self, value: object) -> AsyncIterator[object]:
        """Return what an async stream method has returned as an async iterator."""
        if not hasattr(value, "__aiter__"):
            raise self._wrong("return", "an async iterator of GenerationChunk or str", value)
        iterator: AsyncIterator[object] = value.__aiter__()
        return iterator

    def awaitable(self, value: object) -> Any:
        """Return what an async method has returned as something to await."""
        if not inspect.isawaitable(value):
            raise self._wrong("be `async def` and return", "a str", value)
        return value

    def _wrong(self, verb: str, wanted: str, value: object) -> TypeError:
        fix = ""
        if inspect.iscoroutine(value):
            value.close()  # or Python warns that it was never awaited
            fix = "; a coroutine function belongs in the async method of the same name"
        elif self.method.gives == "text" and inspect.isgenerator(value):
            fix = "; a generator belongs in _stream"
        elif self.method.gives == "text" and inspect.isasyncgen(value):
            fix = "; an async generator belongs in _astream"
        what = repr(value)
        if len(what) > 100:
            what = what[:100] + "…"
        return TypeError(
            f"{self.label} must {verb} {wanted}, but it gave {what} ({type(value).__name__}){fix}"
        )


def blocking_chunks(call: SourceCall) -> Iterator[GenerationChunk]:
    """Yield the chunks of a blocking method; it is called at the first step."""
    result = call()
    if call.method.gives == "text":
        yield call.text(result)
        return
    iterator = call.iterator(result)
    try:
        for item in iterator:
            yield call.chunk(item)
    finally:
        close = getattr(iterator, "close", None)
        if close is not None:
            close()


async def async_chunks(call: SourceCall) -> AsyncIterator[GenerationChunk]:
    """Yield the chunks of an async method; it is called at the first step."""
    result = call()
    if call.method.gives == "text":
        yield call.text(await call.awaitable(result))
        return
    if inspect.iscoroutine(result):
        result = await result
    iterator = call.async_iterator(result)
    try:
        async for item in iterator:
            yield call.chunk(item)
    finally:
        close = getattr(iterator, "aclose", None)
        if close is not None:
            await close()
