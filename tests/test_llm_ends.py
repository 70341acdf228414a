"""Early ends, timeouts, retries, rate limits and faults at each point."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time

import pytest
from langchain_core.exceptions import (
    ContextOverflowError,
    ModelRateLimitError,
    ModelTimeoutError,
)
from langchain_core.output_parsers import StrOutputParser
from langchain_core.outputs import GenerationChunk
from langchain_core.prompts import PromptTemplate
from langchain_core.rate_limiters import BaseRateLimiter
from langchain_core.tracers.run_collector import RunCollectorCallbackHandler
from pydantic import Field
from scripted import (
    KINDS,
    LONG,
    PATHS,
    STREAMING,
    ByCall,
    ByStream,
    Recorder,
    aeventually,
    eventually,
    read,
)

from langchain_wrap import LLM, Timeout
from langchain_wrap.pipeline import retry

DIRECT = [path for path in PATHS if path != "astream_events"]


@pytest.fixture
def quick_retries(monkeypatch):
    monkeypatch.setattr(retry, "WAIT", lambda state: 0.001)


# --- a reader who leaves ----------------------------------------------------------------------


class Closing:
    """Streams without end; notes its own end."""

    def __init__(self):
        self.closed = []

    def model(self, kind):
        closed = self.closed

        class Sync(LLM):
            def _stream(self, prompt):
                try:
                    while True:
                        yield "ab"
                        time.sleep(0.001)
                finally:
                    closed.append(threading.current_thread().name)

        class Async(LLM):
            async def _astream(self, prompt):
                try:
                    while True:
                        yield "ab"
                        await asyncio.sleep(0.001)
                finally:
                    closed.append(threading.current_thread().name)

        return {"_stream": Sync, "_astream": Async}[kind]


def assert_cancelled(recorder, text):
    assert recorder.names[-1] == "end"
    assert "error" not in recorder.names
    assert recorder.names.count("end") == 1
    assert recorder.end.text == text == "".join(recorder.tokens)
    assert recorder.end.generation_info["finish_reason"] == "cancelled"


@pytest.mark.parametrize("timeout", [None, LONG])
@pytest.mark.parametrize("kind", STREAMING)
class TestAReaderWhoLeaves:
    def test_by_break_closes_the_source_and_ends_the_run(self, kind, timeout):
        closing, recorder = Closing(), Recorder()
        llm = closing.model(kind)(timeout=timeout)
        for count, _ in enumerate(llm.stream("p", {"callbacks": [recorder]}), 1):
            if count == 3:
                break
        assert eventually(lambda: recorder.names[-1] == "end")
        assert_cancelled(recorder, "ababab")
        assert eventually(lambda: len(closing.closed) == 1)

    async def test_by_break_in_a_loop_closes_the_source_and_ends_the_run(self, kind, timeout):
        closing, recorder = Closing(), Recorder()
        llm = closing.model(kind)(timeout=timeout)
        stream = llm.astream("p", {"callbacks": [recorder]})
        count = 0
        async for _ in stream:
            count += 1
            if count == 3:
                break
        await stream.aclose()
        assert_cancelled(recorder, "ababab")
        assert await aeventually(lambda: len(closing.closed) == 1)

    async def test_without_closing_is_noticed_when_the_stream_is_collected(self, kind, timeout):
        closing, recorder = Closing(), Recorder()
        llm = closing.model(kind)(timeout=timeout)
        async for _ in llm.astream("p", {"callbacks": [recorder]}):
            break
        assert await aeventually(lambda: recorder.names[-1] == "end")
        assert_cancelled(recorder, "ab")
        assert await aeventually(lambda: len(closing.closed) == 1)

    async def test_from_a_chain_ends_the_models_run(self, kind, timeout):
        closing, recorder = Closing(), Recorder()
        llm = closing.model(kind)(timeout=timeout)
        chain = PromptTemplate.from_template("{x}") | llm | StrOutputParser()
        stream = chain.astream({"x": "p"}, {"callbacks": [recorder]})
        await anext(stream)
        await stream.aclose()
        assert await aeventually(lambda: recorder.names[-1] == "end")
        assert recorder.end.generation_info["finish_reason"] == "cancelled"
        assert await aeventually(lambda: len(closing.closed) == 1)


def test_a_tracer_sees_a_reader_who_left_as_no_error():
    collector = RunCollectorCallbackHandler()
    stream = ByStream().stream("abcd", {"callbacks": [collector]})
    next(stream)
    stream.close()
    (run,) = collector.traced_runs
    assert run.error is None
    assert run.end_time is not None
    assert run.outputs["generations"][0][0]["text"] == "ab"


def test_leaving_after_the_last_chunk_is_a_normal_end():
    recorder = Recorder()
    assert list(ByStream().stream("ab", {"callbacks": [recorder]})) == ["ab"]
    assert recorder.end.generation_info is None


def test_a_stop_closes_the_source_at_once():
    made, closed = [], []

    class Noting(LLM):
        def _stream(self, prompt):
            try:
                for letter in "abcdef":
                    made.append(letter)
                    yield letter
            finally:
                closed.append(True)

    assert Noting().invoke("p", stop=["c"]) == "ab"
    assert made == ["a", "b", "c"]
    assert closed == [True]


async def test_a_stop_closes_an_async_source_at_once():
    made, closed = [], []

    class Noting(LLM):
        async def _astream(self, prompt):
            try:
                for letter in "abcdef":
                    made.append(letter)
                    yield letter
            finally:
                closed.append(True)

    assert await Noting().ainvoke("p", stop=["c"]) == "ab"
    assert made == ["a", "b", "c"]
    assert closed == [True]


def test_a_stop_stops_an_endless_model_in_every_path():
    for kind in STREAMING:
        for path in PATHS:
            assert PATHS[path](Closing().model(kind)(), "p", None, stop=["baba"]) == "a"


def test_a_source_that_fails_while_closing_does_not_fail_the_reader(caplog):
    class Grumpy(LLM):
        def _stream(self, prompt):
            try:
                yield "a"
                yield "b"
            finally:
                raise ZeroDivisionError("closing")

    stream = Grumpy().stream("p")
    assert next(stream) == "a"
    stream.close()
    assert Grumpy().invoke("p", stop=["a"]) == ""
    assert "Grumpy._stream() failed while it was being closed" in caplog.text


def test_held_back_text_goes_out_as_soon_as_it_cannot_be_a_stop():
    waiting = threading.Event()

    class Slow(LLM):
        def _stream(self, prompt):
            yield "xSTO"
            yield "x"
            waiting.wait(LONG)
            yield "y"

    stream = Slow(timeout=LONG).stream("p", stop=["STOP"])
    assert next(stream) == "x"
    assert next(stream) == "STOx"
    waiting.set()
    assert list(stream) == ["y"]


def test_the_callers_stop_list_is_left_alone():
    stops = ["b"]
    llm = ByStream(stop=["z"])
    llm.invoke("abc", stop=stops)
    list(llm.stream("abc", stop=stops))
    assert stops == ["b"]
    assert llm.stop == ["z"]


def test_a_model_that_changes_its_stops_changes_nothing_else():
    class Rude(LLM):
        def _call(self, prompt, stop=None):
            stop.clear()
            return prompt

    assert Rude().invoke("abc", stop=["b"]) == "a"


@pytest.mark.parametrize("path", DIRECT)
def test_an_empty_stop_is_refused_by_every_path(path):
    with pytest.raises(ValueError, match="empty string"):
        PATHS[path](ByCall(), "p", None, stop=[""])
    with pytest.raises(ValueError, match="empty string"):
        ByCall(stop=[""])


# --- timeouts ---------------------------------------------------------------------------------


class Sleepy:
    """Methods that wait before the first token, or between two, until they are let go."""

    def __init__(self):
        self.go = threading.Event()
        self.told = threading.Event()

    def models(self):
        outer = self

        async def await_go():
            try:
                while not outer.go.is_set():
                    await asyncio.sleep(0.002)
            except asyncio.CancelledError:
                outer.told.set()
                raise

        class Call(LLM):
            def _call(self, prompt, cancel):
                cancel.add_callback(outer.told.set)
                outer.go.wait(LONG)
                return prompt

        class ACall(LLM):
            async def _acall(self, prompt):
                await await_go()
                return prompt

        class Stream(LLM):
            def _stream(self, prompt, cancel):
                cancel.add_callback(outer.told.set)
                if prompt != "late":
                    outer.go.wait(LONG)
                yield "a"
                outer.go.wait(LONG)
                yield "b"

        class AStream(LLM):
            async def _astream(self, prompt):
                if prompt != "late":
                    await await_go()
                yield "a"
                await await_go()
                yield "b"

        class Batch(LLM):
            def _batch(self, prompts, cancel):
                cancel.add_callback(outer.told.set)
                outer.go.wait(LONG)
                return prompts

        class ABatch(LLM):
            async def _abatch(self, prompts):
                await await_go()
                return prompts

        return {"_call": Call, "_acall": ACall, "_stream": Stream, "_astream": AStream,
                "_batch": Batch, "_abatch": ABatch}  # fmt: skip


@pytest.fixture
def sleepy():
    sleepy = Sleepy()
    yield sleepy
    sleepy.go.set()


@pytest.mark.parametrize("path", DIRECT)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("which", ["total", "first_token"])
def test_a_model_that_hangs_runs_into_its_timeout_and_is_told(sleepy, kind, path, which):
    llm = sleepy.models()[kind](timeout=Timeout(**{which: 0.05}))
    recorder = Recorder()
    with pytest.raises(ModelTimeoutError, match=f"{which} timeout of 0.05 s.*{kind}"):
        PATHS[path](llm, "p", {"callbacks": [recorder]})
    assert "error" in recorder.names
    assert recorder.names.count("start") == recorder.names.count("error") + recorder.names.count(
        "end"
    )
    assert sleepy.told.wait(LONG)


@pytest.mark.parametrize("path", DIRECT)
@pytest.mark.parametrize("kind", STREAMING)
def test_a_pause_between_tokens_runs_into_the_idle_timeout(sleepy, kind, path):
    llm = sleepy.models()[kind](timeout=Timeout(idle=0.05))
    recorder = Recorder()
    with pytest.raises(ModelTimeoutError, match=r"idle timeout of 0\.05 s"):
        PATHS[path](llm, "late", {"callbacks": [recorder]})
    assert set(recorder.tokens) == {"a"}


@pytest.mark.parametrize("kind", STREAMING)
def test_the_first_token_may_take_longer_than_the_idle_timeout(sleepy, kind):
    llm = sleepy.models()[kind](timeout=Timeout(idle=0.3))
    threading.Timer(0.6, sleepy.go.set).start()
    assert llm.invoke("p") == "ab"


@pytest.mark.parametrize("kind", STREAMING)
def test_after_the_first_token_its_timeout_is_over(sleepy, kind):
    llm = sleepy.models()[kind](timeout=Timeout(first_token=0.5))
    threading.Timer(0.8, sleepy.go.set).start()
    assert llm.invoke("late") == "ab"


@pytest.mark.parametrize("kind", STREAMING)
async def test_a_slow_async_reader_does_not_run_into_the_models_idle_timeout(kind):
    class Model(LLM):
        def _stream(self, prompt):
            for letter in prompt:
                time.sleep(0.01)
                yield letter

    class AModel(LLM):
        async def _astream(self, prompt):
            for letter in prompt:
                await asyncio.sleep(0.01)
                yield letter

    model = {"_stream": Model, "_astream": AModel}[kind]
    got = ""
    async for letter in model(timeout=Timeout(idle=0.4)).astream("ab"):
        await asyncio.sleep(0.6)
        got += letter
    assert got == "ab"


def test_a_blocking_call_that_timed_out_is_counted_until_it_ends(sleepy):
    llm = sleepy.models()["_call"](timeout=0.05, concurrency=1)
    with pytest.raises(ModelTimeoutError):
        llm.invoke("p")
    assert llm.abandoned_calls == 1
    sleepy.go.set()
    assert eventually(lambda: llm.abandoned_calls == 0)
    assert llm.invoke("p") == "p"


def test_a_timeout_of_the_models_own_is_not_taken_for_ours():
    class Own(LLM):
        async def _acall(self, prompt):
            raise TimeoutError("my own")

    with pytest.raises(TimeoutError, match="my own"):
        asyncio.run(Own(timeout=LONG).ainvoke("p"))


@pytest.mark.parametrize("wrong", [0, -1, "soon"])
def test_a_wrong_timeout_is_refused(wrong):
    with pytest.raises(ValueError, match="timeout"):
        ByCall(timeout=wrong)


# --- retries ----------------------------------------------------------------------------------


class Flaky:
    """Methods that fail a number of times with an error, then answer."""

    def __init__(self, error, times, *, after_tokens=False):
        self.error, self.times, self.calls = error, times, 0
        self.after_tokens = after_tokens

    def attempt(self):
        self.calls += 1
        if self.calls <= self.times:
            raise self.error

    def models(self):
        outer = self

        class Call(LLM):
            def _call(self, prompt):
                outer.attempt()
                return prompt

        class ACall(LLM):
            async def _acall(self, prompt):
                outer.attempt()
                return prompt

        class Stream(LLM):
            def _stream(self, prompt):
                if outer.after_tokens:
                    yield "a"
                outer.attempt()
                yield prompt

        class AStream(LLM):
            async def _astream(self, prompt):
                if outer.after_tokens:
                    yield "a"
                outer.attempt()
                yield prompt

        class Batch(LLM):
            def _batch(self, prompts):
                outer.attempt()
                return prompts

        class ABatch(LLM):
            async def _abatch(self, prompts):
                outer.attempt()
                return prompts

        return {"_call": Call, "_acall": ACall, "_stream": Stream, "_astream": AStream,
                "_batch": Batch, "_abatch": ABatch}  # fmt: skip


SINGLE = ["invoke", "stream", "ainvoke", "astream"]


@pytest.mark.usefixtures("quick_retries")
class TestRetries:
    @pytest.mark.parametrize("path", SINGLE)
    @pytest.mark.parametrize("kind", KINDS)
    def test_a_retryable_error_is_tried_again(self, kind, path):
        flaky = Flaky(ModelRateLimitError("later"), 2)
        recorder = Recorder()
        llm = flaky.models()[kind](max_retries=2)
        assert PATHS[path](llm, "p", {"callbacks": [recorder]}) == "p"
        assert flaky.calls == 3
        assert recorder.names == ["start", "retry", "retry", "token", "end"]
        assert recorder.of("retry") == [1, 2]

    @pytest.mark.parametrize("path", SINGLE)
    @pytest.mark.parametrize("kind", KINDS)
    def test_after_the_last_try_the_error_is_raised(self, kind, path):
        flaky = Flaky(ConnectionError("down"), 99)
        with pytest.raises(ConnectionError, match="down"):
            PATHS[path](flaky.models()[kind](max_retries=2), "p", None)
        assert flaky.calls == 3

    @pytest.mark.parametrize(
        "error", [ValueError("x"), TypeError("x"), ContextOverflowError("x"), ZeroDivisionError()]
    )
    @pytest.mark.parametrize("path", SINGLE)
    def test_another_error_is_not_tried_again(self, path, error):
        flaky = Flaky(error, 99)
        with pytest.raises(type(error)):
            PATHS[path](flaky.models()["_call"](max_retries=5), "p", None)
        assert flaky.calls == 1

    @pytest.mark.parametrize("path", SINGLE)
    @pytest.mark.parametrize("kind", STREAMING)
    def test_after_the_first_token_nothing_is_tried_again(self, kind, path):
        flaky = Flaky(ConnectionError("down"), 1, after_tokens=True)
        with pytest.raises(ConnectionError):
            PATHS[path](flaky.models()[kind](max_retries=5), "p", None)
        assert flaky.calls == 1

    def test_without_max_retries_nothing_is_tried_again(self):
        flaky = Flaky(ConnectionError("down"), 1)
        with pytest.raises(ConnectionError):
            flaky.models()["_call"]().invoke("p")
        assert flaky.calls == 1

    @pytest.mark.parametrize("path", SINGLE)
    def test_an_empty_first_chunk_is_no_token(self, path):
        calls = []

        class Model(LLM):
            def _stream(self, prompt):
                calls.append(1)
                yield ""
                if len(calls) == 1:
                    raise ConnectionError
                yield prompt

        assert PATHS[path](Model(max_retries=1), "p", None) == "p"

    def test_the_first_token_timeout_is_tried_again_and_the_total_is_not(self, sleepy):
        for which, tries in (("first_token", 3), ("total", 1)):
            calls = []

            class Model(LLM):
                def _call(self, prompt, calls=calls):
                    calls.append(1)
                    sleepy.go.wait(LONG)
                    return prompt

            llm = Model(timeout=Timeout(**{which: 0.05}), max_retries=2)
            with pytest.raises(ModelTimeoutError):
                llm.invoke("p")
            assert len(calls) == tries

    def test_each_prompt_of_a_batch_has_its_own_tries(self):
        calls: dict[str, int] = {}

        class Model(LLM):
            def _call(self, prompt):
                calls[prompt] = calls.get(prompt, 0) + 1
                if calls[prompt] < 3:
                    raise ConnectionError
                return prompt

        assert Model(max_retries=2).batch(["a", "b", "c"]) == ["a", "b", "c"]
        assert calls == {"a": 3, "b": 3, "c": 3}

    def test_a_place_is_not_held_during_the_pause(self, monkeypatch):
        monkeypatch.setattr(retry, "WAIT", lambda state: 0.2)
        flaky = Flaky(ConnectionError(), 1)
        llm = flaky.models()["_call"](max_retries=1, concurrency=1)
        thread = threading.Thread(target=llm.invoke, args=("p",), daemon=True)
        thread.start()
        assert eventually(lambda: flaky.calls == 1 and llm._wrap_live._gate.inside == 0)
        assert llm.invoke("q") == "q"
        thread.join(LONG)

    async def test_a_cancel_ends_the_pause(self, monkeypatch):
        monkeypatch.setattr(retry, "WAIT", lambda state: LONG)
        flaky = Flaky(ConnectionError(), 1)
        task = asyncio.create_task(flaky.models()["_call"](max_retries=1).ainvoke("p"))
        await aeventually(lambda: flaky.calls == 1)
        await asyncio.sleep(0.02)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(task, LONG / 2)

    def test_the_total_timeout_ends_the_pause_with_the_models_error(self, monkeypatch):
        monkeypatch.setattr(retry, "WAIT", lambda state: LONG)
        flaky = Flaky(ConnectionError("down"), 1)
        with pytest.raises(ConnectionError, match="down"):
            flaky.models()["_call"](max_retries=1, timeout=0.1).invoke("p")


def test_with_retry_and_with_fallbacks_of_langchain_work():
    flaky = Flaky(ZeroDivisionError(), 2)
    llm = flaky.models()["_call"]().with_retry(
        stop_after_attempt=3,
        wait_exponential_jitter=False,
        retry_if_exception_type=(ZeroDivisionError,),
    )
    assert llm.invoke("p") == "p"
    broken = Flaky(ZeroDivisionError(), 99).models()["_stream"]()
    saved = broken.with_fallbacks([ByStream()])
    assert saved.invoke("p") == "p"
    assert saved.batch(["a", "b"]) == ["a", "b"]
    assert list(saved.stream("abcd")) == ["ab", "cd"]
    assert asyncio.run(saved.ainvoke("p")) == "p"
    assert asyncio.run(read(saved.astream("abcd"))) == ["ab", "cd"]


# --- rate limiter -----------------------------------------------------------------------------


class CountingLimiter(BaseRateLimiter):
    def __init__(self):
        self.sync = 0
        self.asynchronous = 0

    def acquire(self, *, blocking=True):
        self.sync += 1
        return True

    async def aacquire(self, *, blocking=True):
        self.asynchronous += 1
        return True


@pytest.mark.parametrize("kind", KINDS)
def test_each_prompt_asks_the_rate_limiter(kind):
    limiter = CountingLimiter()
    llm = KINDS[kind](rate_limiter=limiter)
    llm.invoke("a")
    llm.batch(["a", "b", "c"])
    list(llm.stream("a"))
    assert (limiter.sync, limiter.asynchronous) == (5, 0)
    asyncio.run(llm.ainvoke("a"))
    asyncio.run(llm.abatch(["a", "b", "c"]))
    asyncio.run(read(llm.astream("a")))
    assert (limiter.sync, limiter.asynchronous) == (5, 5)


@pytest.mark.usefixtures("quick_retries")
@pytest.mark.parametrize("kind", KINDS)
def test_each_attempt_asks_the_rate_limiter(kind):
    limiter = CountingLimiter()
    flaky = Flaky(ConnectionError(), 2)
    flaky.models()[kind](rate_limiter=limiter, max_retries=2).invoke("p")
    assert limiter.sync == 3


def test_a_hit_does_not_ask_the_rate_limiter():
    from langchain_core.caches import InMemoryCache

    limiter = CountingLimiter()
    llm = ByCall(rate_limiter=limiter, cache=InMemoryCache())
    llm.invoke("p")
    llm.invoke("p")
    assert limiter.sync == 1


# --- faults at each point ---------------------------------------------------------------------


POINTS = ["before", "first", "middle", "after"]


def faulty(kind, point, error):
    texts = ["a", "b", "c"]

    def give(i):
        if point == {0: "first", 1: "middle"}.get(i):
            raise error
        return texts[i]

    class Sync(LLM):
        def _stream(self, prompt):
            if point == "before":
                raise error
            return self.chunks()

        def chunks(self):
            for i in range(3):
                yield give(i)
            raise error

    class Async(LLM):
        def _astream(self, prompt):
            if point == "before":
                raise error
            return self.chunks()

        async def chunks(self):
            for i in range(3):
                yield give(i)
            raise error

    return {"_stream": Sync, "_astream": Async}[kind](concurrency=1)


@pytest.mark.parametrize("path", DIRECT)
@pytest.mark.parametrize("point", POINTS)
@pytest.mark.parametrize("kind", STREAMING)
def test_an_error_at_any_point_reaches_the_caller_and_the_trace(kind, point, path):
    error = ZeroDivisionError("fault")
    llm = faulty(kind, point, error)
    recorder = Recorder()
    with pytest.raises(ZeroDivisionError, match="fault") as caught:
        PATHS[path](llm, "p", {"callbacks": [recorder]})
    assert caught.value is error
    tokens = {"before": "", "first": "", "middle": "a", "after": "abc"}[point]
    first = recorder.of("error")[0]
    assert first is error
    if "batch" not in path:
        assert "".join(recorder.tokens) == tokens
        assert recorder.names[0] == "start"
        assert recorder.names[-1] == "error"
    assert eventually(lambda: llm._wrap_live._gate.inside == 0)


@pytest.mark.parametrize("base", [KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("path", ["invoke", "stream"])
def test_an_interrupt_inside_the_model_frees_the_place(base, path):
    class Interrupted(LLM):
        def _stream(self, prompt):
            if prompt == "bad":
                raise base
            yield prompt

    llm = Interrupted(concurrency=1)
    with pytest.raises(base):
        PATHS[path](llm, "bad", None)
    assert llm.invoke("good") == "good"


@pytest.mark.parametrize("path", DIRECT)
def test_a_stopiteration_of_the_model_does_not_end_it_quietly(path):
    class Wrong(LLM):
        def _call(self, prompt):
            return next(iter(()))

    with pytest.raises((RuntimeError, StopIteration, StopAsyncIteration)):
        PATHS[path](Wrong(), "p", None)


class BreaksOff(LLM):
    """Its text seems to be at its end, or at the beginning of a stop, when it fails."""

    async def _astream(self, prompt):
        yield "ab"
        if prompt == "finished":
            yield GenerationChunk(text="cd", generation_info={"finish_reason": "stop"})
        raise RuntimeError("broken off")


@pytest.mark.parametrize("path", ["stream", "astream"])
@pytest.mark.parametrize(
    ("prompt", "stop", "texts"), [("finished", None, ["ab", "cd"]), ("p", ["bx"], ["a", "b"])]
)
def test_text_that_was_held_back_comes_before_the_error(path, prompt, stop, texts):
    recorder = Recorder()
    llm = BreaksOff(callbacks=[recorder])
    got: list[str] = []

    async def aread():
        got.extend([chunk async for chunk in until_error(llm.astream(prompt, stop=stop))])

    async def until_error(chunks):
        with contextlib.suppress(RuntimeError):
            async for chunk in chunks:
                yield chunk

    if path == "stream":
        stream = llm.stream(prompt, stop=stop)
        got += [next(stream) for _ in texts]
        with pytest.raises(RuntimeError, match="broken off"):
            next(stream)
    else:
        asyncio.run(aread())
    assert got == recorder.tokens == texts
    assert recorder.names[-1] == "error"


class Refusing(LLM):
    """Refuses stops with a ValueError, as LangChain's own first examples did."""

    handed: list[object] = Field(default_factory=list)

    def _call(self, prompt, stop=None):
        self.handed.append(stop)
        if stop is not None:
            raise ValueError("this model takes no stop sequences")
        return prompt


class RefusingLists(Refusing):
    def _batch(self, prompts, stop=None):
        return [self._call(prompt, stop) for prompt in prompts]


@pytest.mark.parametrize("path", DIRECT)
@pytest.mark.parametrize("kind", [Refusing, RefusingLists])
def test_a_model_that_refuses_stops_is_asked_without_them(kind, path):
    recorder = Recorder()
    llm = kind(handed=[])
    assert PATHS[path](llm, "one two", {"callbacks": [recorder]}, stop=["two"]) == "one "
    assert None in llm.handed
    assert "error" not in recorder.names


def test_no_other_error_is_taken_for_a_refusal():
    class Wrong(LLM):
        calls: list[str] = Field(default_factory=list)

        def _call(self, prompt, stop=None):
            self.calls.append(prompt)
            raise ValueError("the temperature is too high")

    llm = Wrong(calls=[])
    with pytest.raises(ValueError, match="temperature"):
        llm.invoke("a", stop=["x"])
    assert llm.calls == ["a"]
