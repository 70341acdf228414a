"""Native chat: an author's `_chat`, whichever shape it has, as a source for the pipeline."""

from __future__ import annotations

import functools
import inspect
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, ToolCallChunk
from langchain_core.messages.ai import UsageMetadata, add_usage
from langchain_core.outputs import Generation, GenerationChunk

from langchain_wrap.pipeline.generation import Request
from langchain_wrap.pipeline.requests import Requests
from langchain_wrap.pipeline.source import Method

MESSAGE = "message"
"""Under this name a chunk's `generation_info` has a list of what its message has besides text."""


def as_source(function: Callable[..., Any], label: str) -> tuple[Method, Callable[..., Any]]:
    """Return an author's `_chat` as a method of the pipeline that gives chunks.

    Args:
        function: A function, coroutine function, generator function or async generator function;
            its first parameter is the list of messages.
        label: What an error message calls it.
    """
    inner = function
    while isinstance(inner, functools.partial):
        inner = inner.func
    if inspect.iscoroutinefunction(inner) or inspect.isasyncgenfunction(inner):

        @functools.wraps(function)
        async def achunks(
            messages: list[BaseMessage], **given: Any
        ) -> AsyncIterator[GenerationChunk]:
            result = function(messages, **given)
            if inspect.isawaitable(result):
                result = await result
            read = _Reader(label).chunk
            if not hasattr(result, "__aiter__"):
                for item in _items(result, label):
                    yield read(item)
                return
            try:
                async for item in result:
                    yield read(item)
            finally:
                close = getattr(result, "aclose", None)
                if close is not None:
                    await close()

        return Method("_chat", True, "chunks"), achunks

    @functools.wraps(function)
    def chunks(messages: list[BaseMessage], **given: Any) -> Iterator[GenerationChunk]:
        result = function(messages, **given)
        if inspect.iscoroutine(result):
            result.close()  # or Python warns that it was never awaited
            raise TypeError(f"{label} gave a coroutine: write it as `async def`")
        read = _Reader(label).chunk
        try:
            for item in _items(result, label):
                yield read(item)
        finally:
            close = getattr(result, "close", None)
            if close is not None and inspect.isgenerator(result):
                close()

    return Method("_chat", False, "chunks"), chunks


def _items(result: object, label: str) -> Iterable[object]:
    if isinstance(result, str | BaseMessage | Generation):
        return [result]
    if isinstance(result, Iterable) and not isinstance(result, bytes | Mapping):
        return result
    raise _wrong(result, label)


class _Reader:
    """Reads what an author gives for one answer, piece by piece."""

    def __init__(self, label: str) -> None:
        self._label = label
        self._usage: UsageMetadata | None = None

    def chunk(self, item: object) -> GenerationChunk:
        """Return a piece as a chunk of the pipeline.

        Raises:
            TypeError: It is nothing that a chat model can say.
        """
        if isinstance(item, str):
            return GenerationChunk(text=item)
        info: dict[str, Any] = {}
        if isinstance(item, Generation):
            message = getattr(item, "message", None)
            if message is None:
                return GenerationChunk(text=item.text, generation_info=item.generation_info)
            info, item = item.generation_info or {}, message
        if not isinstance(item, AIMessage):
            raise _wrong(item, self._label)
        info = {**item.response_metadata, **info}
        if item.usage_metadata is not None:
            # LangChain adds up what the chunks of a message say; the pipeline keeps the last.
            self._usage = add_usage(self._usage, item.usage_metadata)
            info["usage_metadata"] = self._usage
        rest = _without_text(item)
        if rest is not None:
            info[MESSAGE] = [rest]
        return GenerationChunk(text=str(item.text), generation_info=info or None)


def _without_text(message: AIMessage) -> AIMessageChunk | None:
    """Return what a message has besides its text; None where there is nothing."""
    blocks = [] if isinstance(message.content, str) else message.content
    content: list[Any] = [b for b in blocks if isinstance(b, dict) and b.get("type") != "text"]
    calls = _calls_of(message)
    if not (content or calls or message.additional_kwargs):
        return None
    return AIMessageChunk(
        content=content or "",
        additional_kwargs=message.additional_kwargs,
        tool_call_chunks=calls,
    )  # its id is left out: all chunks of an answer have that of the run


def _calls_of(message: AIMessage) -> list[ToolCallChunk]:
    """Return the calls of a message as those of a chunk; the turn numbers them."""
    if isinstance(message, AIMessageChunk):
        return list(message.tool_call_chunks)
    if not message.tool_calls and not message.invalid_tool_calls:
        return []
    chunk = AIMessageChunk(
        content="",
        tool_calls=message.tool_calls,
        invalid_tool_calls=message.invalid_tool_calls,
    )
    return chunk.tool_call_chunks


def _wrong(value: object, label: str) -> TypeError:
    what = repr(value)
    if len(what) > 100:
        what = what[:100] + "…"
    return TypeError(
        f"{label} must give str, AIMessage or AIMessageChunk, or an iterator of these, but it gave "
        f"{what} ({type(value).__name__})"
    )


class NativeRequests(Requests):
    """What the requests of one call of a native `_chat` share."""

    def _choose(self, streamed: bool) -> tuple[Method, Callable[..., Any]]:
        return as_source(self._model._method("_chat"), self._model._label("_chat"))

    def request(self, prompt: Any, *, streamed: bool) -> Request:
        """Return the request for one list of messages."""
        request = super().request(prompt, streamed=streamed)
        if isinstance(self._model, BaseChatModel):
            request.rate_limiter = None  # langchain-core asks that of a chat model itself
        return request
