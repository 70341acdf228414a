"""Corners where two promises meet: places and derived methods, limits and timeouts, and so on."""

from __future__ import annotations

import asyncio
import gc
import threading
import time

import pytest
from langchain_core.caches import InMemoryCache
from langchain_core.exceptions import ModelTimeoutError
from langchain_core.load import dumpd
from langchain_core.outputs import GenerationChunk
from langchain_core.rate_limiters import BaseRateLimiter, InMemoryRateLimiter
from pydantic import PrivateAttr, SecretStr
from scripted import KINDS, LONG, Peak, eventually, threads

from langchain_wrap import LLM, QueueFullError, Timeout, wrap
from langchain_wrap.pipeline import workers
from langchain_wrap.pipeline.gate import Gate
from langchain_wrap.pipeline.shell import SyncShell
from langchain_wrap.pipeline.waiter import run_sync

KEY = "sk-Zx9-very-secret"


class Tuned(LLM):
    t: int = 0

    def _stream(self, prompt):
        yield from prompt
        yield f" t={self.t}"


def test_a_field_assigned_while_a_stream_is_open_counts_for_the_cache():
    llm = Tuned(cache=InMemoryCache())
    assert llm.invoke("p") == "p t=0"
    stream = llm.stream("other")
    next(stream)
    llm.t = 1
    list(stream)
    assert llm.invoke("p") == "p t=1"


def test_wrapped_built_in_methods_share_no_cache_entry():
    cache = InMemoryCache()
    assert wrap({"q": "1"}.get, cache=cache).invoke("q") == "1"
    assert wrap({"q": "2"}.get, cache=cache).invoke("q") == "2"


class Polished(LLM):
    """Has its own `_astream` on top of the derived one, as classes for langchain-core do."""

    def _stream(self, prompt):
        yield from prompt

    async def _astream(self, prompt, **kwargs):
        async for chunk in super()._astream(prompt, **kwargs):
            yield GenerationChunk(text=chunk.text.upper())


async def test_a_derived_method_takes_no_place_of_its_own():
    class Limiter(InMemoryRateLimiter):
        passed = 0

        async def aacquire(self, *, blocking=True):
            Limiter.passed += 1
            return True

    llm = Polished(concurrency=1, rate_limiter=Limiter())
    async with asyncio.timeout(LONG):
        assert [text async for text in llm.astream("abc")] == ["A", "B", "C"]
    assert Limiter.passed == 1


class Never(BaseRateLimiter):
    """Lets `most` attempts pass, and no more."""

    def __init__(self, most):
        self.most = most
        self.asked = 0

    def acquire(self, *, blocking=True):
        self.asked += 1
        self.most -= 1
        return self.most >= 0

    async def aacquire(self, *, blocking=True):
        return self.acquire(blocking=blocking)


@pytest.mark.parametrize("kind", KINDS)
def test_waiting_for_the_rate_limiter_counts_for_the_timeout(kind):
    llm = KINDS[kind](rate_limiter=Never(0), timeout=0.1)
    with pytest.raises(ModelTimeoutError, match=r"total timeout of 0\.1 s"):
        llm.invoke("p")
    with pytest.raises(ModelTimeoutError, match=r"total timeout of 0\.1 s"):
        asyncio.run(llm.abatch(["p", "q"]))


def test_after_an_error_no_prompt_that_waits_for_the_limiter_is_sent():
    called = []

    class Failing(LLM):
        def _call(self, prompt):
            called.append(prompt)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        Failing(rate_limiter=Never(1)).batch(list("abcdef"))
    assert len(called) == 1


@pytest.mark.parametrize("kind", ["_batch", "_abatch"])
def test_a_list_stays_one_list_behind_a_rate_limiter(kind):
    sizes = []

    @wrap(batch=True, rate_limiter=InMemoryRateLimiter(requests_per_second=500, max_bucket_size=4))
    def lists(prompts):
        sizes.append(len(prompts))
        return prompts

    @wrap(batch=True, rate_limiter=InMemoryRateLimiter(requests_per_second=500, max_bucket_size=4))
    async def alists(prompts):
        sizes.append(len(prompts))
        return prompts

    llm = lists if kind == "_batch" else alists
    assert llm.batch(list("abcdefgh")) == list("abcdefgh")
    assert asyncio.run(llm.abatch(list("abcdefgh"))) == list("abcdefgh")
    assert sizes == [8, 8]


def test_a_full_queue_is_said_at_once_and_not_retried():
    inside, go = threading.Event(), threading.Event()

    class Busy(LLM):
        def _call(self, prompt):
            inside.set()
            go.wait(LONG)
            return prompt

    llm = Busy(concurrency=1, max_queued=0, max_retries=50)
    with threads(lambda: llm.invoke("a")):
        inside.wait(LONG)
        begin = time.monotonic()
        with pytest.raises(QueueFullError):
            llm.invoke("b")
        taken = time.monotonic() - begin
        go.set()
    assert taken < 5  # 50 retries would take minutes


@pytest.mark.parametrize("kind", ["_batch", "_abatch"])
def test_lists_run_side_by_side_as_far_as_concurrency_allows(kind):
    gathered = threading.Barrier(4)

    def meet():
        gathered.wait(LONG)

    @wrap(batch=True, concurrency=4, max_batch_size=2)
    def lists(prompts):
        meet()
        return prompts

    @wrap(batch=True, concurrency=4, max_batch_size=2)
    async def alists(prompts):
        await asyncio.to_thread(meet)
        return prompts

    llm = lists if kind == "_batch" else alists
    assert llm.batch(list("abcdefgh")) == list("abcdefgh")


def test_without_concurrency_a_batch_method_runs_once_at_a_time_over_all_loops():
    peak = Peak()

    class Lists(LLM):
        async def _abatch(self, prompts):
            with peak:
                await asyncio.sleep(0.01)
            return prompts

    llm = Lists()

    def own_loop():
        assert asyncio.run(llm.abatch(["a", "b"])) == ["a", "b"]

    with threads(own_loop, own_loop, own_loop, lambda: llm.batch(["c", "d"])):
        pass
    assert peak.most == 1


def test_a_worker_that_cannot_be_started_strands_nobody(monkeypatch):
    @wrap(batch=True)
    def lists(prompts):
        return prompts

    def refuse(job):
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(workers, "submit", refuse)
        with pytest.raises(RuntimeError, match="can't start new thread"):
            lists.invoke("a")
    assert lists.invoke("b") == "b"


async def test_a_batch_method_that_was_cancelled_from_within_strands_nobody():
    inside, go = asyncio.Event(), asyncio.Event()

    @wrap(batch=True, max_batch_size=1)
    async def lists(prompts):
        if prompts == ["bad"]:
            inside.set()
            await go.wait()
            raise asyncio.CancelledError
        return prompts

    bad = asyncio.create_task(lists.ainvoke("bad"))
    await inside.wait()
    good = asyncio.create_task(lists.ainvoke("good"))
    await asyncio.sleep(0.01)
    go.set()
    with pytest.raises(RuntimeError, match="was cancelled from within"):
        await bad
    assert await asyncio.wait_for(good, LONG) == "good"


def test_leaving_the_gate_never_waits_for_its_lock():
    """A garbage collection may close an abandoned stream in a thread that holds the lock."""
    gate, shell = Gate(1), SyncShell()
    assert run_sync(gate.enter(shell.waiter()))
    with gate._lock:
        gate.leave()
        assert gate.inside == 0
    assert run_sync(gate.enter(shell.waiter(), time.monotonic() + LONG))


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # by Python itself
def test_a_stream_whose_loop_was_closed_gives_its_place_back():
    class Endless(LLM):
        def _stream(self, prompt):
            while True:
                yield prompt

    llm = Endless(concurrency=1)
    loop = asyncio.new_event_loop()
    stream = llm.astream("p")
    loop.run_until_complete(anext(stream))
    loop.close()
    del stream
    gc.collect()
    assert eventually(lambda: llm._wrap_live._gate.inside == 0)
    assert next(llm.stream("q")) == "q"


class OwnBounds(LLM):
    max_batch_size: int = 0

    def _batch(self, prompts):
        return prompts


@pytest.mark.parametrize(
    ("field", "value"), [("concurrency", 0), ("concurrency", "high"), ("max_queued", -1)]
)
def test_an_impossible_bound_that_was_assigned_is_an_error(field, value):
    llm = KINDS["_call"]()
    setattr(llm, field, value)
    with pytest.raises(ValueError, match=f"{field} must be a whole number"):
        llm.invoke("p")


def test_an_impossible_bound_of_the_authors_own_is_an_error():
    with pytest.raises(ValueError, match="max_batch_size must be a whole number from 1 on"):
        OwnBounds().invoke("p")


def test_a_field_stop_that_is_a_string_stays_one():
    class Own(LLM):
        stop: str = "b"

        def _call(self, prompt):
            return prompt

    assert Own(stop="c").stop == "c"
    assert Own(stop="c").invoke("abcd") == "ab"
    assert Own()._identifying_params == {"stop": ["b"]}


def test_keys_bound_to_a_model_do_not_show_and_reach_it():
    given = []

    class Service(LLM):
        def _call(self, prompt, **kwargs):
            given.append(kwargs)
            return prompt

    bound = Service().bind(api_key=KEY, headers={"Authorization": f"Bearer {KEY}"}, top_k=3)
    for text in (repr(bound), str(bound), str(dumpd(bound))):
        assert KEY not in text
    bound.invoke("p")
    assert given == [{"api_key": KEY, "headers": {"Authorization": f"Bearer {KEY}"}, "top_k": 3}]


def test_a_key_in_a_private_attribute_is_masked_in_errors():
    class Private(LLM):
        _key: SecretStr = PrivateAttr(default=SecretStr(KEY))

        def _call(self, prompt):
            raise RuntimeError(f"refused {self._key.get_secret_value()}")

    with pytest.raises(RuntimeError, match=r"refused \*+$"):
        Private().invoke("p")


def test_facts_of_a_failed_attempt_are_forgotten():
    tries = []

    class Flaky(LLM):
        def _stream(self, prompt):
            tries.append(1)
            info = {"logprobs": [len(tries)], "token_usage": {"prompt_tokens": len(tries)}}
            yield GenerationChunk(text="", generation_info=info)
            if len(tries) == 1:
                raise ConnectionError
            yield "x"

    info = Flaky(max_retries=1).generate(["p"]).generations[0][0].generation_info
    assert info == {"logprobs": [2], "token_usage": {"prompt_tokens": 2}}


@pytest.mark.parametrize("name", ["run_manager", "cancel"])
def test_what_we_give_ourselves_is_no_call_parameter(name):
    with pytest.raises(TypeError, match=f"is given '{name}' by us"):
        wrap(lambda prompt, **kwargs: prompt).invoke("p", **{name: 1})


def test_the_last_text_before_a_stop_does_not_wait_for_the_model_to_close():
    closing = threading.Event()

    class Slow(LLM):
        def _stream(self, prompt):
            try:
                yield "ab. "
                yield "more"
            finally:
                closing.wait(LONG)

    async def read():
        async for text in Slow().astream("p", stop=["."]):
            closing_done = closing.is_set()
            closing.set()
            return text, closing_done

    assert asyncio.run(read()) == ("ab", False)


def test_a_model_that_is_stuck_in_its_only_place_is_not_waited_for_again():
    go = threading.Event()

    class Stuck(LLM):
        def _call(self, prompt):
            go.wait(LONG)
            return prompt

    llm = Stuck(concurrency=1, max_retries=3, timeout=Timeout(first_token=0.05))
    with pytest.raises(ModelTimeoutError, match="first_token"):
        llm.invoke("p")
    assert llm.abandoned_calls == 1
    go.set()
    assert eventually(lambda: llm.abandoned_calls == 0)


def test_none_cannot_be_wrapped():
    with pytest.raises(TypeError, match="cannot wrap None"):
        wrap(None)
