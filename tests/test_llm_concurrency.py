"""`concurrency` is a promise over all threads, event loops and paths, and for a whole stream."""

from __future__ import annotations

import asyncio
import random
import threading
import time

import pytest
from langchain_core.exceptions import ModelTimeoutError
from scripted import LONG, PATHS, Peak, aeventually, eventually, read, threads

from langchain_wrap import LLM, QueueFullError, Timeout


class Watched(LLM):
    """Streams and calls under the eyes of a counter."""

    _peak: Peak

    def __init__(self, **fields):
        super().__init__(**fields)
        self._peak = Peak()

    def _call(self, prompt):
        with self._peak:
            time.sleep(0.001)
            return prompt

    def _stream(self, prompt):
        with self._peak:
            for letter in prompt:
                time.sleep(0.0005)
                yield letter


class AsyncWatched(Watched):
    async def _acall(self, prompt):
        with self._peak:
            await asyncio.sleep(0.001)
            return prompt

    async def _astream(self, prompt):
        with self._peak:
            for letter in prompt:
                await asyncio.sleep(0.0005)
                yield letter


class StreamOnly(LLM):
    """Has nothing but a blocking generator."""

    _peak: Peak

    def __init__(self, **fields):
        super().__init__(**fields)
        self._peak = Peak()

    def _stream(self, prompt):
        with self._peak:
            for letter in prompt:
                time.sleep(0.0005)
                yield letter


class AStreamOnly(StreamOnly):
    """Prefers its async generator, from both sides."""

    _stream = LLM._stream

    async def _astream(self, prompt):
        with self._peak:
            for letter in prompt:
                await asyncio.sleep(0.0005)
                yield letter


class ListWatched(Watched):
    def _batch(self, prompts):
        with self._peak:
            time.sleep(0.001)
            return prompts


def inside(llm):
    return llm._wrap_live._gate.inside


@pytest.mark.parametrize("limit", [1, 3])
@pytest.mark.parametrize("model", [Watched, AsyncWatched, ListWatched])
def test_threads_loops_and_paths_together_never_exceed_it(model, limit):
    llm = model(concurrency=limit)

    async def in_a_loop():
        await asyncio.gather(
            *(llm.ainvoke("abc") for _ in range(5)),
            *(read(llm.astream("abc")) for _ in range(5)),
            llm.abatch(["abc"] * 5),
        )

    def in_a_thread():
        llm.invoke("abc")
        llm.batch(["abc"] * 4)
        assert "".join(llm.stream("abc")) == "abc"
        assert [g[0].text for g in llm.generate(["abc"]).generations] == ["abc"]

    loops = [lambda: asyncio.run(in_a_loop()) for _ in range(2)]
    with threads(*loops, *[in_a_thread] * 6):
        pass
    assert 0 < llm._peak.most <= limit
    assert eventually(lambda: inside(llm) == 0)


def test_all_places_are_used():
    together = threading.Barrier(3)

    class Meeting(LLM):
        def _call(self, prompt):
            together.wait(LONG)
            return prompt

    assert Meeting(concurrency=3).batch(["p"] * 6) == ["p"] * 6


def test_a_stream_holds_its_place_between_chunks():
    llm = Watched(concurrency=1)
    stream = llm.stream("abc")
    next(stream)
    waiting = threading.Thread(target=lambda: llm.invoke("x"), daemon=True)
    waiting.start()
    assert eventually(lambda: llm._wrap_live._gate.queued == 1)
    assert llm._peak.entered == 1
    next(stream)
    assert llm._wrap_live._gate.queued == 1
    assert list(stream) == ["c"]
    waiting.join(LONG)
    assert llm._peak.entered == 2
    assert llm._peak.most == 1


def break_out(llm):
    for _ in llm.stream("abc"):
        break


def close(llm):
    stream = llm.stream("abc")
    next(stream)
    stream.close()


async def abreak(llm):
    stream = llm.astream("abc")
    async for _ in stream:
        break
    await stream.aclose()


async def acancel(llm):
    task = asyncio.create_task(read(llm.astream("abc" * 1000)))
    await aeventually(lambda: inside(llm) == 1)
    task.cancel()
    await asyncio.wait([task])


async def acancel_invoke(llm):
    task = asyncio.create_task(llm.ainvoke("long" * 1000))
    assert await aeventually(lambda: inside(llm) == 1)
    task.cancel()
    await asyncio.wait([task])


async def acancel_while_waiting(llm):
    stream = llm.astream("abc" * 100)
    await anext(stream)
    task = asyncio.create_task(llm.ainvoke("abc"))
    await aeventually(lambda: llm._wrap_live._gate.queued == 1)
    task.cancel()
    await asyncio.wait([task])
    assert llm._wrap_live._gate.queued == 0
    await stream.aclose()


async def acancel_derived(llm):
    task = asyncio.create_task(llm._acall("abc" * 10_000))
    await aeventually(lambda: inside(llm) == 1)
    task.cancel()
    await asyncio.wait([task])


@pytest.mark.parametrize(
    "leave",
    [break_out, close, abreak, acancel, acancel_invoke, acancel_while_waiting, acancel_derived],
)
@pytest.mark.parametrize("model", [StreamOnly, AStreamOnly])
def test_the_place_is_free_after(leave, model):
    llm = model(concurrency=1)
    left = leave(llm)
    if left is not None:
        asyncio.run(left)
    assert eventually(lambda: inside(llm) == 0, 3)
    assert llm.invoke("abc") == "abc"
    assert llm._peak.most == 1


@pytest.mark.parametrize("path", PATHS)
def test_the_place_is_free_after_an_error(path):
    class Failing(LLM):
        def _call(self, prompt):
            raise ZeroDivisionError

    llm = Failing(concurrency=1)
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            PATHS[path](llm, "p", None)
    assert inside(llm) == 0


def test_one_is_served_after_the_other_in_the_order_of_arrival():
    order = []

    class Noting(LLM):
        def _call(self, prompt):
            order.append(prompt)
            if prompt == "first":
                go.wait(LONG)
            return prompt

    go = threading.Event()
    llm = Noting(concurrency=1)
    started = []
    for place, name in enumerate(["first", "a", "b", "c", "d"]):
        thread = threading.Thread(target=llm.invoke, args=(name,), daemon=True)
        thread.start()
        started.append(thread)
        assert eventually(lambda place=place: inside(llm) + llm._wrap_live._gate.queued > place)
    go.set()
    for thread in started:
        thread.join(LONG)
    assert order == ["first", "a", "b", "c", "d"]


class Held(LLM):
    """Keeps its caller until it is let go."""

    _go: threading.Event

    def __init__(self, **fields):
        super().__init__(**fields)
        self._go = threading.Event()

    def _call(self, prompt):
        self._go.wait(LONG)
        return prompt


def test_past_max_queued_there_is_an_error_at_once():
    llm = Held(concurrency=1, max_queued=1)
    with threads(lambda: llm.invoke("a"), lambda: llm.invoke("b")):
        assert eventually(lambda: llm._wrap_live._gate.queued == 1)
        with pytest.raises(QueueFullError, match="max_queued=1"):
            llm.invoke("c")
        with pytest.raises(QueueFullError):
            asyncio.run(llm.ainvoke("d"))
        with pytest.raises(QueueFullError):
            next(llm.stream("e"))
        llm._go.set()
    assert llm.invoke("f") == "f"


def test_max_queued_zero_means_that_nobody_waits():
    llm = Held(concurrency=1, max_queued=0)
    with threads(lambda: llm.invoke("a")):
        assert eventually(lambda: inside(llm) == 1)
        with pytest.raises(QueueFullError):
            llm.invoke("b")
        llm._go.set()


def test_a_full_queue_of_a_batch_method_is_an_error_at_once():
    class Lists(LLM):
        def _batch(self, prompts):
            entered.set()
            go.wait(LONG)
            return prompts

    entered, go = threading.Event(), threading.Event()
    llm = Lists(max_queued=2)
    with threads(lambda: llm.invoke("a")):
        assert entered.wait(LONG)
        with pytest.raises(QueueFullError, match="max_queued=2"):
            llm.batch(["1", "2", "3"])
        go.set()


def test_waiting_for_a_place_counts_for_the_total_timeout():
    llm = Held(concurrency=1, timeout=Timeout(total=0.2))
    other = Held(concurrency=1)
    other._wrap_live = llm._wrap_live  # the same gate, without a timeout
    with threads(lambda: other.invoke("a")):
        assert eventually(lambda: inside(llm) == 1)
        with pytest.raises(ModelTimeoutError, match="total"):
            llm.invoke("b")
        with pytest.raises(ModelTimeoutError, match="total"):
            asyncio.run(llm.ainvoke("b"))
        assert llm._wrap_live._gate.queued == 0
        other._go.set()


def test_no_place_is_lost_in_a_storm_of_cancels():
    llm = AsyncWatched(concurrency=2)

    async def storm(seed):
        chance = random.Random(seed)
        for _ in range(15):
            tasks = [asyncio.create_task(llm.ainvoke("abc")) for _ in range(6)]
            await asyncio.sleep(chance.random() * 0.004)
            for task in chance.sample(tasks, 4):
                task.cancel()
            await asyncio.wait(tasks)

    with threads(*(lambda s=seed: asyncio.run(storm(s)) for seed in range(4))):
        pass
    assert eventually(lambda: inside(llm) == 0)
    assert llm._wrap_live._gate.queued == 0
    assert llm._peak.most <= 2


def test_no_place_is_lost_when_an_event_loop_dies():
    llm = AsyncWatched(concurrency=1)

    async def leave_everything():
        asyncio.ensure_future(llm.ainvoke("a" * 1000))  # noqa: RUF006
        asyncio.ensure_future(llm.ainvoke("b"))  # noqa: RUF006
        await asyncio.sleep(0.02)

    asyncio.run(leave_everything())
    assert eventually(lambda: inside(llm) == 0)
    assert llm.invoke("abc") == "abc"


def test_a_raised_bound_lets_in_who_waits():
    llm = Held(concurrency=1)
    with threads(*[lambda: llm.invoke("a")] * 3):
        assert eventually(lambda: llm._wrap_live._gate.queued == 2)
        llm.concurrency = 4
        with threads(lambda: llm.invoke("b")):
            assert eventually(lambda: inside(llm) == 4, 3)
            llm._go.set()


def test_copies_have_places_of_their_own():
    llm = Held(concurrency=1)
    twin = llm.model_copy()
    with threads(lambda: llm.invoke("a")):
        assert eventually(lambda: inside(llm) == 1)
        assert inside(twin) == 0
        llm._go.set()


def test_bound_and_configured_models_share_the_places():
    llm = Watched(concurrency=1)
    variants = [llm, llm.bind(stop=["z"]), llm.with_config(tags=["t"]), llm.with_retry()]
    with threads(*(lambda v=v: v.batch(["abc"] * 4) for v in variants)):
        pass
    assert llm._peak.most == 1


@pytest.mark.parametrize("wrong", [0, -1])
def test_a_concurrency_below_one_is_refused(wrong):
    with pytest.raises(ValueError, match="concurrency"):
        Watched(concurrency=wrong)
