"""Identity and cache: the same question once, and never another question's answer."""

from __future__ import annotations

import asyncio
import datetime
import decimal
import enum
import gc
import json
import threading
import uuid
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.caches import BaseCache, InMemoryCache
from langchain_core.globals import set_llm_cache
from langchain_core.outputs import GenerationChunk
from pydantic import BaseModel, ConfigDict, SecretStr
from scripted import KINDS, LONG, PATHS, ByCall, ByStream, Recorder, threads

from langchain_wrap import LLM

DIRECT = [path for path in PATHS if path != "astream_events"]


class Counting(LLM):
    """Says how it was called; counts its calls in a field, as many models do."""

    temperature: float = 0.0
    calls: int = 0

    def _call(self, prompt, stop=None, **kwargs):
        self.calls += 1
        return f"{prompt} {self.temperature} {stop} {sorted(kwargs.items())}"


@pytest.fixture
def cache() -> InMemoryCache:
    return InMemoryCache()


@pytest.mark.parametrize("path", DIRECT)
def test_the_second_time_does_not_call_the_model(path, cache):
    llm = Counting(cache=cache)
    assert PATHS[path](llm, "p", None) == PATHS[path](llm, "p", None)
    assert llm.calls == 1


def test_all_paths_share_their_entries(cache):
    llm = Counting(cache=cache)
    assert len({PATHS[path](llm, "p", None) for path in PATHS}) == 1
    assert llm.calls == 1


@pytest.mark.parametrize("path", DIRECT)
def test_a_count_kept_by_the_model_does_not_break_the_cache(path, cache):
    llm = Counting(cache=cache)
    for prompt in ("a", "b", "a", "b", "c", "a"):
        PATHS[path](llm, prompt, None)
    assert llm.calls == 3


def test_what_somebody_else_changes_is_configuration(cache):
    llm = Counting(cache=cache)
    first = llm.invoke("p")
    llm.temperature = 1.0
    assert llm.invoke("p") != first
    llm.temperature = 0.0
    assert llm.invoke("p") == first
    assert llm.calls == 2


@pytest.mark.parametrize("path", DIRECT)
def test_call_parameters_are_part_of_the_key(path, cache):
    llm = Counting(cache=cache)
    texts = {PATHS[path](llm, "p", None, temperature_=value) for value in (0, 1, "0", None)}
    assert len(texts) == llm.calls == 4


def test_stops_are_part_of_the_key_wherever_they_come_from(cache):
    assert ByCall(cache=cache).invoke("abcd", stop=["c"]) == "ab"
    assert ByCall(cache=cache).invoke("abcd") == "abcd"
    assert ByCall(cache=cache, stop=["b"]).invoke("abcd") == "a"
    assert ByCall(cache=cache, stop=["b"], include_stop=True).invoke("abcd") == "ab"


def test_equal_objects_share_and_others_do_not(cache):
    first, second = Counting(cache=cache), Counting(cache=cache)
    first.invoke("p")
    second.invoke("p")
    assert (first.calls, second.calls) == (1, 0)
    other = Counting(cache=cache, temperature=0.5)
    other.invoke("p")
    assert other.calls == 1


def test_classes_of_one_name_do_not_share(cache):
    def make(answer):
        class Same(LLM):
            def _call(self, prompt):
                return answer

        Same.__qualname__ = f"Same.{answer}"
        return Same(cache=cache)

    assert [make(answer).invoke("p") for answer in "ab"] == ["a", "b"]


def test_fields_that_identifying_params_leave_out_still_count(cache):
    class Named(LLM):
        style: str

        def _call(self, prompt):
            return self.style

        @property
        def _identifying_params(self):
            return {"model_name": "m"}

    assert [Named(style=style, cache=cache).invoke("p") for style in "ab"] == ["a", "b"]


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Options(BaseModel):
    model_config = ConfigDict(extra="allow")
    size: int = 1


def _adder(n):
    return lambda x: x + n


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (1, 2),
        (1, True),
        ("1", 1),
        (None, "None"),
        (0.1, 0.2),
        ([1, 2], [2, 1]),
        ({"a": 1}, {"a": 2}),
        (b"a", b"b"),
        (Colour.RED, Colour.BLUE),
        (decimal.Decimal("0.1"), decimal.Decimal("0.2")),
        (datetime.date(2020, 1, 1), datetime.date(2020, 1, 2)),
        (1 + 2j, 1 + 3j),
        (range(3), range(4)),
        (Path("a"), Path("b")),
        (Options(size=1), Options(size=2)),
        (Options(other=1), Options(other=2)),
        (_adder(1), _adder(2)),
        ({"h": [Options(size=1)]}, {"h": [Options(size=2)]}),
    ],
    ids=str,
)
class TestTwoValues:
    def test_as_fields_do_not_share_an_entry(self, one, other, cache):
        class Holding(LLM):
            value: object
            calls: list = []  # noqa: RUF012

            def _call(self, prompt):
                return repr(self.value)

        for value in (one, other):
            assert Holding(value=value, cache=cache).invoke("p") == repr(value)

    def test_as_call_parameters_do_not_share_an_entry(self, one, other, cache):
        llm = Counting(cache=cache)
        llm.invoke("p", value=one)
        llm.invoke("p", value=other)
        assert llm.calls == 2


def test_short_lived_parameters_never_get_another_ones_answer(cache):
    llm = Counting(cache=cache)
    for i in range(100):
        value = decimal.Decimal(i) / 10
        assert repr(value) in llm.invoke("p", value=value)
        del value
        gc.collect(0)


def test_short_lived_objects_never_get_another_ones_answer(cache):
    class Thing:
        __slots__ = ("n",)

        def __repr__(self):
            return f"Thing{self.n}."

    llm = Counting(cache=cache)
    for i in range(100):
        thing = Thing()
        thing.n = i
        assert f"Thing{i}." in llm.invoke("p", value=thing)
        del thing


@pytest.mark.parametrize(
    "make",
    [
        lambda: decimal.Decimal("0.5"),
        lambda: datetime.datetime(2020, 1, 1),
        lambda: uuid.UUID(int=7),
        lambda: Path("a/b"),
        lambda: {"b", "a"},
        lambda: Options(size=3),
        lambda: Colour.RED,
        lambda: [{"a": (1, None)}],
    ],
)
def test_equal_values_share_an_entry_and_an_identity(make, cache):
    class Holding(LLM):
        value: object
        calls: int = 0

        def _call(self, prompt):
            self.calls += 1
            return prompt

    first, second = (Holding(value=make(), cache=cache) for _ in range(2))
    assert first._identifying_params == second._identifying_params
    json.dumps(first._identifying_params)
    first.invoke("p")
    second.invoke("p")
    assert (first.calls, second.calls) == (1, 0)


class Ambiguous:
    """Has no truth value, as a numpy array has none."""

    def __bool__(self):
        raise ValueError("the truth value is ambiguous")

    def __eq__(self, other):
        return self

    __hash__ = None


@pytest.mark.parametrize("path", DIRECT)
def test_a_field_without_a_truth_value_is_allowed(path, cache):
    class Holding(LLM):
        weights: Ambiguous

        def _call(self, prompt, **kwargs):
            return prompt

    for model in (Holding(weights=Ambiguous()), Holding(weights=Ambiguous(), cache=cache)):
        assert PATHS[path](model, "p", None) == "p"
        assert PATHS[path](model, "p", None, mask=Ambiguous()) == "p"


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=6,
)


@given(json_values)
def test_identifying_params_are_json_and_stable(value):
    class Holding(LLM):
        value: object

        def _call(self, prompt):
            return prompt

    llm = Holding(value=value)
    once = json.dumps(llm._identifying_params, allow_nan=False, sort_keys=True)
    assert once == json.dumps(llm._identifying_params, allow_nan=False, sort_keys=True)


def test_the_default_identity_is_the_type_and_the_public_fields():
    llm = Counting(temperature=0.5)
    assert llm._llm_type == "Counting"
    assert llm._identifying_params == {"temperature": 0.5, "calls": 0}
    assert llm.asdict() == {"temperature": 0.5, "calls": 0, "_type": "Counting"}


# --- batches ----------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["batch", "abatch"])
def test_the_same_prompt_twice_in_a_batch_calls_once(path, cache):
    llm = Counting(cache=cache)
    recorder = Recorder()
    config = {"callbacks": [recorder]}
    prompts = ["a", "b", "a", "a"]
    got = (
        llm.batch(prompts, config) if path == "batch" else asyncio.run(llm.abatch(prompts, config))
    )
    assert [text[0] for text in got] == prompts
    assert llm.calls == 2
    assert len(recorder.run_ids) == recorder.names.count("end") == 4


def test_the_same_prompt_twice_without_a_cache_calls_twice():
    llm = Counting(cache=False)
    llm.batch(["a", "a"], {"max_concurrency": 1})
    assert llm.calls == 2


def test_a_prompt_that_fails_fails_its_twins(cache):
    class Failing(LLM):
        def _call(self, prompt):
            raise ZeroDivisionError(prompt)

    got = Failing(cache=cache).batch(["a", "a"], return_exceptions=True)
    assert [type(error) for error in got] == [ZeroDivisionError] * 2


def test_a_batch_method_is_given_only_what_is_not_cached(cache):
    lists = []

    class Lists(LLM):
        def _batch(self, prompts):
            lists.append(prompts)
            return prompts

    llm = Lists(cache=cache)
    llm.invoke("a")
    assert llm.batch(["a", "b", "c", "b"]) == ["a", "b", "c", "b"]
    assert lists == [["a"], ["b", "c"]]


# --- hits -------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", DIRECT)
def test_listeners_hear_of_a_hit(path, cache):
    llm = ByStream(cache=cache)
    llm.invoke("abcd")
    recorder = Recorder()
    PATHS[path](llm, "abcd", {"callbacks": [recorder]})
    for run_id in recorder.run_ids:
        own = [(name, what) for name, run, what in recorder.events if run == run_id]
        assert [name for name, _ in own] == ["start", "token", "end"]
        assert own[1][1] == "abcd"
        assert own[2][1].generations[0][0].text == "abcd"


def test_usage_is_not_spent_again_on_a_hit(cache):
    class Reporting(LLM):
        def _stream(self, prompt):
            usage = {"prompt_tokens": 1, "completion_tokens": 2}
            yield GenerationChunk(text="x", generation_info={"token_usage": usage})

    llm = Reporting(cache=cache)
    assert llm.generate(["p"]).llm_output["token_usage"]["total_tokens"] == 3
    assert "token_usage" not in (llm.generate(["p"]).llm_output or {})


def test_a_reader_who_breaks_out_of_a_hit_had_the_whole_text(cache):
    llm = ByStream(cache=cache)
    llm.invoke("abcd")
    recorder = Recorder()
    stream = llm.stream("abcd", {"callbacks": [recorder]})
    assert next(stream) == "abcd"
    stream.close()
    assert recorder.names == ["start", "token", "end"]
    assert recorder.end.text == "abcd"


# --- what is not kept -------------------------------------------------------------------------


def test_a_truncated_completion_is_not_cached(cache):
    class Short(LLM):
        calls: int = 0

        def _stream(self, prompt):
            self.calls += 1
            yield GenerationChunk(text="x", generation_info={"finish_reason": "length"})

    llm = Short(cache=cache)
    llm.invoke("p")
    llm.invoke("p")
    assert llm.calls == 2


def test_a_cancelled_stream_is_not_cached(cache):
    llm = ByStream(cache=cache)
    stream = llm.stream("abcdef")
    next(stream)
    stream.close()
    assert llm.invoke("abcdef") == "abcdef"


async def test_a_cancelled_async_stream_is_not_cached(cache):
    llm = ByStream(cache=cache)
    stream = llm.astream("abcdef")
    await anext(stream)
    await stream.aclose()
    assert await llm.ainvoke("abcdef") == "abcdef"


def test_an_error_is_not_cached(cache):
    class Once(LLM):
        calls: int = 0

        def _call(self, prompt):
            self.calls += 1
            if self.calls == 1:
                raise ZeroDivisionError
            return prompt

    llm = Once(cache=cache)
    with pytest.raises(ZeroDivisionError):
        llm.invoke("p")
    assert llm.invoke("p") == "p"


def test_a_completion_cut_short_by_cancel_is_not_cached(cache):
    ready = threading.Event()

    class Heeding(LLM):
        def _stream(self, prompt, cancel):
            if prompt == "bad":
                ready.wait(LONG)
                raise ZeroDivisionError
            yield "begun"
            if not whole:
                ready.set()
                if cancel.wait(LONG):
                    return
            yield " and done"

    whole = False
    llm = Heeding(cache=cache)
    with pytest.raises(ZeroDivisionError):
        llm.batch(["good", "bad"])
    whole = True
    assert llm.invoke("good") == "begun and done"


# --- which cache ------------------------------------------------------------------------------


def test_without_a_cache_each_call_is_a_call():
    llm = Counting()
    llm.invoke("p")
    llm.invoke("p")
    assert llm.calls == 2


def test_the_global_cache_is_used_unless_switched_off(cache):
    set_llm_cache(cache)
    for setting, calls in ((None, 1), (True, 1), (False, 2)):
        cache.clear()
        llm = Counting(cache=setting)
        llm.invoke("p")
        llm.invoke("p")
        assert llm.calls == calls, setting


def test_true_without_a_global_cache_is_an_error():
    with pytest.raises(ValueError, match="set_llm_cache"):
        Counting(cache=True).invoke("p")


class AsyncOnly(BaseCache):
    """A cache that must not be used from an event loop by its blocking methods."""

    def __init__(self):
        self.inner = InMemoryCache()

    def lookup(self, prompt, llm_string):
        raise AssertionError("blocking look-up")

    def update(self, prompt, llm_string, return_val):
        raise AssertionError("blocking update")

    def clear(self, **kwargs):
        pass

    async def alookup(self, prompt, llm_string):
        await asyncio.sleep(0)
        return self.inner.lookup(prompt, llm_string)

    async def aupdate(self, prompt, llm_string, return_val):
        await asyncio.sleep(0)
        self.inner.update(prompt, llm_string, return_val)


@pytest.mark.parametrize("path", ["ainvoke", "abatch", "astream"])
def test_an_async_caller_uses_the_async_cache(path):
    llm = Counting(cache=AsyncOnly())
    assert PATHS[path](llm, "p", None) == PATHS[path](llm, "p", None)
    assert llm.calls == 1


@pytest.mark.parametrize("path", DIRECT)
def test_a_cache_that_fails_ends_the_run_with_its_error(path):
    class Broken(AsyncOnly):
        def lookup(self, prompt, llm_string):
            raise ZeroDivisionError("cache")

        async def alookup(self, prompt, llm_string):
            raise ZeroDivisionError("cache")

    recorder = Recorder()
    with pytest.raises(ZeroDivisionError):
        PATHS[path](ByCall(cache=Broken()), "p", {"callbacks": [recorder]})
    assert recorder.names[0] == "start"
    assert recorder.names[-1] == "error"


def test_keys_are_not_in_the_cache_key():
    class Noting(InMemoryCache):
        def lookup(self, prompt, llm_string):
            strings.append(llm_string)
            return super().lookup(prompt, llm_string)

    class Keyed(LLM):
        api_key: SecretStr

        def _call(self, prompt, **kwargs):
            return prompt

    strings: list[str] = []
    Keyed(api_key="sk-very-secret", cache=Noting()).invoke("p", api_key="sk-very-secret")
    assert strings
    assert "very-secret" not in str(strings)


def test_what_was_answered_to_one_key_is_not_for_another(cache):
    class Keyed(LLM):
        api_key: SecretStr
        calls: int = 0

        def _call(self, prompt):
            self.calls += 1
            return prompt

    models = [Keyed(api_key=key, cache=cache) for key in ("one-key", "other-key", "one-key")]
    for llm in models:
        llm.invoke("p")
    assert [llm.calls for llm in models] == [1, 1, 0]


def test_many_threads_with_a_cache_get_their_own_answers(cache):
    llm = KINDS["_stream"](cache=cache, concurrency=4)
    wrong = []

    def call(i):
        for n in range(10):
            prompt = f"{(i + n) % 7}!"
            if llm.invoke(prompt) != prompt:
                wrong.append(prompt)

    with threads(*(lambda i=i: call(i) for i in range(16))):
        pass
    assert wrong == []


class Full(InMemoryCache):
    def update(self, prompt, llm_string, return_val):
        raise OSError("the disk is full")


@pytest.mark.parametrize("path", ["invoke", "stream", "ainvoke", "astream"])
def test_a_cache_that_cannot_store_is_an_error_in_the_trace(path):
    recorder = Recorder()
    with pytest.raises(OSError, match="disk is full"):
        PATHS[path](ByStream(cache=Full()), "p", {"callbacks": [recorder]})
    assert [name for name in recorder.names if name != "token"] == ["start", "error"]


def test_asdict_tells_apart_what_the_author_names_alike():
    class Alike(ByCall):
        n: int
        api_key: SecretStr = SecretStr("sk-secret")

        @property
        def _identifying_params(self):
            return {"model_name": "so"}

    one, two = Alike(n=1).asdict(), Alike(n=2).asdict()
    assert one == {"n": 1, "model_name": "so", "_type": "Alike"}
    assert one != two
