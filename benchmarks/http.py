"""HTTP: a batch of 64 by `HTTPEndpoint`, by `langchain_openai.OpenAI` and by httpx itself.

All ask one server, which runs in a process of its own, speaks OpenAI's `/v1/completions`, and takes
5 ms for an answer, however many prompts it is for. Runs alone too: `python -m benchmarks.http`.
"""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
from langchain_openai import OpenAI

from benchmarks.measure import Row, in_turn
from langchain_wrap.models import HTTPEndpoint

SECONDS = 0.005
PROMPTS = [f"prompt {index}" for index in range(64)]
SIZE = 20
"""Prompts in a list: what `langchain_openai.OpenAI` has for its default."""


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer the requests of one connection."""
    try:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:-2])
            prompts = json.loads(await reader.readexactly(int(fields[b"content-length"])))["prompt"]
            prompts = [prompts] if isinstance(prompts, str) else prompts
            await asyncio.sleep(SECONDS)
            choices = [
                {"index": i, "text": p.upper(), "finish_reason": "stop", "logprobs": None}
                for i, p in enumerate(prompts)
            ]
            usage = {"prompt_tokens": 2, "completion_tokens": 2, "total_tokens": 4}
            told = {"id": "1", "object": "text_completion", "created": 1, "model": "m"}
            body = json.dumps({**told, "choices": choices, "usage": usage}).encode()
            writer.write(
                b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
                b"content-length: %d\r\n\r\n%s" % (len(body), body)
            )
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()


async def serve() -> None:
    server = await asyncio.start_server(answer, "127.0.0.1", 0, backlog=256)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.to_thread(sys.stdin.read)  # until the other side ends
    os._exit(0)  # with all connections


@contextmanager
def serving() -> Iterator[str]:
    with subprocess.Popen(
        [sys.executable, "-c", "import asyncio; from benchmarks.http import serve; "
         "asyncio.run(serve())"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stdin is not None
        assert process.stdout is not None
        yield f"http://127.0.0.1:{process.stdout.readline().strip()}/v1"
        process.stdin.close()


class ByHand:
    """httpx without us: all requests at once, nothing but the text is read."""

    def __init__(self, url: str) -> None:
        self._url = f"{url}/completions"
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=64)
        self._client = httpx.AsyncClient(trust_env=False, limits=limits)

    async def ask(self, prompts: Any) -> list[str]:
        answer = await self._client.post(self._url, json={"model": "m", "prompt": prompts})
        return [choice["text"] for choice in answer.json()["choices"]]

    async def all(self, size: int | None) -> list[str]:
        parts: list[Any] = list(PROMPTS)
        if size is not None:
            parts = [PROMPTS[i : i + size] for i in range(0, len(PROMPTS), size)]
        found = await asyncio.gather(*(self.ask(part) for part in parts))
        return [text for texts in found for text in texts]

    async def close(self) -> None:
        await self._client.aclose()


def compared(url: str, repeats: int, runner: asyncio.Runner) -> Iterator[Row]:
    raw = ByHand(url)
    for size, how in ((None, "a request each"), (SIZE, f"lists of {SIZE}")):
        side_by_side = None if size is None else 4
        llm = HTTPEndpoint.openai(
            url, "m", max_batch_size=size, concurrency=side_by_side, trust_env=False
        )
        with httpx.Client(trust_env=False) as client:
            theirs = OpenAI(
                base_url=url, api_key="k", model="m", batch_size=size or 1, http_client=client
            )
            works = (
                lambda llm=llm: llm.batch(list(PROMPTS)),
                lambda llm=llm: runner.run(llm.abatch(list(PROMPTS))),
                lambda theirs=theirs: theirs.batch(list(PROMPTS)),
                lambda size=size: runner.run(raw.all(size)),
            )
            expected = [prompt.upper() for prompt in PROMPTS]
            assert all(work() == expected for work in works)
            ours, ours_async, openai, httpx_ = in_turn(repeats, *works)
        work = f"HTTPEndpoint: {{}} of 64 prompts, 5 ms an answer, {how}"
        for name, taken in (("batch", ours), ("abatch", ours_async)):
            yield Row(
                work.format(name), taken * 1e3, openai * 1e3, "ms", "langchain_openai.OpenAI",
                "< 1", taken < openai,
            )  # fmt: skip
            yield Row(
                work.format(name), taken * 1e3, httpx_ * 1e3, "ms", "httpx by hand", "≤ 1.5",
                taken / httpx_ <= 1.5,
            )  # fmt: skip
    runner.run(raw.close())


def rows(quick: bool = False) -> Iterator[Row]:
    with serving() as url, asyncio.Runner() as runner:
        yield from compared(url, 1 if quick else 9, runner)


if __name__ == "__main__":
    for row in rows("--quick" in sys.argv):
        print(
            f"{row.work}: {row.ours:.1f} {row.unit}, {row.against}: {row.reference:.1f}; ", end=""
        )
        print(f"ratio {row.ratio:.3f}, goal {row.goal}, met: {row.met}", flush=True)
