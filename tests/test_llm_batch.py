"""Batches: side by side, in order, coalesced, and one failure is one failure."""

from __future__ import annotations

import asyncio
import threading

import pytest
from langchain_core.exceptions import ModelTimeoutError
from scripted import KINDS, LONG, ByBatch, ByCall, Peak, Recorder, aeventually, eventually, threads

from langchain_wrap import LLM

WAYS = ["batch", "abatch"]


def run(way, llm, prompts, config=None, **kwargs):
    if way == "batch":
        return llm.batch(prompts, config, **kwargs)
    return asyncio.run(llm.abatch(prompts, config, **kwargs))


class Meeting(LLM):
    """Answers once so many calls are inside at the same time."""

    _parties: threading.Barrier
    _peak: Peak

    def __init__(self, parties: int, **fields):
        super().__init__(**fields)
        self._parties = threading.Barrier(parties)
        self._peak = Peak()

    def _call(self, prompt):
        with self._peak:
            self._parties.wait(LONG)
            return prompt


@pytest.mark.parametrize("way", WAYS)
def test_a_batch_runs_its_prompts_at_once(way):
    prompts = [str(i) for i in range(64)]
    assert run(way, Meeting(64), prompts) == prompts


@pytest.mark.parametrize("way", WAYS)
def test_more_than_64_do_not_run_at_once(way):
    llm = Meeting(64)
    assert run(way, llm, ["p"] * 128) == ["p"] * 128
    assert llm._peak.most == 64


@pytest.mark.parametrize("way", WAYS)
def test_max_concurrency_of_the_config_is_respected_and_used(way):
    llm = Meeting(3)
    assert run(way, llm, ["p"] * 12, {"max_concurrency": 3}) == ["p"] * 12
    assert llm._peak.most == 3


@pytest.mark.parametrize("way", WAYS)
def test_max_concurrency_of_each_config_in_a_list(way):
    llm = Meeting(2)
    run(way, llm, ["p"] * 4, [{"max_concurrency": 2} for _ in range(4)])
    assert llm._peak.most == 2


@pytest.mark.parametrize("way", WAYS)
def test_a_wrong_max_concurrency_is_an_error(way):
    for wrong in (0, "x"):
        with pytest.raises(ValueError, match="max_concurrency must be a whole number from 1 on"):
            run(way, ByCall(), ["p"], {"max_concurrency": wrong})


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", KINDS)
def test_order_is_kept(kind, way):
    prompts = [f"{i}" * (1 + i % 7) for i in range(100)]
    assert run(way, KINDS[kind](), prompts) == prompts


class Picky(LLM):
    """Fails on prompts with an x in them."""

    def _call(self, prompt):
        if "x" in prompt:
            raise ZeroDivisionError(prompt)
        return prompt


@pytest.mark.parametrize("way", WAYS)
def test_errors_stand_in_their_own_places_on_request(way):
    recorder = Recorder()
    config = {"callbacks": [recorder]}
    got = run(way, Picky(), ["a", "x1", "b", "x2"], config, return_exceptions=True)
    assert got[0::2] == ["a", "b"]
    assert [type(error) for error in got[1::2]] == [ZeroDivisionError] * 2
    assert [str(error) for error in got[1::2]] == ["x1", "x2"]
    assert sorted(recorder.names) == sorted(
        ["start"] * 4 + ["token"] * 2 + ["end"] * 2 + ["error"] * 2
    )


@pytest.mark.parametrize("way", WAYS)
def test_an_input_that_is_no_prompt_fails_in_its_own_place(way):
    got = run(way, ByCall(), ["a", 5, "b"], return_exceptions=True)
    assert got[0::2] == ["a", "b"]
    assert isinstance(got[1], ValueError)
    with pytest.raises(ValueError, match="int"):
        run(way, ByCall(), ["a", 5])


@pytest.mark.parametrize("way", WAYS)
def test_the_first_error_is_raised_after_what_ran_has_ended(way):
    inside = Peak()
    failed = threading.Event()

    class Model(LLM):
        def _stream(self, prompt, cancel):
            with inside:
                if prompt == "bad":
                    eventually(lambda: inside.now == 4)
                    failed.set()
                    raise ZeroDivisionError("bad")
                yield "part"
                failed.wait(LONG)
                while not cancel.cancelled:
                    yield "."

    recorder = Recorder()
    with pytest.raises(ZeroDivisionError, match="bad"):
        run(way, Model(), ["a", "bad", "b", "c"], {"callbacks": [recorder]})
    assert eventually(lambda: inside.now == 0)
    assert recorder.names.count("start") == 4
    assert recorder.names.count("error") == 1
    assert recorder.names.count("end") == 3
    for response in recorder.of("end"):
        assert response.generations[0][0].generation_info["finish_reason"] == "cancelled"


@pytest.mark.parametrize("way", WAYS)
def test_after_an_error_what_has_not_begun_does_not_begin(way):
    called = []

    class Model(LLM):
        def _call(self, prompt):
            called.append(prompt)
            raise ZeroDivisionError(prompt)

    with pytest.raises(ZeroDivisionError):
        run(way, Model(), [str(i) for i in range(50)], {"max_concurrency": 1})
    assert called == ["0"]


# --- list in, list out ------------------------------------------------------------------------


class Lists(LLM):
    """A batch method that notes its lists, and waits at a gate that starts open."""

    _lists: list
    _open: threading.Event

    def __init__(self, **fields):
        super().__init__(**fields)
        self._lists = []
        self._open = threading.Event()
        self._open.set()

    def _batch(self, prompts, stop=None, **kwargs):
        self._lists.append(list(prompts))
        self._open.wait(LONG)
        if any("poison" in prompt for prompt in prompts):
            raise ZeroDivisionError("poison")
        return [f"{prompt}{sorted(kwargs.items()) or ''}" for prompt in prompts]


class AsyncLists(Lists):
    async def _abatch(self, prompts, stop=None, **kwargs):
        self._lists.append(list(prompts))
        while not self._open.is_set():
            await asyncio.sleep(0.001)
        if any("poison" in prompt for prompt in prompts):
            raise ZeroDivisionError("poison")
        return [f"{prompt}{sorted(kwargs.items()) or ''}" for prompt in prompts]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("model", [Lists, AsyncLists])
class TestBatchMethods:
    def test_get_the_callers_list_as_one(self, model, way):
        llm = model()
        prompts = [str(i) for i in range(100)]
        assert run(way, llm, prompts) == prompts
        assert llm._lists == [prompts]

    def test_get_no_more_than_max_batch_size(self, model, way):
        llm = model(max_batch_size=3)
        prompts = [str(i) for i in range(8)]
        assert run(way, llm, prompts) == prompts
        assert [len(batch) for batch in llm._lists] == [3, 3, 2]

    def test_get_no_more_than_max_concurrency(self, model, way):
        llm = model()
        prompts = [str(i) for i in range(5)]
        assert run(way, llm, prompts, {"max_concurrency": 2}) == prompts
        assert max(map(len, llm._lists)) == 2

    def test_fail_only_the_poison_prompt(self, model, way):
        llm = model()
        prompts = [str(i) for i in range(16)]
        prompts[5] = "poison"
        got = run(way, llm, prompts, return_exceptions=True)
        assert isinstance(got[5], ZeroDivisionError)
        assert got[:5] + got[6:] == prompts[:5] + prompts[6:]
        assert len(llm._lists) <= 1 + 2 * 4

    def test_raise_the_poison_without_return_exceptions(self, model, way):
        with pytest.raises(ZeroDivisionError):
            run(way, model(), ["a", "poison", "b"])

    def test_serve_equal_prompts(self, model, way):
        llm = model()
        assert run(way, llm, ["a", "a", "b"]) == ["a", "a", "b"]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("given", [[], ["one"], ["1", "2", "3", "4"]])
def test_a_result_of_another_length_names_both_numbers(way, given):
    class Short(LLM):
        def _batch(self, prompts):
            return given

    with pytest.raises(ValueError, match=rf"Short\._batch.*given 2 .*returned {len(given)}"):
        run(way, Short(), ["a", "b"])


@pytest.mark.parametrize("way", WAYS)
def test_a_retryable_failure_is_not_halved(way):
    calls = []

    class Limited(LLM):
        def _batch(self, prompts):
            calls.append(len(prompts))
            raise ModelTimeoutError("later")

    got = run(way, Limited(), ["a", "b", "c", "d"], return_exceptions=True)
    assert [type(error) for error in got] == [ModelTimeoutError] * 4
    assert calls == [4]


def test_concurrent_threads_are_put_together():
    llm = Lists()
    llm._open.clear()
    got = {}

    def call(prompt):
        got[prompt] = llm.invoke(prompt)

    names = [str(i) for i in range(10)]
    with threads(lambda: call("first"), *(lambda n=name: call(n) for name in names)):
        assert eventually(lambda: len(llm._lists) == 1)
        assert eventually(lambda: len(llm._wrap_live._in_threads._queue) + len(llm._lists[0]) == 11)
        llm._open.set()
    assert got == {name: name for name in ["first", *names]}
    assert len(llm._lists) == 2


@pytest.mark.parametrize("model", [Lists, AsyncLists])
async def test_concurrent_tasks_are_put_together(model):
    llm = model()
    llm._open.clear()
    tasks = [asyncio.create_task(llm.ainvoke(str(i))) for i in range(10)]
    for _ in range(100):
        await asyncio.sleep(0.001)
    llm._open.set()
    assert await asyncio.gather(*tasks) == [str(i) for i in range(10)]
    assert sum(map(len, llm._lists)) == 10
    assert len(llm._lists) <= 3


async def test_only_equal_parameters_and_stops_go_together():
    llm = Lists()
    llm._open.clear()
    hold = asyncio.create_task(llm.ainvoke("hold"))
    await asyncio.sleep(0.05)
    calls = [llm.ainvoke(f"{i}", t=i % 2) for i in range(6)]
    calls += [llm.ainvoke("s", t=0, stop=["zz"])]
    tasks = [asyncio.create_task(call) for call in calls]
    await asyncio.sleep(0.05)
    llm._open.set()
    assert await asyncio.gather(*tasks) == [f"{i}[('t', {i % 2})]" for i in range(6)] + [
        "s[('t', 0)]"
    ]
    await hold
    assert llm._lists == [["hold"], ["0", "2", "4"], ["1", "3", "5"], ["s"]]


async def test_keys_in_parameters_are_told_apart():
    llm = Lists()
    llm._open.clear()
    hold = asyncio.create_task(llm.ainvoke("hold"))
    await asyncio.sleep(0.05)
    tasks = [asyncio.create_task(llm.ainvoke("p", api_key=key)) for key in ("mine", "yours")]
    await asyncio.sleep(0.05)
    llm._open.set()
    assert await asyncio.gather(*tasks) == ["p[('api_key', 'mine')]", "p[('api_key', 'yours')]"]
    await hold


def test_a_stream_of_a_batch_model_is_one_chunk():
    assert list(ByBatch().stream("abc")) == ["abc"]


def test_a_lone_caller_does_not_wait_for_company():
    class Counting(LLM):
        def _batch(self, prompts):
            sizes.append(len(prompts))
            return prompts

    sizes: list[int] = []
    llm = Counting()
    for _ in range(3):
        llm.invoke("p")
    assert sizes == [1, 1, 1]


async def test_a_task_that_gives_up_leaves_the_others_of_its_batch_alone():
    llm = Lists()
    llm._open.clear()
    tasks = [asyncio.create_task(llm.ainvoke(str(i))) for i in range(4)]
    await asyncio.sleep(0.05)
    tasks[2].cancel()
    await asyncio.sleep(0.05)
    assert tasks[2].cancelled()
    llm._open.set()
    got = await asyncio.gather(*tasks, return_exceptions=True)
    assert got[:2] + got[3:] == ["0", "1", "3"]


async def test_a_task_that_leaves_a_running_batch_does_not_end_it():
    cancelled = []

    class Slow(AsyncLists):
        async def _abatch(self, prompts, cancel, stop=None, **kwargs):
            cancel.add_callback(lambda: cancelled.append(prompts))
            return await super()._abatch(prompts)

    llm = Slow()
    llm._open.clear()
    whole = asyncio.create_task(llm.abatch(["a", "b", "c"], return_exceptions=True))
    await aeventually(lambda: llm._lists)
    batcher = next(iter(llm._wrap_live._in_loops.values()))
    hold = asyncio.create_task(llm.ainvoke("d"))
    await aeventually(lambda: len(batcher._queue) == 1)
    hold.cancel()
    await asyncio.wait([hold])
    assert cancelled == []
    llm._open.set()
    assert await whole == ["a", "b", "c"]
    assert llm._lists == [["a", "b", "c"]]


async def test_one_of_two_in_a_running_batch_may_leave():
    first, second = asyncio.Event(), asyncio.Event()
    lists = []

    class Stepping(LLM):
        async def _abatch(self, prompts):
            lists.append(prompts)
            await (first if len(lists) == 1 else second).wait()
            return prompts

    llm = Stepping()
    hold = asyncio.create_task(llm.ainvoke("hold"))
    await aeventually(lambda: lists)
    leaving, staying = (asyncio.create_task(llm.ainvoke(prompt)) for prompt in "ab")
    await asyncio.sleep(0.02)
    first.set()
    assert await aeventually(lambda: lists == [["hold"], ["a", "b"]])
    leaving.cancel()
    await asyncio.wait([leaving])
    second.set()
    assert await asyncio.wait_for(staying, LONG) == "b"
    assert await hold == "hold"


async def test_a_batch_that_nobody_waits_for_is_cancelled():
    told = asyncio.Event()

    class Patient(LLM):
        async def _abatch(self, prompts, cancel):
            try:
                await asyncio.sleep(LONG)
            except asyncio.CancelledError:
                told.set()
                raise

    task = asyncio.create_task(Patient().abatch(["a", "b"]))
    await asyncio.sleep(0.05)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.wait_for(told.wait(), LONG)


def test_generate_makes_one_list_too():
    llm = Lists()
    result = llm.generate(["a", "b"])
    assert [g[0].text for g in result.generations] == ["a", "b"]
    assert llm._lists == [["a", "b"]]


def test_batch_as_completed_gives_each_with_its_index():
    assert dict(ByCall().batch_as_completed(["a", "b", "c"])) == {0: "a", 1: "b", 2: "c"}


async def test_abatch_as_completed_gives_each_with_its_index():
    got = {i: text async for i, text in ByCall().abatch_as_completed(["a", "b", "c"])}
    assert got == {0: "a", 1: "b", 2: "c"}
