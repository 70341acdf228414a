from __future__ import annotations

import asyncio
import random
import threading
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scripted import Peak, eventually, threads

from langchain_wrap import CancelToken, QueueFullError
from langchain_wrap.pipeline.cancel import Cancelled
from langchain_wrap.pipeline.gate import Gate, Visit
from langchain_wrap.pipeline.waiter import AsyncWaiter, SyncWaiter, run_sync


def enter(gate, **kwargs):
    return run_sync(gate.enter(SyncWaiter(), **kwargs))


def test_without_a_limit_everybody_comes_in():
    gate = Gate()
    assert all(enter(gate) for _ in range(100))
    assert gate.inside == 100


def test_the_next_comes_in_when_one_leaves():
    gate = Gate(1)
    enter(gate)
    with threads(lambda: enter(gate)):
        assert eventually(lambda: gate.queued == 1)
        gate.leave()
    assert (gate.inside, gate.queued) == (1, 0)


def test_a_deadline_that_passes_leaves_no_trace():
    gate = Gate(1)
    enter(gate)
    assert enter(gate, deadline=time.monotonic() + 0.01) is False
    assert (gate.inside, gate.queued) == (1, 0)
    gate.leave()
    assert enter(gate)


def test_a_cancel_ends_the_wait():
    gate, cancel, waiter = Gate(1), CancelToken(), SyncWaiter()
    enter(gate)
    cancel.add_callback(waiter.wake)
    ended = []

    def wait():
        try:
            run_sync(gate.enter(waiter, cancel=cancel))
        except Cancelled:
            ended.append(True)

    with threads(wait):
        assert eventually(lambda: gate.queued == 1)
        cancel.cancel()
    assert ended == [True]
    assert (gate.inside, gate.queued) == (1, 0)


def test_past_max_queued_there_is_an_error():
    gate = Gate(1, max_queued=0)
    enter(gate)
    with pytest.raises(QueueFullError, match=r"max_queued=0, concurrency=1"):
        enter(gate)


def test_an_abandoned_visit_counts_until_it_ends():
    gate = Gate(1)
    enter(gate)
    visit = Visit(gate)
    visit.abandon()
    assert (len(gate.abandoned), gate.inside) == (1, 1)
    visit.end()
    assert (len(gate.abandoned), gate.inside) == (0, 0)


def test_a_visit_that_ended_before_it_was_abandoned_is_not_counted():
    gate = Gate(1)
    enter(gate)
    visit = Visit(gate)
    visit.end()
    visit.abandon()
    assert (len(gate.abandoned), gate.inside) == (0, 0)


@settings(max_examples=15, deadline=None)
@given(st.integers(1, 3), st.integers(0, 9999))
def test_threads_and_tasks_with_deadlines_and_cancels_lose_no_place(limit, seed):
    gate, peak = Gate(limit), Peak()

    def in_thread(chance):
        for _ in range(10):
            deadline = time.monotonic() + chance.random() * 0.002
            if enter(gate, deadline=deadline):
                with peak:
                    time.sleep(chance.random() * 0.0005)
                gate.leave()

    async def visit(chance):
        deadline = time.monotonic() + chance.random() * 0.002
        if await gate.enter(AsyncWaiter(), deadline):
            try:
                with peak:
                    await asyncio.sleep(chance.random() * 0.0005)
            finally:
                gate.leave()

    async def in_loop(chance):
        for _ in range(5):
            tasks = [asyncio.create_task(visit(chance)) for _ in range(5)]
            await asyncio.sleep(chance.random() * 0.001)
            chance.choice(tasks).cancel()
            await asyncio.wait(tasks)

    def chance(number):
        return random.Random(seed * 10 + number)

    with threads(
        *(lambda n=n: in_thread(chance(n)) for n in range(3)),
        *(lambda n=n: asyncio.run(in_loop(chance(n))) for n in (3, 4)),
    ):
        pass
    assert (gate.inside, gate.queued) == (0, 0)
    assert peak.most <= limit


def test_a_hundred_threads_at_once():
    gate, peak = Gate(2), Peak()
    begin = threading.Barrier(100)

    def visit():
        begin.wait()
        enter(gate)
        with peak:
            pass
        gate.leave()

    with threads(*[visit] * 100):
        pass
    assert (gate.inside, gate.queued, peak.entered) == (0, 0, 100)
    assert peak.most <= 2
