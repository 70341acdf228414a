"""STOP: what the mutants do not show."""

from __future__ import annotations

import random
import time

import pytest
from langchain_core.language_models.fake import FakeListLLM, FakeStreamingListLLM
from langchain_core.language_models.llms import LLM, BaseLLM
from mutants.right import Core, Ours, answer, before

from langchain_wrap.checks import check_llm
from langchain_wrap.checks.clauses.stop import IDS

HONOURED = list(IDS.values())


def status(report):
    return {result.id: result.status for result in report}


def message(report, id_):
    return next(result.message for result in report if result.id == id_)


def check(model, only="STOP", **options):
    return check_llm(model, only=only, **options)


class ByCall(LLM):
    """Says what `say` says; on langchain-core's class, by `_call` alone."""

    said: str = "one two three"

    @property
    def _llm_type(self):
        return "by call"

    def say(self, prompt):
        return self.said

    def _call(self, prompt, stop=None, run_manager=None, **kwargs):
        return before(self.say(prompt), stop)


@pytest.mark.parametrize(
    "model",
    [
        Core,
        Ours,
        lambda: Ours(include_stop=True),
        ByCall,
        lambda: ByCall(said="ok"),
        lambda: ByCall(said="12"),
        lambda: ByCall(said="a.b (c) [d] <|end|> *|+?"),
        lambda: ByCall(said="日本語のテキスト。です"),
        lambda: ByCall(said="  \n text \n "),
        lambda: ByCall(said="aaaaaaaa"),
        lambda: ByCall(said="ababababab"),
        lambda: ByCall(said="👩‍👩‍👧🇫🇷é"),
    ],
    ids=repr,
)
def test_a_right_model_fails_nothing(model):
    found = status(check(model))
    assert "failed" not in found.values()


def test_no_clause_is_skipped_on_the_reference_models():
    for model in (Core, Ours, lambda: Ours(include_stop=True)):
        assert set(status(check(model)).values()) == {"passed"}


def test_whether_the_stop_is_included_is_said():
    assert message(check(Core), "STOP-13") == "the stop is no part of the answer"
    assert message(check(Ours(include_stop=True)), "STOP-13") == "the stop is part of the answer"


@pytest.mark.parametrize("fake", [FakeListLLM, FakeStreamingListLLM])
def test_a_model_that_ignores_stops_fails_six_clauses_and_the_finer_ones_are_skipped(fake):
    report = check(fake(responses=["one two three"]))
    failed = [result.id for result in report if result.status == "failed"]
    assert failed == HONOURED
    assert message(report, "STOP-08") == "stops are not honoured, as STOP-01 and STOP-05 report"


@pytest.mark.parametrize("clause", ["STOP-08", "STOP-09", "STOP-10"])
def test_a_finer_clause_fails_itself_where_the_simple_one_was_not_run(clause):
    expected = "passed" if clause == "STOP-09" else "failed"
    report = check(FakeListLLM(responses=["one two three"]), only=clause)
    assert status(report) == {clause: expected}


def test_a_path_that_fails_as_expected_counts_as_reported():
    known = dict.fromkeys(HONOURED, "it has no stops")
    report = check(FakeListLLM(responses=["one two three"]), expected_failures=known)
    assert report
    assert status(report)["STOP-08"] == "skipped"


class Refuses(Core):
    def text(self, prompt, stop):
        if stop:
            raise self.refusal
        return answer(prompt)

    @property
    def refusal(self):
        return NotImplementedError("no stops here")


class RefusesByName(Refuses):
    @property
    def refusal(self):
        return ValueError("`Stop` is not for this model.")


@pytest.mark.parametrize("model", [Refuses, RefusesByName])
def test_an_explicit_refusal_is_no_failure_and_is_shown(model):
    report = check(model)
    found = status(report)
    assert "failed" not in found.values()
    assert {found[id_] for id_ in HONOURED} == {"skipped"}
    assert found["STOP-16"] == "passed"
    assert message(report, "STOP-16").startswith("the model refuses stops: ")
    assert "the model refuses stops" in message(report, "STOP-01")
    assert found["STOP-11"] == "passed"  # an empty list is no stop, and is not refused


def test_an_empty_list_may_be_refused_too():
    class RefusesAnyList(Core):
        def text(self, prompt, stop):
            if stop is not None:
                raise ValueError("this model takes no stop sequences")
            return answer(prompt)

    found = status(check(RefusesAnyList))
    assert found["STOP-11"] == "skipped"
    assert "failed" not in found.values()


def test_another_error_is_no_refusal():
    class Raises(Core):
        def text(self, prompt, stop):
            if stop:
                raise ValueError("out of range")
            return answer(prompt)

    report = check(Raises)
    assert status(report)["STOP-01"] == "failed"
    assert "out of range" in message(report, "STOP-01")


def test_a_stream_without_the_parameter_is_told_to_add_it():
    class TakesNoStop(Core):
        def stream(self, input, config=None):
            yield from super().stream(input, config)

    report = check(TakesNoStop)
    assert [r.id for r in report if r.status == "failed"] == ["STOP-05"]
    assert "give the method the parameter `stop=None`" in message(report, "STOP-05")


class Varies(ByCall):
    """A real enough text, and another one at each call."""

    def say(self, prompt):
        words = ["tea", "the sea", "a week", "eleven", "seen", "we agree", "even"]
        return " ".join(random.choice(words) for _ in range(20))


def test_a_model_that_varies_is_checked_structurally():
    for _ in range(20):
        report = check(Varies)
        found = status(report)
        assert "failed" not in found.values(), report
        assert {found[id_] for id_ in HONOURED} == {"passed"}
        assert "vary" in message(report, "STOP-01")
        assert found["STOP-13"] == "skipped"


def test_a_model_that_varies_and_ignores_stops_is_found():
    class Ignores(Varies):
        def _call(self, prompt, stop=None, run_manager=None, **kwargs):
            return self.say(prompt)

    assert [r.id for r in check(Ignores) if r.status == "failed"] == HONOURED


def test_answers_that_are_too_short_are_skipped_with_the_reason():
    for said in ("", "k"):
        report = check(ByCall(said=said))
        assert status(report)["STOP-01"] == "skipped"
        assert message(report, "STOP-01") == (
            "the model's answers are too short to take a stop from them"
        )
        assert "failed" not in status(report).values()


def test_a_slow_model_is_asked_less():
    class Slow(Core):
        def _call(self, prompt, stop=None, run_manager=None, **kwargs):
            time.sleep(0.2)
            return self.text(prompt, stop)

        _acall = LLM._acall
        _stream = BaseLLM._stream
        _astream = BaseLLM._astream

    report = check(Slow)
    assert set(status(report).values()) <= {"passed", "skipped"}
    assert sum(result.calls for result in report) <= 18


def test_a_model_that_hangs_when_it_is_given_stops_costs_a_few_seconds():
    class Hangs(ByCall):
        def _call(self, prompt, stop=None, run_manager=None, **kwargs):
            if stop:
                time.sleep(3)
            return self.said

    begin = time.perf_counter()
    report = check(Hangs, timeout=0.3)
    assert time.perf_counter() - begin < 30
    assert status(report)["STOP-01"] == "failed"
    assert "no answer in 0.3 s" in message(report, "STOP-01")


def test_an_answer_whose_blank_before_the_stop_is_stripped_everywhere_is_not_inconsistent():
    class Strips(Core):
        def text(self, prompt, stop):
            return before(answer(prompt), stop).strip()

    assert status(check(Strips))["STOP-13"] == "passed"
