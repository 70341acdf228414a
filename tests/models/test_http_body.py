"""Bodies are decompressed in pieces, and counted."""

from __future__ import annotations

import asyncio
import gzip
import random
import tracemalloc
import zlib

import httpx
import pytest

from langchain_wrap.models.http_body import TooLarge, Unreadable, Whole, pieces, whole_of

TEXT = random.Random(0).randbytes(150_000) + b"a" * 300_000


def deflated(data, wbits):
    stream = zlib.compressobj(wbits=wbits)
    return stream.compress(data) + stream.flush()


ENCODED = {
    "": TEXT,
    "identity": TEXT,
    "gzip": gzip.compress(TEXT),
    "x-gzip": gzip.compress(TEXT[:1000]) + gzip.compress(TEXT[1000:]) + b"\0" * 10,
    "deflate": zlib.compress(TEXT),
    "Deflate ": deflated(TEXT, -15),
}


class Parts(httpx.AsyncByteStream, httpx.SyncByteStream):
    def __init__(self, data, size):
        self.parts = [data[i : i + size] for i in range(0, len(data), size)]

    def __iter__(self):
        yield from self.parts

    async def __aiter__(self):
        for part in self.parts:
            yield part


def response(encoding, data, size=1000):
    headers = {"content-encoding": encoding} if encoding else {}
    return httpx.Response(200, headers=headers, stream=Parts(data, size))


async def gathered(answer):
    return [piece async for piece in pieces(answer)]


@pytest.mark.parametrize("encoding", ENCODED)
@pytest.mark.parametrize("size", [1, 1000, 10**9])
def test_encodings(encoding, size):
    data = ENCODED[encoding]
    if size == 1 and len(data) > 200_000:
        size = 7
    assert b"".join(asyncio.run(gathered(response(encoding, data, size)))) == TEXT
    assert whole_of(response(encoding, data, size), 10**9) == TEXT


@pytest.mark.parametrize("encoding", ["gzip", "x-gzip", "deflate", "bare deflate"])
async def test_a_body_that_breaks_off_is_not_whole(encoding):
    data = {
        "gzip": gzip.compress(TEXT),
        "x-gzip": gzip.compress(TEXT[:1000]) + gzip.compress(TEXT[1000:]),
        "deflate": zlib.compress(TEXT),
        "bare deflate": deflated(TEXT, -15),
    }[encoding]
    name = encoding.split()[-1]
    for size in (1, len(data) // 2, len(data) - 1):
        with pytest.raises(Unreadable, match="breaks off"):
            whole_of(response(name, data[:size], 100), 10**6)
        with pytest.raises(Unreadable, match="breaks off"):
            [piece async for piece in pieces(response(name, data[:size], 100))]
    assert whole_of(response(name, data, 100), 10**6) == TEXT


@pytest.mark.parametrize("encoding", ["gzip, gzip", "br", "zstd", "snappy"])
def test_encodings_that_were_not_offered(encoding):
    with pytest.raises(Unreadable, match=r"only gzip, deflate were offered"):
        asyncio.run(gathered(response(encoding, b"x")))


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_what_is_not_compressed_although_it_says_so(encoding):
    with pytest.raises(Unreadable, match=f"not the {encoding}"):
        asyncio.run(gathered(response(encoding, b"\xff plain text")))


def test_a_bomb_is_never_in_memory():
    bomb = gzip.compress(b"\0" * 2**28)  # 256 KiB stand for 256 MiB
    tracemalloc.start()
    try:
        with pytest.raises(TooLarge, match=r"more than 1000000 bytes \(max_answer_bytes\)"):
            whole_of(response("gzip", bomb, 10**9), 10**6)

        async def read():
            body = Whole(10**6)
            async for piece in pieces(response("gzip", bomb, 10**9)):
                body.add(piece)

        with pytest.raises(TooLarge):
            asyncio.run(read())
        assert tracemalloc.get_traced_memory()[1] < 2**23
    finally:
        tracemalloc.stop()


async def test_a_bomb_does_not_keep_the_event_loop_to_itself():
    turns = 0

    async def others():
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    other = asyncio.create_task(others())
    async for _ in pieces(response("gzip", gzip.compress(b"\n" * 2**24), 10**9)):
        pass
    other.cancel()
    assert turns > 100
