"""What the kit reports on other people's models is true: each failure is shown here without it."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import gc
import inspect
import itertools
import os
import pickle
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from langchain_core.caches import InMemoryCache
from langchain_core.runnables import RunnableLambda
from others import NAMES, others
from scripted import PATHS, Recorder, read, threads
from servers import fail_with

from langchain_wrap.checks import check_llm

pytest.importorskip("langchain_ollama")
BaseOpenAI = pytest.importorskip("langchain_openai").llms.base.BaseOpenAI

# Clients of services leave connections open, and complain when they could not be copied.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

CORE = ("SeedOnCore", "FakeListLLM", "FakeStreamingListLLM")
"""Models on langchain-core's `LLM`."""

SECRET = "sk-very-secret"

SHOWN: dict[tuple[str, str], str] = {}
"""The test that shows the failure of a model in a clause."""


BY_CHANCE = {("OllamaLLM", "RESOURCE-06")}
"""Faults that the few calls of a check meet now and then: about one in fifty leaks a connection."""


def shows(**clauses: str) -> Callable[[Any], Any]:
    """The test shows that a model does not hold some clauses: `OpenAI="STOP-01 STOP-02"`."""

    def mark(test: Any) -> Any:
        for model, ids in clauses.items():
            for id_ in ids.split():
                assert SHOWN.setdefault((model, id_), test.__name__) == test.__name__
        return pytest.mark.parametrize("make", clauses, indirect=True)(test)

    return mark


@pytest.fixture(scope="module")
def made() -> Iterator[dict[str, Any]]:
    with others() as found:
        yield found
    for _ in range(10):  # the event loops that held connections end in their threads
        gc.collect()
        time.sleep(0.1)


@pytest.fixture
def make(request, made):
    return made[request.param]


@pytest.fixture
def llm(make):
    return make()


@pytest.mark.parametrize("name", NAMES)
def test_the_kit_reports_what_is_shown_here_and_nothing_else(made, name):
    report = check_llm(made[name])
    failed = {result.id: result.message for result in report if result.status == "failed"}
    shown = {clause for model, clause in SHOWN if model == name}
    more = {id_: failed[id_] for id_ in set(failed) - shown}
    less = {id_ for id_ in shown - set(failed) if (name, id_) not in BY_CHANCE}
    assert (more, less) == ({}, set())


class Refused(Exception):
    pass


def slowed(method, seconds=0.1):
    def call(*args, **kwargs):
        time.sleep(seconds)
        return method(*args, **kwargs)

    return call


async def events(runnable, given) -> list[str]:
    return [event["event"] async for event in runnable.astream_events(given, version="v2")]


# --- streams ---


@shows(SeedOnCore="STREAM-08")
def test_what_invoke_gives_as_empty_cannot_be_streamed(llm):
    assert llm.invoke("") == ""
    with pytest.raises(ValueError, match="No generation chunks"):
        list(llm.stream(""))


@shows(SeedOnCore="STREAM-13", OpenAI="STREAM-13", OllamaLLM="STREAM-13")
def test_a_reader_who_leaves_is_traced_as_an_error(llm):
    recorder = Recorder()
    stream = llm.stream("hello there", {"callbacks": [recorder]})
    next(stream)
    stream.close()
    assert recorder.names[-1] == "error"
    assert isinstance(recorder.of("error")[0], GeneratorExit)


@shows(FakeStreamingListLLM="STREAM-06")
def test_stream_waits_for_the_whole_answer(llm):
    llm.__dict__["_call"] = slowed(llm._call)
    begin = time.perf_counter()
    stream = llm.stream("hi")
    next(stream)
    assert time.perf_counter() - begin >= 0.1
    assert len(list(stream)) > 1


# --- tokens and events ---


@shows(FakeStreamingListLLM="TOKEN-01")
def test_chunks_of_stream_are_not_reported(llm):
    recorder = Recorder()
    assert len(list(llm.stream("hi", {"callbacks": [recorder]}))) > 1
    assert recorder.tokens == []


@shows(FakeStreamingListLLM="TOKEN-02")
def test_chunks_of_astream_are_not_reported(llm):
    recorder = Recorder()
    assert len(asyncio.run(read(llm.astream("hi", {"callbacks": [recorder]})))) > 1
    assert recorder.tokens == []


@shows(OllamaLLM="TOKEN-04")
def test_a_token_is_reported_without_its_chunk(llm):
    recorder = Recorder()
    list(llm.stream("hi", {"callbacks": [recorder]}))
    assert recorder.tokens
    assert set(recorder.chunks) == {None}


@shows(OllamaLLM="TOKEN-11")
def test_tokens_of_a_batch_are_all_reported_on_the_run_of_the_first_prompt(llm):
    recorder = Recorder()
    answers = llm.batch(["one", "two"], {"callbacks": [recorder]})
    runs = {what: run_id for name, run_id, what in recorder.events if name == "start"}
    tokens = [(run_id, what) for name, run_id, what in recorder.events if name == "token"]
    assert {run_id for run_id, _ in tokens} == {runs["one"]}
    assert "".join(what for _, what in tokens) == "".join(answers)


@shows(FakeStreamingListLLM="EVENTS-04")
def test_a_chain_streams_and_tells_no_stream_events(llm):
    names = asyncio.run(events(RunnableLambda(str) | llm, "hi"))
    assert names.count("on_chain_stream") > 1
    assert "on_llm_stream" not in names


@shows(
    SeedOnCore="EVENTS-06",
    FakeStreamingListLLM="EVENTS-06",
    OpenAI="EVENTS-06",
)
def test_ainvoke_in_a_runnable_streams_no_events(llm):
    async def ask(text):
        return await llm.ainvoke(text)

    names = asyncio.run(events(RunnableLambda(ask), "hi"))
    assert "on_llm_start" in names
    assert "on_llm_stream" not in names


# --- stops ---


@shows(**dict.fromkeys(CORE[1:], "STOP-01 STOP-02 STOP-03 STOP-04 STOP-05 STOP-06"))
def test_stops_are_ignored(llm):
    for name in ("invoke", "ainvoke", "batch", "abatch", "stream", "astream"):
        assert "three" in PATHS[name](llm, "hi", None, stop=["three"])


@shows(SeedOnCore="STOP-05 STOP-06 STOP-16")
def test_stops_are_refused_in_invoke_and_ignored_in_streams(llm):
    for name in ("invoke", "ainvoke", "batch", "abatch"):
        with pytest.raises(ValueError, match="stop"):
            PATHS[name](llm, "hello", None, stop=["l"])
    for name in ("stream", "astream"):
        assert PATHS[name](llm, "hello", None, stop=["l"]) == "hello"


# --- batch ---


@shows(OpenAI="BATCH-12", OllamaLLM="BATCH-12")
def test_a_refused_prompt_loses_the_answers_to_the_others(llm):
    assert isinstance(llm.invoke("one"), str)
    for batch in (llm.batch, lambda *args, **more: asyncio.run(llm.abatch(*args, **more))):
        got = batch(["one", fail_with(400), "three"], return_exceptions=True)
        assert [isinstance(one, Exception) for one in got] == [True, True, True]


@shows(**dict.fromkeys(CORE, "BATCH-12"))
def test_an_error_of_one_prompt_loses_the_answers_to_the_others(llm):
    method = llm._call

    def picky(prompt, *args, **kwargs):
        if prompt == "bad":
            raise Refused
        return method(prompt, *args, **kwargs)

    llm.__dict__["_call"] = picky
    assert isinstance(llm.invoke("one"), str)
    got = llm.batch(["one", "bad", "three"], return_exceptions=True)
    assert [type(one) for one in got] == [Refused, Refused, Refused]


@shows(**dict.fromkeys(CORE, "BATCH-13 BATCH-14"))
def test_a_batch_calls_the_model_for_one_prompt_at_a_time(llm):
    def call(*args, **kwargs):
        inside.append("enters")
        time.sleep(0.02)
        inside.append("leaves")
        return "one"

    async def acall(*args, **kwargs):
        inside.append("enters")
        await asyncio.sleep(0.02)
        inside.append("leaves")
        return "one"

    llm.__dict__ |= {"_call": call, "_acall": acall}
    for batch in (llm.batch, lambda prompts: asyncio.run(llm.abatch(prompts))):
        inside: list[str] = []
        batch(["one", "two", "three"])
        assert inside == ["enters", "leaves"] * 3


# --- async ---


@shows(OpenAI="ASYNC-03", OllamaLLM="ASYNC-03")
def test_a_second_event_loop_fails(llm):
    assert asyncio.run(llm.ainvoke("one"))
    with pytest.raises(RuntimeError, match="Event loop is closed"):
        asyncio.run(llm.ainvoke("two"))


@shows(OpenAI="ASYNC-04", OllamaLLM="ASYNC-04")
def test_two_event_loops_at_once_fail(llm):
    """Each is the first in its thread; the second of them takes over connections of the first."""
    errors, rounds = [], itertools.count()

    async def many():
        await asyncio.wait_for(asyncio.gather(*[llm.ainvoke(str(n)) for n in range(8)]), 1)

    def run():
        try:
            while len(errors) < 2 and next(rounds) < 20:
                asyncio.run(many())
        except Exception as error:  # a pool that two threads change at once breaks in many ways
            errors.append(error)

    with threads(run, run):
        pass
    assert errors


@pytest.mark.skipif(not os.path.exists("/proc/self/fd"), reason="counts open files by /proc")
@shows(OllamaLLM="RESOURCE-06")
def test_cancelled_calls_leave_connections_open(llm):
    async def cancelled(turns):
        task = asyncio.ensure_future(llm.ainvoke("hello"))
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])

    async def left():
        await llm.ainvoke("hello")
        before = len(os.listdir("/proc/self/fd"))
        for number in range(5000):
            await cancelled(number % 50)
            if number % 100 == 99:
                gc.collect()
                await asyncio.sleep(0.05)
                if (found := len(os.listdir("/proc/self/fd")) - before) >= 4:
                    return found
        return 0

    assert asyncio.run(left()) >= 4


# --- documents ---


@shows(OpenAI="DOCS-02")
def test_fields_are_described_nowhere(llm):
    source = Path(inspect.getfile(BaseOpenAI)).read_text(encoding="utf-8")
    lines = source.split("    default_headers: ")[1].splitlines()
    assert lines[2].strip().startswith("default_query: ")  # no text in between
    described = " ".join(inspect.getdoc(cls) or "" for cls in type(llm).__mro__[:2])
    assert "default_headers" not in described
    assert type(llm).model_fields["default_headers"].description is None


@shows(OpenAI="DOCS-03")
def test_the_docstring_links_nothing(llm):
    for cls in (type(llm), BaseOpenAI):
        assert "http" not in cls.__doc__


# --- identity and cache ---


@shows(SeedOnCore="IDENTITY-06", OllamaLLM="IDENTITY-06")
def test_models_that_answer_differently_have_equal_identifying_params(make):
    field = "n" if "n" in type(make()).model_fields else "num_predict"
    one, other = (make().model_copy(update={field: value}) for value in (1, 3))
    assert one.invoke("hello") != other.invoke("hello")
    assert one._identifying_params == other._identifying_params
    assert one.asdict() == other.asdict()


@shows(SeedOnCore="IDENTITY-12", OllamaLLM="IDENTITY-12")
def test_the_cache_gives_the_answer_of_a_model_with_another_configuration(make):
    field = "n" if "n" in type(make()).model_fields else "num_predict"
    shared = InMemoryCache()
    one, other = (make().model_copy(update={field: v, "cache": shared}) for v in (1, 3))
    assert one.invoke("hello") == other.invoke("hello")
    assert one.invoke("hello") != other.model_copy(update={"cache": None}).invoke("hello")


@shows(OpenAI="IDENTITY-08", OllamaLLM="IDENTITY-08")
def test_deepcopy_fails(llm):
    with pytest.raises(TypeError, match="cannot pickle"):
        copy.deepcopy(llm)


@shows(OpenAI="IDENTITY-09", OllamaLLM="IDENTITY-09")
def test_pickle_fails(llm):
    with pytest.raises(TypeError, match="cannot pickle"):
        pickle.dumps(llm)


@shows(**dict.fromkeys(NAMES, "IDENTITY-13"))
def test_the_cache_does_not_tell_parameters_apart(llm):
    """What the model is asked for would differ; that it is not asked at all is enough."""
    llm.cache = InMemoryCache()
    parameters = {"OllamaLLM": ({"options": {"num_predict": 1}}, {"options": {"num_predict": 3}})}
    one, other = parameters.get(
        type(llm).__name__, ({"max_tokens": 1, "temperature": 0.0}, {"max_tokens": 3})
    )
    llm.invoke("hello", **one)
    recorder = Recorder()
    llm.invoke("hello", {"callbacks": [recorder]}, **other)
    assert recorder.names == []
    llm.cache = None
    llm.invoke("hello", {"callbacks": [recorder]}, **other)
    assert recorder.names[0] == "start"


@shows(**dict.fromkeys(NAMES, "IDENTITY-14"))
def test_callbacks_hear_nothing_of_an_answer_out_of_the_cache(llm):
    llm.cache = InMemoryCache()
    llm.invoke("hello")
    recorder = Recorder()
    llm.invoke("hello", {"callbacks": [recorder]})
    assert recorder.names == []


# --- secrets ---


@shows(OpenAI="SECRET-04")
def test_headers_are_shown_by_repr(make):
    llm = make().model_copy(update={"default_headers": {"Authorization": f"Bearer {SECRET}"}})
    assert SECRET in repr(llm)


@shows(OllamaLLM="SECRET-04")
def test_headers_for_the_client_are_shown_by_repr(make):
    headers = {"headers": {"Authorization": f"Bearer {SECRET}"}}
    assert SECRET in repr(make().model_copy(update={"client_kwargs": headers}))


@shows(SeedOnCore="SECRET-05", OpenAI="SECRET-05", OllamaLLM="SECRET-05")
def test_a_key_among_the_parameters_of_a_stream_is_told_to_callbacks(llm):
    recorder = Recorder()
    parameters = {"extra_headers": {"X-Api-Key": SECRET}}
    with contextlib.suppress(TypeError):  # of Ollama's client, which does not know it
        list(llm.stream("hello", {"callbacks": [recorder]}, **parameters))
    assert SECRET in repr(recorder.payloads[0])


@shows(OpenAI="SECRET-06")
def test_an_error_that_quotes_the_key_is_told_to_callbacks(llm):
    def refuse(*args, **kwargs):
        raise RuntimeError(f"the key {llm.openai_api_key.get_secret_value()} is not known")

    llm.__dict__["_generate"] = refuse
    recorder = Recorder()
    with pytest.raises(RuntimeError):
        llm.invoke("hello", {"callbacks": [recorder]})
    assert llm.openai_api_key.get_secret_value() in str(recorder.of("error")[0])
