"""The subject: shared calls, found facts, and what counts as a failure."""

import itertools
import time

import pytest
from langchain_core.language_models.fake import FakeListLLM
from langchain_core.language_models.llms import LLM
from mutants.right import Core, Ours, answer
from scripted import ByCall

from langchain_wrap.checks.clause import Failed, Skipped
from langchain_wrap.checks.subject import PROMPTS, Subject, cut, shown


class Counts(LLM):
    """Says how often it was called."""

    number: int = 0

    @property
    def _llm_type(self):
        return "counts"

    def _call(self, prompt, stop=None, run_manager=None, **kwargs):
        self.number += 1
        return f"answer {self.number}"


class Says(Counts):
    """Says what the test wants."""

    say: object = None

    def _call(self, prompt, stop=None, run_manager=None, **kwargs):
        return self.say(prompt)


def raises(prompt):
    raise RuntimeError("broken")


def hangs(prompt):
    time.sleep(60)


class TestCalls:
    def test_are_made_once_for_all_who_ask_for_the_same(self):
        model = Subject(Counts())
        first = model.call("invoke", "x")
        assert model.call("invoke", "x") is first
        assert model.call("invoke", "x", stop=["s"]) is not first
        assert model.call("invoke", "y") is not first
        assert model.calls == 3

    @pytest.mark.parametrize("own", [{"again": True}, {"config": {"tags": ["t"]}}])
    def test_can_be_had_anew(self, own):
        model = Subject(Counts())
        assert [model.call("invoke", "x", **own).text for _ in range(2)] == ["answer 1", "answer 2"]

    def test_can_be_made_to_another_object(self):
        model = Subject(Counts())
        assert model.call("invoke", "x", llm=Core()).text == answer("x")

    def test_of_a_stream_are_the_timeline(self):
        model = Subject(Core())
        model.call("invoke", "x")
        assert model.timeline is None
        trace = model.call("stream", "x")
        assert model.timeline is trace


class TestBroken:
    def test_an_error_fails_the_first_clause_and_skips_the_next(self):
        model = Subject(Says(say=raises))
        model.clause = "CALL-01"
        with pytest.raises(Failed, match="invoke raised RuntimeError: broken") as failure:
            model.answered("invoke", "x")
        with pytest.raises(RuntimeError, match="broken"):
            exec(failure.value.repro, {"llm": model.llm})
        model.clause = "CALL-02"
        with pytest.raises(Skipped, match="invoke does not work, as CALL-01 reports"):
            model.answered("invoke", "x")

    def test_a_hung_call_fails_the_first_clause_and_skips_the_next(self):
        model = Subject(Says(say=hangs), timeout=0.1)
        model.clause = "CALL-01"
        with pytest.raises(Failed, match=r"invoke: no answer in 0\.1 s"):
            model.call("invoke", "x")
        with pytest.raises(Skipped, match="as CALL-01 reports"):
            model.call("invoke", "y")
        assert model.calls == 1

    def test_at_the_edge_nobody_promises_an_answer(self):
        model = Subject(Says(say=hangs), timeout=0.1)
        with pytest.raises(Skipped, match="no answer"):
            model.call("invoke", "x", edge=True)

    def test_an_error_is_no_failure_where_it_is_looked_for(self):
        trace = Subject(Says(say=raises)).call("invoke", "x")
        assert isinstance(trace.error, RuntimeError)


class TestFacts:
    @pytest.mark.parametrize("llm", [Core(), Ours(), FakeListLLM(responses=["same"])])
    def test_a_model_that_does_not_vary(self, llm):
        model = Subject(llm)
        assert model.deterministic
        assert model.notes == ()

    def test_a_model_that_varies(self):
        model = Subject(Counts())
        assert not model.deterministic
        assert "vary" in model.notes[0]

    def test_a_declared_one_is_not_tried(self):
        model = Subject(Counts(), deterministic=True)
        assert model.deterministic
        assert model.calls == 0

    def test_the_prompt_is_the_first_with_an_answer_of_some_length(self):
        model = Subject(Says(say=lambda prompt: prompt if prompt == PROMPTS[2] else "ok"))
        assert model.prompts[0] == PROMPTS[2]
        assert sorted(model.prompts) == sorted(PROMPTS)
        assert Subject(Says(say=lambda prompt: "")).prompt == PROMPTS[0]

    def test_numbered_prompts_do_not_contain_each_others_numbers(self):
        prompts = Subject(Core()).numbered(50)
        numbers = [next(word for word in p.split() if word.strip(":").isdigit()) for p in prompts]
        assert len(set(numbers)) == 50
        for prompt, number in itertools.product(prompts, numbers):
            assert (number in prompt) == (prompts.index(prompt) == numbers.index(number))

    def test_what_a_slow_model_can_afford(self, monkeypatch):
        for seconds, calls in ((0.001, 20), (0.3, 10), (1.0, 4), (9.0, 4)):
            monkeypatch.setattr(Subject, "seconds", seconds)
            assert Subject(Core()).affordable(20) == calls

    @pytest.mark.parametrize("llm", [Core(), Ours()])
    def test_a_fresh_object_can_be_changed(self, llm):
        model = Subject(llm)
        fresh = model.fresh(repeat=2)
        assert fresh.invoke("x") == answer("x") * 2
        assert model.llm.invoke("x") == answer("x")
        assert Subject(type(llm)).fresh() is not llm

    def test_name(self):
        assert Subject(Core()).name == "Core"
        assert Subject(ByCall(name="mine")).name == "ByCall mine"

    def test_streams_if_the_author_wrote_it(self):
        assert Subject(Core()).streams
        assert not Subject(Counts()).streams
        assert not Subject(ByCall()).streams


class TestVerdicts:
    def test_expect(self):
        model = Subject(Core())
        model.expect(True, "fine")
        with pytest.raises(Failed, match="not fine") as failure:
            model.expect([], "not fine", "assert False, time.time()")
        assert failure.value.repro == "import time\n\nassert False, time.time()\n"

    def test_the_same_is_asked_once(self):
        asked = []
        Subject(Core()).expect_same(lambda: 1, lambda: asked.append(1) or 1, "differ")
        assert asked == [1]

    def test_what_goes_on_differing_is_a_failure(self):
        with pytest.raises(Failed, match="differ: 2 instead of 1"):
            Subject(Core()).expect_same(lambda: 1, lambda: 2, "differ")

    @pytest.mark.parametrize(("wanted", "got"), [((1, 2, 1), (2, 2, 2)), ((1, 1, 1), (2, 1, 1))])
    def test_what_varies_after_all_cannot_be_told(self, wanted, got):
        model = Subject(Core())
        references, others = iter(wanted), iter(got)
        with pytest.raises(Skipped, match="vary"):
            model.expect_same(lambda: next(references), lambda: next(others), "differ")
        assert not model.deterministic

    def test_a_model_that_is_declared_not_to_vary_must_not(self):
        numbers = itertools.count(1)
        with pytest.raises(Failed, match="differ: 1 instead of 0"):
            Subject(Core(), deterministic=True).expect_same(
                lambda: 0, lambda: next(numbers), "differ"
            )


def test_cut():
    assert cut("one two three", ["three", "two"]) == "one "
    assert cut("one two three", ["two"], include=True) == "one two"
    assert cut("one", ["x"]) == "one"


def test_shown_is_short():
    assert shown("a" * 10) == repr("a" * 10)
    assert len(shown("a" * 1000)) == 120
