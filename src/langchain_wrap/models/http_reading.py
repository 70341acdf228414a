"""Answers being read: a whole one, or a stream chunk by chunk."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Any, Protocol, TypeVar

import httpx
from langchain_core.exceptions import ModelError

from langchain_wrap.models import http_body, http_events
from langchain_wrap.models.http_errors import Peer
from langchain_wrap.models.http_exchange import Outgoing, exchange
from langchain_wrap.models.http_format import StreamFormat, find


class Chunk(Protocol):
    """A part of an answer."""

    @property
    def text(self) -> str:
        """Its text."""


C = TypeVar("C", bound=Chunk)

_NO_STREAM = (
    "no stream of events (does the request ask for one, as with "
    'stream={"body": {"stream": True}, ...}?)'
)


async def whole(outgoing: Outgoing, error: str, limit: int) -> tuple[Any, Peer]:
    """Return an answer's JSON value, and who gave it."""
    async with exchange(outgoing, http_body.ACCEPTED) as exchanged:
        data = await exchanged.whole(limit)
    return value_of(data, error, exchanged.peer), exchanged.peer


async def streamed(
    outgoing: Outgoing,
    form: StreamFormat,
    limit: int,
    read: Callable[[Any, Peer], C | None],
    end: Callable[[Peer], C | None] = lambda _: None,
) -> AsyncGenerator[C, None]:
    """Yield the chunks of a stream.

    Args:
        outgoing: The request.
        form: How the endpoint streams.
        limit: How large an event may be.
        read: Returns what an event's value tells; None where that is nothing.
        end: Returns what is left to tell at the end.

    Raises:
        ModelError: Its `partial_text` is the text until then.
    """
    partial: list[str] = []
    begun = told = False
    try:
        # Compression would only hold back what the server has to say.
        async with exchange(outgoing, "identity") as answer:
            begun = True
            decoder = _decoder(form, limit, answer.response)
            async with aclosing(answer.events(decoder)) as events:  # type: ignore[type-var]
                async for event in events:
                    told = True
                    if form.done is not None and event.data.strip() == form.done:
                        await answer.read_rest()
                        break
                    value = _event_value(form, event, answer.peer)
                    chunk = None if value is None else read(value, answer.peer)
                    if chunk is not None:
                        partial.append(chunk.text)
                        yield chunk
            strange = getattr(decoder, "strange", "")
            if strange and not told:
                raise _no_stream(form, strange, answer.peer)
            last = end(answer.peer)
            if last is not None:
                yield last
    except ModelError as error:
        text = "".join(partial)
        error.partial_text = text  # type: ignore[attr-defined]
        if begun:
            error.args = (f"{error} (after {len(text)} characters of text)",)
        raise


def value_of(data: str, error: str, peer: Peer) -> Any:
    """Return a whole answer's JSON value, if it holds no error."""
    try:
        value = http_events.parsed(data)
    except ValueError:
        raise peer.unexpected("what is no JSON", data) from None
    failure = find(error, value)
    if failure:
        raise peer.reported(failure)
    return value


def _no_stream(form: StreamFormat, body: str, peer: Peer) -> ModelError:
    """Return the error for a body that has no events: one that the server reports, or none."""
    try:
        failure = find(form.error, http_events.parsed(body))
    except ValueError:
        failure = None
    return peer.reported(failure) if failure else peer.unexpected(_NO_STREAM, body)


def _event_value(form: StreamFormat, event: http_events.Event, peer: Peer) -> Any:
    """Return an event's value, if it is no error; None where it has none."""
    if form.format == "raw":
        return event.data or None
    failed = event.name == "error"
    if not (failed or event.data.strip()):
        return None
    try:
        value = http_events.parsed(event.data)
    except ValueError:
        if failed:
            raise peer.reported(event.data) from None
        raise peer.unexpected("an event that is no JSON", event.data) from None
    failure = find(form.error, value)
    if failure or failed:
        raise peer.reported(failure or value)
    return value


def _decoder(form: StreamFormat, limit: int, response: httpx.Response) -> http_events.Decoder:
    if form.format == "sse":
        return http_events.SSE(limit)
    if form.format == "ndjson":
        return http_events.NDJSON(limit)
    return http_events.Raw(response.charset_encoding)
