from __future__ import annotations

import asyncio
import contextvars
import threading

from scripted import LONG, eventually

from langchain_wrap.pipeline.loop_thread import LoopThread, loop_thread

name: contextvars.ContextVar[str] = contextvars.ContextVar("name", default="nobody")


def test_there_is_one_for_the_process():
    assert loop_thread() is loop_thread()
    other = []
    thread = threading.Thread(target=lambda: other.append(loop_thread()))
    thread.start()
    thread.join()
    assert other == [loop_thread()]


def test_from_inside_a_loop_of_ours_it_is_another_one():
    inside = contextvars.copy_context()
    loop_thread().enter(inside)
    other = inside.run(loop_thread)
    assert other is not loop_thread()
    assert inside.run(loop_thread) is other


def test_it_runs_coroutines_in_the_given_context():
    got = []
    done = threading.Event()

    async def note():
        got.append((name.get(), asyncio.get_running_loop()))
        done.set()

    context = contextvars.copy_context()
    context.run(name.set, "Ada")
    loop_thread().start(note(), context)
    assert done.wait(LONG)
    assert got == [("Ada", loop_thread().loop)]


def test_stopping_ends_its_tasks_and_its_thread():
    home = LoopThread(0)
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


def test_stopping_waits_for_generators_that_were_dropped():
    home = LoopThread(0)
    dropped, closed = threading.Event(), threading.Event()

    async def pieces():
        try:
            yield "one"
            yield "two"
        finally:
            await asyncio.sleep(0.05)
            closed.set()

    async def drop():
        async for _ in pieces():
            break
        dropped.set()

    home.start(drop(), contextvars.copy_context())
    assert dropped.wait(LONG)
    home.stop()
    assert closed.is_set()
    assert home.loop.is_closed()


def test_stopping_ends_what_a_model_has_left_running():
    home = LoopThread(0)
    begun, cancelled = threading.Event(), threading.Event()
    left = []

    async def forever():
        begun.set()
        try:
            await asyncio.sleep(LONG)
        except asyncio.CancelledError:
            cancelled.set()
            raise

    async def leave():
        left.append(asyncio.create_task(forever()))

    home.start(leave(), contextvars.copy_context())
    assert begun.wait(LONG)
    home.stop()
    assert cancelled.is_set()
    assert home.loop.is_closed()
