from __future__ import annotations

import asyncio
import contextvars
import threading

from scripted import LONG, eventually

from langchain_wrap.pipeline.loop_thread import LoopThread, loop_thread

name: contextvars.ContextVar[str] = contextvars.ContextVar("name", default="nobody")


def test_there_is_one_for_the_process():
    assert loop_thread() is loop_thread()


def test_it_runs_coroutines_in_the_given_context():
    got = []
    done = threading.Event()

    async def note():
        got.append((name.get(), loop_thread().is_current))
        done.set()

    context = contextvars.copy_context()
    context.run(name.set, "Ada")
    loop_thread().start(note(), context)
    assert done.wait(LONG)
    assert got == [("Ada", True)]
    assert not loop_thread().is_current


def test_stopping_ends_its_tasks_and_its_thread():
    home = LoopThread()
    begun, ended = threading.Event(), threading.Event()

    async def wait():
        begun.set()
        try:
            await asyncio.sleep(LONG)
        finally:
            ended.set()

    home.start(wait(), contextvars.copy_context())
    assert begun.wait(LONG)
    home.stop()
    assert ended.wait(LONG)
    assert eventually(lambda: not home._thread.is_alive())
    assert home.loop.is_closed()
    home.stop()
