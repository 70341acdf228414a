"""An exchange: one request and its answer. Its end closes the response, however it ends."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import anyio
import httpx

from langchain_wrap.models import http_body, http_client
from langchain_wrap.models.http_errors import BROKEN, Peer
from langchain_wrap.models.http_events import Decoder, Event
from langchain_wrap.models.http_inside import reset_left_streams

_ERROR_BODY = 2**16
"""Bytes of an error's body that are read: its words are shortened anyway."""
_ERROR_PATIENCE = 5.0
_CLOSING = 1.0
"""Seconds within which a connection that was being closed shows: no model has worked by then."""
_REST_PATIENCE = 0.1
"""Seconds for what comes after the event that ends a stream: nothing, but the body's own end."""


@dataclass(frozen=True)
class Outgoing:
    """A request that is to be made."""

    url: str
    headers: httpx.Headers
    body: bytes
    timeout: httpx.Timeout
    settings: http_client.Settings

    @property
    def peer(self) -> Peer:
        """The server, as errors speak of it."""
        return Peer(httpx.URL(self.url), self.headers)

    def request(self, client: httpx.AsyncClient | httpx.Client, accepted: str) -> httpx.Request:
        """Return the request for a client to send."""
        url, headers = httpx.URL(self.url), self.headers.copy()
        if url.username or url.password:
            if "authorization" not in headers:
                pair = base64.b64encode(f"{url.username}:{url.password}".encode()).decode()
                headers["authorization"] = f"Basic {pair}"
            url = url.copy_with(username=None, password=None)
        headers.setdefault("content-type", "application/json")
        headers.setdefault("accept-encoding", accepted)
        return http_client.request(
            client, url, headers=headers, content=self.body, timeout=self.timeout
        )


def encoded(body: Any) -> bytes:
    """Return a body as JSON.

    Raises:
        TypeError: It holds something that is no JSON value.
        ValueError: It holds a number that JSON has not (NaN), or half a character.
    """
    try:
        text = json.dumps(body, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        return text.encode()
    except UnicodeEncodeError as error:
        raise ValueError(
            f"the request holds {error.object[error.start]!r}, a lone surrogate: half a character, "
            "which UTF-8 cannot express. Text that was read with errors='surrogateescape' or cut "
            "inside an escape such as \\ud83d\\ude00 has them"
        ) from None
    except (ValueError, RecursionError) as error:
        raise ValueError(f"the request cannot be written as JSON: {error}") from None
    except TypeError as error:
        raise TypeError(f"the request cannot be written as JSON: {error}") from None


class Exchange:
    """A request whose answer has begun, with a good status code."""

    def __init__(self, response: httpx.Response, peer: Peer) -> None:
        self.response = response
        self.peer = peer
        self.ended = False
        """Whether the whole body has been read."""
        self._pieces = self._read()

    async def _read(self) -> AsyncIterator[bytes]:
        async with aclosing(http_body.pieces(self.response)) as pieces:  # type: ignore[type-var]
            async for piece in pieces:
                yield piece
        self.ended = True

    async def whole(self, limit: int) -> str:
        """Return the whole body as text."""
        body = http_body.Whole(limit)
        try:
            async for piece in self._pieces:
                body.add(piece)
        except BROKEN as error:
            so_far = f" after {len(body.data)} bytes of the answer"
            raise self.peer.broke(error, so_far) from error
        return body.data.decode("utf-8-sig", "replace")

    async def events(self, decoder: Decoder) -> AsyncIterator[Event]:
        """Yield the events of the body as they come."""
        async for piece in self._pieces:
            for event in decoder.feed(piece):
                yield event
        for event in decoder.end():
            yield event

    async def read_rest(self) -> None:
        """Read on to the body's end, if it is near: then the connection can be used again."""
        with suppress(*BROKEN, http_body.Unreadable), anyio.move_on_after(_REST_PATIENCE):
            async for _ in self._pieces:
                pass

    async def close(self) -> None:
        """Close the response, and what reads it."""
        await self._pieces.aclose()  # type: ignore[attr-defined]
        await self.response.aclose()


@asynccontextmanager
async def exchange(outgoing: Outgoing, accepted: str) -> AsyncIterator[Exchange]:
    """Make a request in the running event loop; give its answer.

    Raises:
        ModelError: The server refuses, cannot be reached, or breaks off.
    """
    peer = outgoing.peer
    ended = False
    with await http_client.lend(outgoing.settings) as client:
        try:
            with _as_model_errors(peer):
                response = await _sent(client, outgoing, accepted)
                answer = Exchange(response, peer)
                try:
                    if not response.is_success:
                        raise peer.refused(response, await _beginning(response))
                    yield answer
                finally:
                    ended = answer.ended
                    with anyio.CancelScope(shield=True):
                        await answer.close()
        finally:
            if not ended:
                await reset_left_streams(client)


async def _sent(client: httpx.AsyncClient, outgoing: Outgoing, accepted: str) -> httpx.Response:
    """Send a request; once more where the server was just closing the connection that was kept.

    llama-server closes a connection after each stream, a moment after the stream's end and without
    having said so; a request that is sent in that moment is answered by nobody.
    """
    for again in (True, False):
        seen: list[str] = []

        async def trace(name: str, _: object, seen: list[str] = seen) -> None:
            seen.append(name)

        request = outgoing.request(client, accepted)
        request.extensions["trace"] = trace
        began = time.monotonic()
        try:
            response = await client.send(request, stream=True)
        except (httpx.RemoteProtocolError, httpx.ReadError, httpx.WriteError):
            kept = seen and all(name.startswith("http11.") for name in seen)
            if not (again and kept and time.monotonic() - began < _CLOSING):
                raise
        else:
            del request.extensions["trace"]  # of the request's way only, not of each chunk
            return response
    raise AssertionError  # the second time returns or raises


def fetch(outgoing: Outgoing, limit: int) -> str:
    """Make a request in the calling thread; return the whole body as text."""
    peer = outgoing.peer
    client = http_client.blocking_client(outgoing.settings)
    with _as_model_errors(peer):
        response = client.send(outgoing.request(client, http_body.ACCEPTED), stream=True)
        try:
            if response.is_success:
                return http_body.whole_of(response, limit).decode("utf-8-sig", "replace")
            try:
                words = http_body.whole_of(response, _ERROR_BODY)
            except (*BROKEN, http_body.Unreadable, http_body.TooLarge):
                words = b""
            raise peer.refused(response, words)
        finally:
            response.close()


async def _beginning(response: httpx.Response) -> bytes:
    """Return as much of an error's body as is needed, or as comes."""
    data = bytearray()
    with suppress(*BROKEN, http_body.Unreadable), anyio.move_on_after(_ERROR_PATIENCE):
        async with aclosing(http_body.pieces(response)) as pieces:  # type: ignore[type-var]
            async for piece in pieces:
                data += piece
                if len(data) > _ERROR_BODY:
                    break
    return bytes(data)


@contextmanager
def _as_model_errors(peer: Peer) -> Iterator[None]:
    try:
        yield
    except BROKEN as error:
        raise peer.broke(error) from error
    except (http_body.TooLarge, http_body.Unreadable) as error:
        raise peer.unexpected(str(error)) from error
