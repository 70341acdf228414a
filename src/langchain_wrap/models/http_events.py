"""The events of a streamed answer, whichever way its bytes were cut up."""

from __future__ import annotations

import codecs
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
from httpx_sse import EventSource


class TooLarge(Exception):
    """More bytes have come for one event than are allowed."""


class _Body:
    """The text of a response, with a bound on what may come for one event.

    It stands in for the response in `httpx_sse.EventSource`, which takes its headers and text.
    """

    # Servers that stream events and call them something else are common.
    headers = httpx.Headers({"content-type": "text/event-stream"})

    def __init__(self, response: httpx.Response, limit: int) -> None:
        self._response = response
        self._limit = limit
        self._size = 0

    def event_taken(self) -> None:
        """Start to count anew."""
        self._size = 0

    async def aiter_bytes(self) -> AsyncIterator[bytes]:
        async for data in self._response.aiter_bytes():
            self._size += len(data)
            if self._size > self._limit:
                raise TooLarge(f"more than {self._limit} bytes for one event")
            yield data

    async def aiter_text(self) -> AsyncIterator[str]:
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        async for data in self.aiter_bytes():
            text = decoder.decode(data)
            if text:
                yield text
        # A last event that no empty line ends counts as well.
        yield decoder.decode(b"", final=True) + "\n\n"


async def sse(response: httpx.Response, limit: int) -> AsyncIterator[str]:
    """Yield the data of each server-sent event.

    https://html.spec.whatwg.org/multipage/server-sent-events.html
    """
    body = _Body(response, limit)
    source: Any = EventSource(body)  # type: ignore[arg-type]
    async for event in source.aiter_sse():
        body.event_taken()
        if event.data:
            yield event.data


async def lines(response: httpx.Response, limit: int) -> AsyncIterator[str]:
    """Yield each line that is not empty (newline-delimited JSON)."""
    body = _Body(response, limit)
    rest = b""
    async for data in body.aiter_bytes():
        *whole, rest = (rest + data).split(b"\n")
        for line in whole:
            body.event_taken()
            if line.strip():
                yield line.decode("utf-8", "replace")
    if rest.strip():
        yield rest.decode("utf-8", "replace")


async def text(response: httpx.Response, limit: int) -> AsyncIterator[str]:
    """Yield text as it comes."""
    body = _Body(response, limit)
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    async for data in body.aiter_bytes():
        body.event_taken()
        decoded = decoder.decode(data)
        if decoded:
            yield decoded
    rest = decoder.decode(b"", final=True)
    if rest:
        yield rest


async def whole(response: httpx.Response, limit: int) -> bytes:
    """Return the whole body."""
    body = _Body(response, limit)
    return b"".join([data async for data in body.aiter_bytes()])


def parsed(data: str) -> Any:
    """Return the JSON value of an event.

    Raises:
        ValueError: It is not JSON.
    """
    return json.loads(data)
