"""Async: the loop is never blocked, its executor never used, and nothing is left behind."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import PromptTemplate
from scripted import (
    KINDS,
    LONG,
    PATHS,
    ByAStream,
    ByStream,
    Recorder,
    aeventually,
    eventually,
    read,
    threads,
)

from langchain_wrap import LLM


class Blocking(LLM):
    """Sleeps in its thread, 20 times 10 ms."""

    def _call(self, prompt):
        time.sleep(0.2)
        return prompt

    def _stream(self, prompt):
        for _ in range(20):
            time.sleep(0.01)
            yield "x"


class BlockingLists(LLM):
    def _batch(self, prompts):
        time.sleep(0.2)
        return prompts


@pytest.mark.parametrize(
    "call",
    [
        lambda: Blocking().ainvoke("p"),
        lambda: Blocking().abatch(["p"] * 8),
        lambda: read(Blocking().astream("p")),
        lambda: BlockingLists().abatch(["p"] * 8),
        lambda: Blocking(timeout=LONG).ainvoke("p"),
    ],
)
async def test_the_loop_goes_on_beside_a_blocking_model(call):
    beats = 0

    async def beat():
        nonlocal beats
        while True:
            beats += 1
            await asyncio.sleep(0.005)

    heart = asyncio.create_task(beat())
    await call()
    heart.cancel()
    assert beats >= 5  # a blocked loop gives 1 or 2, one that is free 40


class ForbiddenExecutor(ThreadPoolExecutor):
    def submit(self, *args, **kwargs):
        raise AssertionError("the loop's default executor was used")


@pytest.mark.parametrize("kind", KINDS)
async def test_the_default_executor_is_never_used(kind):
    asyncio.get_running_loop().set_default_executor(ForbiddenExecutor())
    llm = KINDS[kind](timeout=LONG, max_retries=1, concurrency=2)
    assert await llm.ainvoke("abc") == "abc"
    assert await llm.abatch(["abc", "d"]) == ["abc", "d"]
    assert "".join(await read(llm.astream("abc"))) == "abc"
    assert [g[0].text for g in (await llm.agenerate(["abc"])).generations] == ["abc"]
    assert await llm._acall("abc") == "abc"


@pytest.mark.parametrize("kind", KINDS)
def test_one_object_works_in_loop_after_loop_and_from_sync(kind):
    llm = KINDS[kind](concurrency=2)
    for _ in range(3):
        for path in PATHS:
            assert PATHS[path](llm, "abc", None) == "abc"


@pytest.mark.parametrize("kind", KINDS)
def test_one_object_works_in_many_loops_at_once(kind):
    llm = KINDS[kind](concurrency=2)

    async def work():
        for _ in range(5):
            prompts = [str(i) for i in range(10)]
            assert await llm.abatch(prompts) == prompts
            assert "".join(await read(llm.astream("abc"))) == "abc"

    with threads(*[lambda: asyncio.run(work())] * 4):
        pass


name: contextvars.ContextVar[str] = contextvars.ContextVar("name", default="nobody")


class Greeting:
    def _call(self, prompt):
        return name.get()

    async def _acall(self, prompt):
        return name.get()

    def _stream(self, prompt):
        yield name.get()[:1]
        yield name.get()[1:]

    async def _astream(self, prompt):
        yield name.get()[:1]
        yield name.get()[1:]

    def _batch(self, prompts):
        return [name.get() for _ in prompts]

    async def _abatch(self, prompts):
        return [name.get() for _ in prompts]


@pytest.mark.parametrize("timeout", [None, LONG])
@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("kind", KINDS)
def test_context_variables_reach_the_model(kind, path, timeout):
    llm = type("Greeter", (LLM,), {kind: getattr(Greeting, kind)})(timeout=timeout)

    def run():
        name.set("Ada")
        return PATHS[path](llm, "p", None)

    assert contextvars.copy_context().run(run) == "Ada"


def test_a_context_variable_set_by_a_stream_stays_set_in_it():
    class Setting(LLM):
        def _stream(self, prompt):
            name.set("Grace")
            yield "a"
            yield name.get()

    for path in PATHS:
        assert contextvars.copy_context().run(PATHS[path], Setting(), "p", None) == "aGrace"


@pytest.mark.parametrize("kind", ["_stream", "_astream"])
async def test_a_slow_reader_loses_nothing(kind):
    text = "".join(chr(65 + i % 26) for i in range(6000))
    got = []
    async for chunk in KINDS[kind]().astream(text):
        got.append(chunk)
        if len(got) % 500 == 0:
            await asyncio.sleep(0.01)
    assert "".join(got) == text
    assert len(got) == 3000


async def test_a_fast_model_does_not_run_away_from_a_slow_reader():
    made = 0

    class Endless(LLM):
        def _stream(self, prompt):
            nonlocal made
            while True:
                made += 1
                yield "x"

    stream = Endless().astream("p")
    await anext(stream)
    await asyncio.sleep(0.1)
    assert made < 5000
    await stream.aclose()


# --- cancelling -------------------------------------------------------------------------------


async def cancelled_within(task, ended):
    """Cancel a task; True if it was over while the model was still busy."""
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(task, LONG)
    return not ended.is_set()


@pytest.mark.parametrize("call", ["ainvoke", "astream", "abatch"])
async def test_cancelling_frees_the_caller_at_once_and_counts_the_zombie(call):
    entered, go, ended = threading.Event(), threading.Event(), threading.Event()

    class Deaf(LLM):
        def _call(self, prompt):
            entered.set()
            go.wait(LONG)
            ended.set()
            return prompt

    llm = Deaf()
    calls = {
        "ainvoke": lambda: llm.ainvoke("p"),
        "astream": lambda: read(llm.astream("p")),
        "abatch": lambda: llm.abatch(["p"]),
    }
    task = asyncio.create_task(calls[call]())
    await aeventually(entered.is_set)
    assert await cancelled_within(task, ended)
    assert llm.abandoned_calls == 1
    go.set()
    assert await aeventually(lambda: llm.abandoned_calls == 0)


async def test_cancelling_stops_a_generator_at_its_next_chunk():
    made, closed = [], threading.Event()

    class Endless(LLM):
        def _stream(self, prompt):
            try:
                while True:
                    made.append(1)
                    yield "x"
                    time.sleep(0.001)
            finally:
                closed.set()

    task = asyncio.create_task(Endless().ainvoke("p"))
    await aeventually(lambda: made)
    task.cancel()
    assert await aeventually(closed.is_set)
    count = len(made)
    await asyncio.sleep(0.05)
    assert len(made) == count


async def test_cancelling_reaches_a_function_that_takes_cancel():
    entered, told = threading.Event(), threading.Event()

    class Heeding(LLM):
        def _call(self, prompt, cancel):
            entered.set()
            if cancel.wait(LONG):
                told.set()
            return prompt

    task = asyncio.create_task(Heeding().ainvoke("p"))
    await aeventually(entered.is_set)
    task.cancel()
    assert await aeventually(told.is_set)
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.parametrize("call", ["_acall", "_astream"])
async def test_cancelling_reaches_an_async_model(call):
    entered, told = asyncio.Event(), asyncio.Event()

    async def wait():
        entered.set()
        try:
            await asyncio.sleep(LONG)
        finally:
            told.set()

    class Waiting(LLM):
        async def _acall(self, prompt):
            await wait()

    class Streaming(LLM):
        async def _astream(self, prompt):
            await wait()
            yield "x"

    llm = Waiting() if call == "_acall" else Streaming()
    task = asyncio.create_task(llm.ainvoke("p"))
    await entered.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert told.is_set()


async def test_wait_for_and_timeout_contexts_work_as_usual():
    class Deaf(LLM):
        def _call(self, prompt):
            go.wait(LONG)
            return prompt

    go = threading.Event()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(Deaf().ainvoke("p"), 0.05)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await Deaf().ainvoke("p")
    go.set()


async def test_a_task_group_ends_the_others_when_one_fails():
    class Model(LLM):
        async def _acall(self, prompt):
            if prompt == "bad":
                raise ZeroDivisionError
            await asyncio.sleep(LONG)
            return prompt

    llm = Model()
    with pytest.raises(ExceptionGroup) as caught:  # noqa: PT012
        async with asyncio.TaskGroup() as group:
            group.create_task(llm.ainvoke("a"))
            group.create_task(llm.ainvoke("bad"))
    assert caught.group_contains(ZeroDivisionError)


# --- nothing is left behind -------------------------------------------------------------------


def open_files() -> int:
    return len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0


def our_threads() -> int:
    """How many threads of ours run, but for the loop threads, which stay."""
    names = [thread.name for thread in threading.enumerate()]
    return sum(name.startswith("langchain-wrap") for name in names) - names.count(
        "langchain-wrap-loop"
    )


ENDLESS_CLOSED: list[int] = []


class Endless(ByStream):
    def _stream(self, prompt, stop=None, run_manager=None, **kwargs):
        try:
            while True:
                yield "x"
                time.sleep(0.0005)
        finally:
            ENDLESS_CLOSED.append(1)


class AEndless(ByAStream):
    async def _astream(self, prompt, stop=None, run_manager=None, **kwargs):
        try:
            while True:
                await asyncio.sleep(0.0005)
                yield "x"
        finally:
            ENDLESS_CLOSED.append(1)


@pytest.mark.parametrize("explicit", [True, False])
@pytest.mark.parametrize("model", [Endless, AEndless])
def test_a_thousand_abandoned_async_streams_leave_nothing(model, explicit):
    ENDLESS_CLOSED.clear()
    llm = model()
    files = open_files()

    async def abandon():
        stream = llm.astream("p")
        async for _ in stream:
            break
        if explicit:
            await stream.aclose()

    async def main():
        for _ in range(20):
            await asyncio.gather(*(abandon() for _ in range(50)))
        gc.collect()
        only_me = await aeventually(lambda: len(asyncio.all_tasks()) == 1)
        assert only_me
        assert await aeventually(lambda: len(ENDLESS_CLOSED) == 1000)

    asyncio.run(main())
    assert len(ENDLESS_CLOSED) == 1000
    assert eventually(lambda: llm._wrap_live._gate.inside == 0)
    assert llm.abandoned_calls == 0
    assert eventually(lambda: our_threads() == 0)
    assert eventually(lambda: open_files() <= files + 3)


@pytest.mark.parametrize("explicit", [True, False])
@pytest.mark.parametrize("model", [Endless, AEndless])
@pytest.mark.parametrize("timeout", [None, LONG])
def test_a_thousand_abandoned_sync_streams_leave_nothing(model, explicit, timeout):
    ENDLESS_CLOSED.clear()
    llm = model(timeout=timeout)
    next(llm.stream("warm up"))
    gc.collect()
    assert eventually(lambda: len(ENDLESS_CLOSED) == 1)
    files = open_files()
    for _ in range(1000):
        stream = llm.stream("p")
        next(stream)
        if explicit:
            stream.close()
    del stream
    gc.collect()
    assert eventually(lambda: len(ENDLESS_CLOSED) == 1001)
    assert eventually(lambda: llm._wrap_live._gate.inside == 0)
    assert eventually(lambda: our_threads() == 0)
    assert open_files() <= files


def test_a_stream_that_was_never_begun_calls_nothing():
    called = []

    class Noting(LLM):
        def _stream(self, prompt):
            called.append(prompt)
            yield prompt

    llm = Noting(concurrency=1)
    llm.stream("p").close()
    llm.astream("p")
    gc.collect()
    assert called == []
    assert llm.invoke("p") == "p"


async def test_a_chain_passes_the_early_end_on():
    ENDLESS_CLOSED.clear()
    chain = PromptTemplate.from_template("{x}") | Endless() | StrOutputParser()
    stream = chain.astream({"x": "p"})
    await anext(stream)
    await stream.aclose()
    assert await aeventually(lambda: ENDLESS_CLOSED == [1])


def test_worker_threads_end_when_there_is_nothing_to_do():
    asyncio.run(Blocking().abatch(["p"] * 10))
    assert eventually(lambda: our_threads() == 0)


# --- many at once -----------------------------------------------------------------------------


class Telling(LLM):
    """Says a text that only its own prompt has, with pauses that differ."""

    def _stream(self, prompt):
        for i in range(20):
            time.sleep((hash((prompt, i)) % 3) / 2000)
            yield f"{prompt}:{i} "


class ATelling(LLM):
    async def _astream(self, prompt):
        for i in range(20):
            await asyncio.sleep((hash((prompt, i)) % 3) / 2000)
            yield f"{prompt}:{i} "


def told(prompt):
    return "".join(f"{prompt}:{i} " for i in range(20))


@pytest.mark.parametrize("model", [Telling, ATelling])
class TestCrossTalk:
    async def test_64_tasks_get_their_own_texts_and_tokens(self, model):
        llm = model()

        async def one(i):
            recorder = Recorder()
            text = "".join(await read(llm.astream(str(i), {"callbacks": [recorder]})))
            assert text == told(i)
            assert "".join(recorder.tokens) == text
            assert len(recorder.run_ids) == 1

        await asyncio.gather(*(one(i) for i in range(64)))

    def test_64_threads_get_their_own_texts_and_tokens(self, model):
        llm = model()

        def one(i):
            recorder = Recorder()
            config = {"callbacks": [recorder]}
            text = llm.invoke(str(i), config) if i % 2 else "".join(llm.stream(str(i), config))
            assert text == told(i)
            assert "".join(recorder.tokens) == text
            assert len(recorder.run_ids) == 1

        with threads(*(lambda i=i: one(i) for i in range(64))):
            pass
