"""Clients: one for each loop, closed with it, and nothing left behind."""

from __future__ import annotations

import asyncio
import gc
import os
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import pytest
from http_helpers import STREAM, echo, serving
from llama_helpers import eventually

from langchain_wrap.models import http_client

HERE = Path(__file__).parent


@pytest.fixture
def server():
    with serving(echo) as running:
        yield running


def test_one_client_for_a_loop_whoever_asks(server):
    async def main():
        first, second = server.endpoint(), server.endpoint(api_key="k", stream=STREAM)
        for llm in (first, second):
            await llm.ainvoke("a")
            assert [text async for text in llm.astream("a")] == ["A"]
        loop = asyncio.get_running_loop()
        assert len(http_client._clients[loop].all()) == 1
        await server.endpoint(verify=False).ainvoke("a")
        assert len(http_client._clients[loop].all()) == 2

    asyncio.run(main())
    assert server.connections == 2


def test_many_requests_at_once_are_spread_and_the_spare_clients_are_closed(server, monkeypatch):
    llm = server.endpoint()
    together = 3 * http_client._BUSY

    async def main():
        clients = http_client._clients
        await asyncio.gather(*(llm.ainvoke("a") for _ in range(together)))
        assert len(clients[asyncio.get_running_loop()].all()) == 3
        await llm.ainvoke("a")
        assert server.connections <= together
        monkeypatch.setattr(http_client, "_IDLE", 0)
        await llm.ainvoke("a")
        assert len(clients[asyncio.get_running_loop()].all()) == 1

    asyncio.run(main())
    assert eventually(lambda: server.open == 0)


def test_sync_callers_share_one_loop(server):
    llm = server.endpoint()
    threads = [threading.Thread(target=llm.invoke, args=("a",)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    llm.invoke("a")
    assert server.connections <= 8


def test_a_loop_that_ends_closes_its_connections(server):
    llm = server.endpoint(stream=STREAM)
    before = len(http_client._clients)

    async def main():
        await llm.ainvoke("a")
        async for _ in llm.astream("abc"):
            break  # and nobody closes it

    for _ in range(10):
        asyncio.run(main())
    assert len(http_client._clients) == before
    assert eventually(lambda: server.open == 0)


def test_a_loop_that_is_only_closed_is_cleared_away_later(server):
    llm = server.endpoint()
    for _ in range(10):
        loop = asyncio.new_event_loop()
        loop.run_until_complete(llm.ainvoke("a"))
        loop.close()
    del loop
    assert sum(known.is_closed() for known in http_client._clients) == 1
    asyncio.run(llm.ainvoke("a"))
    assert not any(known.is_closed() for known in http_client._clients)
    gc.collect()  # under the filter that makes errors of warnings
    assert eventually(lambda: server.open == 0)


def test_a_loop_that_still_runs_after_its_generators_were_closed(server):
    llm = server.endpoint()

    async def main():
        await llm.ainvoke("a")
        loop = asyncio.get_running_loop()
        await http_client._clients[loop]._end.aclose()
        assert loop not in http_client._clients
        assert await llm.ainvoke("a") == "A"

    asyncio.run(main())


def run(code, *options, url=""):
    source = HERE.parents[1] / "src"
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(source), str(HERE)])}
    done = subprocess.run(
        [sys.executable, "-W", "error", *options, "-c", textwrap.dedent(code), url],
        env=env,
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


SETUP = """
import asyncio, os, sys
from http_helpers import STREAM, Server
server = Server(sys.argv[1])
llm = server.endpoint(stream=STREAM, tokenizer={"url": server.url, "body": {"prompt": "{text}"},
    "ids": "text && `[1]`"})
"""


@pytest.mark.parametrize(
    "code",
    [
        'llm.invoke("a")',
        'stream = llm.stream("abc"); next(stream)',
        'llm.batch(["a"] * 20)',
        "llm.get_num_tokens('a')",
        'asyncio.run(llm.ainvoke("a"))',
        'loop = asyncio.new_event_loop(); loop.run_until_complete(llm.ainvoke("a")); loop.close()',
    ],
)
def test_a_process_ends_without_a_warning(server, code):
    run(SETUP + code, url=server.url)
    assert eventually(lambda: server.open == 0)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_a_fork_has_connections_of_its_own(server):
    """The server must see the parent's end of a connection, although a child has a copy of it."""
    code = """
    llm.invoke("a")
    llm.get_num_tokens("a")
    read, write = os.pipe()
    pid = os.fork()
    if not pid:
        assert llm.invoke("b") == "B"
        assert [1] == llm.get_token_ids("b")
        print("child", flush=True)
        os.read(read, 1)  # live on while the parent ends its connections
        sys.exit()
    from langchain_wrap.models import http_client
    assert llm.invoke("c") == "C"
    http_client._close_all()
    print("closed", flush=True)
    input()
    os.write(write, b"x")
    assert os.waitpid(pid, 0)[1] == 0
    """
    source = HERE.parents[1] / "src"
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(source), str(HERE)])}
    with subprocess.Popen(
        [sys.executable, "-W", "error", "-W", "ignore::DeprecationWarning", "-c",
         SETUP + textwrap.dedent(code), server.url],
        env=env, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    ) as process:  # fmt: skip
        assert process.stdin is not None
        assert process.stdout is not None
        assert sorted(process.stdout.readline() for _ in range(2)) == ["child\n", "closed\n"]
        assert eventually(lambda: server.open == 2)  # the child's
        _, err = process.communicate("\n", timeout=30)
        assert (process.returncode, err) == (0, "")
    assert len(server.requests) == 5
    assert eventually(lambda: server.open == 0)
