from __future__ import annotations

import asyncio
import threading
import time

import pytest
from scripted import LONG, eventually, threads

from langchain_wrap import CancelToken
from langchain_wrap.pipeline.cancel import Cancelled
from langchain_wrap.pipeline.channel import Channel
from langchain_wrap.pipeline.timeout import Expired
from langchain_wrap.pipeline.waiter import AsyncWaiter, SyncWaiter, run_sync


def produce(channel, count, error=None):
    async def put_all():
        for i in range(count):
            if not await channel.put(i):
                break
        channel.end(error)

    run_sync(put_all())


def read_all(channel):
    got = []
    while (item := run_sync(channel.get())) is not None:
        got.append(item)
    return got


@pytest.mark.parametrize("capacity", [1, 2, 7, 1024])
@pytest.mark.parametrize("count", [0, 1, 2, 5000])
def test_a_thread_reads_all_that_another_puts_in_order(capacity, count):
    channel = Channel(SyncWaiter(), SyncWaiter(), capacity)
    with threads(lambda: produce(channel, count)):
        assert read_all(channel) == list(range(count))


@pytest.mark.parametrize("capacity", [1, 2, 7, 1024])
async def test_a_loop_reads_all_that_a_thread_puts_in_order(capacity):
    channel = Channel(AsyncWaiter(), SyncWaiter(), capacity)
    got = []
    with threads(lambda: produce(channel, 5000)):
        while (item := await channel.get()) is not None:
            got.append(item)
    assert got == list(range(5000))


async def test_the_readers_loop_gets_its_turns_under_a_flood():
    channel = Channel(AsyncWaiter(), SyncWaiter(), 10_000)
    produce(channel, 5000)  # all is there, so reading it never waits
    turns = 0

    async def other():
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    beside = asyncio.create_task(other())
    while await channel.get() is not None:
        pass
    beside.cancel()
    assert turns >= 5000 // 64


def test_an_error_comes_after_the_last_item_and_once():
    channel = Channel(SyncWaiter(), SyncWaiter())
    produce(channel, 2, ZeroDivisionError("after"))
    assert [run_sync(channel.get()) for _ in range(2)] == [0, 1]
    with pytest.raises(ZeroDivisionError, match="after"):
        run_sync(channel.get())
    assert run_sync(channel.get()) is None


def test_a_full_channel_makes_the_producer_wait():
    channel = Channel(SyncWaiter(), SyncWaiter(), 4)
    with threads(lambda: produce(channel, 100)):
        assert eventually(lambda: len(channel._items) == 4)
        time.sleep(0.02)
        assert len(channel._items) == 4
        assert len(read_all(channel)) == 100


def test_a_reader_who_leaves_frees_a_producer_who_waits():
    channel = Channel(SyncWaiter(), SyncWaiter(), 4)
    with threads(lambda: produce(channel, 100)):
        assert eventually(lambda: len(channel._items) == 4)
        channel.leave()
    assert channel.ended


def test_waiting_ends_at_the_deadline():
    channel = Channel(SyncWaiter(), SyncWaiter())
    with pytest.raises(Expired):
        run_sync(channel.get(time.monotonic() + 0.01))


def test_what_is_there_comes_even_after_the_deadline():
    channel = Channel(SyncWaiter(), SyncWaiter())
    produce(channel, 1)
    assert run_sync(channel.get(time.monotonic() - 1)) == 0


def test_a_cancel_ends_the_waiting():
    waiter, cancel = SyncWaiter(), CancelToken()
    channel = Channel(waiter, SyncWaiter())
    cancel.add_callback(waiter.wake)
    threading.Timer(0.02, cancel.cancel).start()
    with pytest.raises(Cancelled):
        run_sync(channel.get(time.monotonic() + LONG, cancel))


def test_gone_tells_whether_the_producer_has_ended():
    channel = Channel(SyncWaiter(), SyncWaiter())
    assert run_sync(channel.gone(time.monotonic() + 0.01)) is False
    channel.end()
    assert run_sync(channel.gone(time.monotonic() + LONG)) is True
