"""TOKEN: what is skipped and why, and models that a check must not be wrong about."""

from __future__ import annotations

import random
import warnings

import pytest
from langchain_core.caches import InMemoryCache
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.globals import set_llm_cache
from langchain_core.language_models import llms
from langchain_core.language_models.fake import FakeListLLM, FakeStreamingListLLM
from langchain_core.outputs import GenerationChunk
from mutants.right import Core, Ours, answer, before
from mutants.token import NotAwaited
from scripted import KINDS, STREAMING

from langchain_wrap.checks import check_llm
from langchain_wrap.checks.probes.tokens import first_late, wants_every_chunk
from langchain_wrap.checks.probes.trace import Trace
from langchain_wrap.pipeline.core import is_streaming

OF_STREAMS = ("TOKEN-01", "TOKEN-02", "TOKEN-03", "TOKEN-04", "TOKEN-05")


def checked(make, *only, **options):
    report = check_llm(make, only=list(only) or ["TOKEN"], **options)
    return {result.id: result for result in report}


def of(make, clause, **options):
    return checked(make, clause, **options)[clause]


@pytest.mark.parametrize("kind", KINDS)
def test_the_scripted_models_pass_what_they_can(kind):
    found = checked(KINDS[kind])
    skipped = [id_ for id_, one in found.items() if one.status == "skipped"]
    assert skipped == ([] if kind in STREAMING else list(OF_STREAMS))
    assert "failed" not in {one.status for one in found.values()}


def test_a_model_that_does_not_stream_is_skipped_with_the_reason():
    found = checked(lambda: FakeListLLM(responses=["one two three"]))
    assert found["TOKEN-01"].message == "the model does not stream in stream"
    assert found["TOKEN-02"].message == "the model does not stream in astream"
    assert found["TOKEN-04"].message == "no token is reported"
    assert found["TOKEN-11"].message == "no tokens are reported in a batch"
    assert [one.status for one in found.values()].count("passed") == 5


def test_a_stream_that_reports_nothing_fails_once_a_path():
    found = checked(lambda: FakeStreamingListLLM(responses=["one"]))
    assert [id_ for id_, one in found.items() if one.status == "failed"] == ["TOKEN-01", "TOKEN-02"]
    assert found["TOKEN-03"].message == "stream does not report its chunks, as TOKEN-01 says"
    assert found["TOKEN-05"].message == "astream does not report its chunks, as TOKEN-02 says"


def test_a_model_that_streams_in_async_only_owes_nothing_in_sync():
    class InAsync(llms.LLM):
        _llm_type = "in async"
        _astream = Core._astream
        text = Core.text
        repeat: int = 1

        def _call(self, prompt, stop=None, run_manager=None, **kwargs):
            return self.text(prompt, stop)

    found = checked(InAsync, level="contract")
    assert {id_ for id_, one in found.items() if one.status == "skipped"} == {
        "TOKEN-01",
        "TOKEN-03",
    }
    assert "failed" not in {one.status for one in found.values()}


def test_an_empty_answer_has_no_token():
    class Empty(Core):
        def text(self, prompt, stop):
            return ""

    found = checked(Empty)
    wanted = "the answer is empty, so there is no token to report"
    assert found["TOKEN-01"].message == found["TOKEN-02"].message == wanted
    assert "failed" not in {one.status for one in found.values()}


@pytest.mark.parametrize("reported", [True, False])
def test_a_chunk_without_text_may_be_reported_or_not(reported):
    class WithFacts(Core):
        def _stream(self, prompt, stop=None, run_manager=None, **kwargs):
            yield from super()._stream(prompt, stop, run_manager)
            chunk = GenerationChunk(text="", generation_info={"finish_reason": "stop"})
            if run_manager and reported:
                run_manager.on_llm_new_token("", chunk=chunk)
            yield chunk

    assert "failed" not in {one.status for one in checked(WithFacts, level="contract").values()}


def test_answers_that_vary_are_compared_within_each_call():
    class Varying(Core):
        def text(self, prompt, stop):
            return before(f"{random.random()} {answer(prompt)}", stop)

    found = checked(Varying, level="contract")
    assert {one.status for one in found.values()} == {"passed"}


def test_what_is_not_awaited_is_reported_and_no_warning_gets_out():
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = checked(NotAwaited, level="contract")
    assert caught == []
    assert found["TOKEN-05"].status == "failed"
    assert found["TOKEN-02"].status == "skipped"
    assert found["TOKEN-02"].message == (
        "on_llm_new_token is called and not awaited, as TOKEN-05 reports"
    )


def test_models_that_report_in_invoke_as_well_pass():
    class Reporting(Core):
        def _call(self, prompt, stop=None, run_manager=None, **kwargs):
            return "".join(c.text for c in self._stream(prompt, stop, run_manager))

    result = of(Reporting, "TOKEN-08")
    assert (result.status, result.message) == (
        "passed",
        "ainvoke report no tokens, which is allowed",
    )


def test_tokens_of_langchain_cores_batch_are_on_the_first_run():
    class Reporting(Core):
        def _call(self, prompt, stop=None, run_manager=None, **kwargs):
            return "".join(c.text for c in self._stream(prompt, stop, run_manager))

    result = of(Reporting, "TOKEN-11")
    assert result.status == "failed"
    with pytest.raises(AssertionError):
        exec(compile(result.repro, "repro", "exec"), {"llm": Reporting()})


def test_a_model_that_streams_in_a_batch_when_asked_is_asked():
    class Quiet(Ours):
        """Reports no tokens in a batch, unless somebody asks for chunks."""

        def batch(self, inputs, config=None, **kwargs):
            handlers = (config or {}).get("callbacks") or []
            if not is_streaming(handlers):
                config = {"callbacks": [Deaf(handler) for handler in handlers]}
            return super().batch(inputs, config, **kwargs)

    class Deaf(BaseCallbackHandler):
        def __init__(self, handler):
            self.on_llm_start = handler.on_llm_start
            self.on_llm_end = handler.on_llm_end

    assert of(Quiet, "TOKEN-11").status == "passed"


def test_the_handler_that_asks_for_chunks_is_one():
    handler = wants_every_chunk()
    assert is_streaming([handler])
    assert list(handler.tap_output_iter(None, iter("ab"))) == ["a", "b"]


def test_a_chunk_is_late_if_its_reader_has_it_first():
    trace = Trace("stream", ["p"])
    for kind, text in [("token", "a"), ("chunk", "a"), ("token", ""), ("chunk", "b")]:
        trace.mark(kind, text)
    assert first_late(trace) == "b"
    trace = Trace("stream", ["p"])
    for kind, text in [("token", "a"), ("token", "b"), ("chunk", "a"), ("chunk", "b")]:
        trace.mark(kind, text)
    assert first_late(trace) is None


def test_a_cache_hides_nothing():
    found = checked(lambda: Core(cache=InMemoryCache()), level="contract")
    assert {one.status for one in found.values()} == {"passed"}
    set_llm_cache(InMemoryCache())
    try:
        found = checked(Core(), level="contract")
    finally:
        set_llm_cache(None)
    assert {one.status for one in found.values()} == {"passed"}


def test_an_error_with_a_list_of_configs_is_shown():
    class NoLists(Core):
        def batch(self, inputs, config=None, **kwargs):
            return super().batch(inputs, {**(config or {})}, **kwargs)

    result = of(NoLists, "TOKEN-10")
    assert result.status == "failed"
    assert result.message.startswith("batch with a list of configs raised")
    with pytest.raises(TypeError, match="not a mapping"):
        exec(compile(result.repro, "repro", "exec"), {"llm": NoLists()})
    exec(compile(result.repro, "repro", "exec"), {"llm": Core()})
