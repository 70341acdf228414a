"""The body of an answer: decompressed piece by piece, so that its size is known in time.

httpx decompresses whole reads at once: one read of a "bomb" (64 KiB that stand for 64 MiB, or for
gigabytes where encodings are nested) would be in memory before anybody could count it.
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import aclosing
from typing import Any

import httpx

ACCEPTED = "gzip, deflate"
"""The encodings that are understood here, as a request offers them."""

_PIECE = 2**16
_ZLIB_OR_GZIP = zlib.MAX_WBITS | 32


class Unreadable(Exception):
    """A body cannot be decompressed."""


class TooLarge(Exception):
    """More has come than is allowed."""

    def __init__(self, limit: int) -> None:
        super().__init__(f"more than {limit} bytes (max_answer_bytes)")


class _Plain:
    def feed(self, data: bytes) -> Iterator[bytes]:
        yield data

    def end(self) -> None:
        """It may end anywhere: HTTP itself tells whether all has come."""


class _Inflate:
    """Decompresses gzip or deflate, at most `_PIECE` bytes at a time."""

    def __init__(self, encoding: str) -> None:
        self._encoding = encoding
        self._head = b""
        self._stream: Any = None

    def feed(self, data: bytes) -> Iterator[bytes]:
        while data:
            if self._stream is None:
                data = self._begin(data)
                continue
            piece = self._step(data)
            data = self._stream.unconsumed_tail
            while piece:
                yield piece
                # What was read may stand for more than one piece, with no input left over.
                piece = self._step(data) if len(piece) == _PIECE else b""
                data = self._stream.unconsumed_tail
            if self._stream.eof:
                data = self._stream.unused_data
                self._stream = None

    def end(self) -> None:
        if self._stream is not None or self._head:
            raise Unreadable(f"a body that breaks off inside of its {self._encoding}")

    def _begin(self, data: bytes) -> bytes:
        """Begin a stream if enough of it is there; return what is to be decompressed."""
        # gzip may have several members, with padding between them.
        self._head = (self._head + data).lstrip(b"\0" if "gzip" in self._encoding else b"")
        if len(self._head) < 2:
            return b""
        data, self._head = self._head, b""
        # Some servers take "deflate" to mean a stream without its header.
        bare = self._encoding == "deflate" and (
            data[0] & 0xF != zlib.DEFLATED or int.from_bytes(data[:2]) % 31
        )
        self._stream = zlib.decompressobj(-zlib.MAX_WBITS if bare else _ZLIB_OR_GZIP)
        return data

    def _step(self, data: bytes) -> bytes:
        try:
            piece: bytes = self._stream.decompress(data, _PIECE)
        except zlib.error as error:
            raise Unreadable(f"a body that is not the {self._encoding} that it says") from error
        return piece


def _decoder(headers: Mapping[str, str]) -> _Plain | _Inflate:
    encoding = headers.get("content-encoding", "").strip().lower()
    if encoding in ("", "identity"):
        return _Plain()
    if encoding in ("gzip", "x-gzip", "deflate"):
        return _Inflate(encoding)
    raise Unreadable(f"the content encoding {encoding!r}, although only {ACCEPTED} were offered")


async def pieces(response: httpx.Response) -> AsyncIterator[bytes]:
    """Yield the decompressed body as it comes.

    Raises:
        Unreadable: It cannot be decompressed.
    """
    decoder = _decoder(response.headers)
    async with aclosing(response.aiter_raw()) as reads:  # type: ignore[type-var]
        async for data in reads:
            for number, piece in enumerate(decoder.feed(data)):
                if number:
                    await asyncio.sleep(0)  # a bomb must not keep the event loop to itself
                yield piece
    decoder.end()


class Whole:
    """Gathers a whole body."""

    def __init__(self, limit: int) -> None:
        self.data = bytearray()
        self._limit = limit

    def add(self, piece: bytes) -> None:
        """Add a piece.

        Raises:
            TooLarge: It is more than is allowed.
        """
        self.data += piece
        if len(self.data) > self._limit:
            raise TooLarge(self._limit)


def whole_of(response: httpx.Response, limit: int) -> bytes:
    """Return the whole body of a blocking client's response; see `pieces` and `Whole`."""
    body, decoder = Whole(limit), _decoder(response.headers)
    for data in response.iter_raw():
        for piece in decoder.feed(data):
            body.add(piece)
    decoder.end()
    return bytes(body.data)
