from __future__ import annotations

import asyncio
import threading
import time

import pytest
from scripted import LONG, threads

from langchain_wrap import CancelToken
from langchain_wrap.pipeline.cancel import Cancelled
from langchain_wrap.pipeline.waiter import AsyncWaiter, SyncWaiter, run_sync


def test_run_sync_gives_the_result_or_the_error():
    async def give(value):
        return value

    async def fail():
        raise ZeroDivisionError

    assert run_sync(give(5)) == 5
    with pytest.raises(ZeroDivisionError):
        run_sync(fail())


def test_run_sync_refuses_what_suspends():
    class Suspending:
        def __await__(self):
            yield

    async def suspend():
        await Suspending()

    with pytest.raises(RuntimeError, match="suspended"):
        run_sync(suspend())


def test_a_wake_up_before_the_wait_is_not_lost():
    waiter = SyncWaiter()
    waiter.wake()
    run_sync(waiter.wait(LONG))


async def test_a_wake_up_before_the_wait_is_not_lost_in_a_loop():
    waiter = AsyncWaiter()
    waiter.wake()
    await asyncio.wait_for(waiter.wait(None), LONG)


def test_until_sees_a_change_made_by_another_thread():
    for _ in range(200):
        waiter, state = SyncWaiter(), []

        def change(waiter=waiter, state=state):
            state.append(1)
            waiter.wake()

        with threads(change):
            assert run_sync(waiter.until(lambda state=state: state, time.monotonic() + LONG))


async def test_until_sees_every_change_made_by_a_thread():
    waiter, count = AsyncWaiter(), 0

    def change():
        nonlocal count
        for _ in range(20_000):
            count += 1
            waiter.wake()

    with threads(change):
        for goal in range(0, 20_001, 1000):
            assert await waiter.until(lambda goal=goal: count >= goal, time.monotonic() + LONG)


async def test_until_ends_at_the_deadline():
    assert await AsyncWaiter().until(lambda: False, time.monotonic() + 0.01) is False
    assert run_sync(SyncWaiter().until(lambda: False, time.monotonic() + 0.01)) is False


async def test_until_raises_when_cancelled():
    cancel = CancelToken()
    waiter = AsyncWaiter()
    cancel.add_callback(waiter.wake)
    threading.Timer(0.01, cancel.cancel).start()
    with pytest.raises(Cancelled):
        await waiter.until(lambda: False, time.monotonic() + LONG, cancel)


async def test_what_is_ready_counts_more_than_a_cancel():
    cancel = CancelToken()
    cancel.cancel()
    assert await AsyncWaiter().until(lambda: True, None, cancel)


async def test_a_cancelled_task_leaves_a_waiter_usable():
    waiter = AsyncWaiter()
    task = asyncio.create_task(waiter.until(lambda: False))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    waiter.wake()
    assert await waiter.until(lambda: True)


def test_waking_a_waiter_of_a_closed_loop_does_nothing():
    async def make():
        waiter = AsyncWaiter()
        task = asyncio.ensure_future(waiter.until(lambda: False))
        await asyncio.sleep(0)
        task.cancel()
        return waiter

    waiter = asyncio.run(make())
    waiter.wake()


async def test_a_thousand_waiters_woken_by_threads():
    waiters = [AsyncWaiter() for _ in range(1000)]
    ready = [False] * 1000
    waits = [
        asyncio.ensure_future(waiter.until(lambda i=i: ready[i], time.monotonic() + LONG))
        for i, waiter in enumerate(waiters)
    ]
    await asyncio.sleep(0)

    def wake(part):
        for i in range(part, 1000, 4):
            ready[i] = True
            waiters[i].wake()

    with threads(*(lambda p=p: wake(p) for p in range(4))):
        assert all(await asyncio.gather(*waits))
