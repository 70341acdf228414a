"""CALL: what is skipped and why, and models that a check must not be wrong about."""

from __future__ import annotations

import random
import time

import pytest
from langchain_core.language_models.fake import FakeListLLM, FakeStreamingListLLM
from mutants.right import Core, Ours, answer, before
from scripted import KINDS

from langchain_wrap import wrap
from langchain_wrap.checks import check_llm
from langchain_wrap.checks.probes.edges import LONG, UNICODE
from langchain_wrap.checks.probes.parameters import UNKNOWN, candidates, settled

FAKES = {
    "FakeListLLM": lambda: FakeListLLM(responses=["one two three"]),
    "FakeStreamingListLLM": lambda: FakeStreamingListLLM(responses=["one two three"]),
}


def checked(make, *only, **options):
    report = check_llm(make, only=list(only) or ["CALL"], **options)
    return {result.id: result for result in report}


def statuses(make, *only, **options):
    return {id_: result.status for id_, result in checked(make, *only, **options).items()}


def of(make, clause, **options):
    return checked(make, clause, **options)[clause]


@pytest.mark.parametrize("make", [Core, Ours, *FAKES.values()], ids=["Core", "Ours", *FAKES])
def test_right_models_pass_all(make):
    assert set(statuses(make).values()) == {"passed"}


@pytest.mark.parametrize("kind", KINDS)
def test_an_echo_passes_all_but_what_cannot_be_told_of_it(kind):
    found = checked(KINDS[kind])
    assert [id_ for id_, one in found.items() if one.status != "passed"] == ["CALL-15"]
    assert found["CALL-15"].message == ("the answers are the prompts themselves or parts of them")


def test_answers_that_vary_are_compared_in_type_only():
    class Varying(Core):
        def text(self, prompt, stop):
            return before(f"{random.random()} {answer(prompt)}", stop)

    found = checked(Varying)
    assert {one.status for one in found.values()} == {"passed"}
    for clause in ("CALL-02", "CALL-03", "CALL-04"):
        assert found[clause].message == "the model's answers vary: only the type was compared"
    assert "the model's answers vary" in found["CALL-13"].message


@pytest.mark.parametrize("text", ["ok", "", "é"])
def test_short_answers_pass(text):
    found = statuses(lambda: wrap(lambda prompt: text))
    assert "failed" not in found.values()


def test_a_model_that_always_raises_fails_once_a_path():
    def broken(prompt):
        raise RuntimeError("no such model")

    found = checked(lambda: wrap(broken))
    assert [id_ for id_, one in found.items() if one.status == "failed"] == ["CALL-01", "CALL-02"]
    assert found["CALL-10"].message == "invoke does not work, as CALL-01 reports"


def test_a_model_that_hangs_fails_in_time():
    class Hanging(Core):
        def _call(self, prompt, stop=None, run_manager=None, **kwargs):
            time.sleep(3)

    began = time.perf_counter()
    found = checked(Hanging, timeout=0.3)
    assert time.perf_counter() - began < 2.5
    assert found["CALL-01"].message == "invoke: no answer in 0.3 s"
    assert [id_ for id_, one in found.items() if one.status == "failed"] == ["CALL-01"]


def test_an_endless_answer_to_a_long_prompt_is_skipped():
    class Long(Core):
        def text(self, prompt, stop):
            if len(prompt) > 10_000:
                time.sleep(1)
            return super().text(prompt, stop)

    result = of(Long, "CALL-07", timeout=0.3)
    assert result.status == "skipped"
    assert result.message == "ainvoke of a prompt of 50,000 characters: no answer in 0.3 s"


def test_edges_are_what_they_are_called():
    assert len(LONG.prompt) == 50_000
    assert "\u0308" in UNICODE.prompt
    assert "\u200d" in UNICODE.prompt
    for edge in (LONG, UNICODE):
        assert eval(edge.code) == edge.prompt


def test_a_clear_refusal_passes_and_is_told():
    class Refusing(Core):
        def text(self, prompt, stop):
            if not prompt or len(prompt) > 1000 or "\x00" in prompt:
                raise ValueError("the prompt is empty, too long or not text")
            return super().text(prompt, stop)

    found = checked(Refusing)
    assert {one.status for one in found.values()} == {"passed"}
    wanted = "raises ValueError: the prompt is empty, too long or not text"
    assert found["CALL-06"].message == f"an empty prompt {wanted}"
    assert found["CALL-07"].message == f"a prompt of 50,000 characters {wanted}"
    assert found["CALL-09"].message == f"a prompt with a NUL character {wanted}"


@pytest.mark.parametrize("error", [IndexError("0"), TypeError("no"), ValueError(""), KeyError(1)])
def test_a_slip_at_an_empty_prompt_fails(error):
    class Slipping(Core):
        def text(self, prompt, stop):
            if not prompt:
                raise error
            return super().text(prompt, stop)

    assert of(Slipping, "CALL-06").status == "failed"


def test_an_answer_with_lone_surrogates_fails_unless_the_prompt_had_them():
    class Broken(Core):
        def text(self, prompt, stop):
            return super().text(prompt, stop) + ("\ud83d" if "👩" in prompt else "")

    found = statuses(Broken)
    assert (found["CALL-08"], found["CALL-09"]) == ("failed", "passed")


def test_an_error_that_comes_and_goes_tells_nothing():
    seen = []

    class Sometimes(Core):
        def text(self, prompt, stop):
            seen.append(prompt)
            if prompt == UNICODE.prompt and seen.count(prompt) == 1:
                raise ConnectionError("come again")
            return super().text(prompt, stop)

    found = statuses(Sometimes, "CALL-08", "CALL-10", "CALL-11")
    assert set(found.values()) == {"passed"}


def test_a_path_past_the_methods_is_left_out_of_injected_errors():
    class Past(Core):
        def invoke(self, input, config=None, **kwargs):
            return self.text(str(input), kwargs.get("stop"))

    assert of(Past, "CALL-10").status == "passed"


def test_what_no_call_accepts_is_not_remembered():
    class Strict(Core):
        def _call(self, prompt, stop=None, run_manager=None):
            if stop is not None:
                raise ValueError("this model takes no stop")
            return prompt[::-1]

        _stream = Core._stream

        def text(self, prompt, stop):
            if stop is not None:
                raise ValueError("this model takes no stop")
            return prompt[::-1]

    class Refusing(Strict):
        def _stream(self, prompt, stop=None, run_manager=None):
            return super()._stream(prompt, stop, run_manager)

        async def _acall(self, prompt, stop=None, run_manager=None):
            return self.text(prompt, stop)

        async def _astream(self, prompt, stop=None, run_manager=None):
            async for chunk in super()._astream(prompt, stop, run_manager):
                yield chunk

    found = checked(Refusing, "CALL-12", "CALL-13")
    assert found["CALL-12"].message == "it is refused"
    assert found["CALL-13"].status == "skipped"
    assert found["CALL-13"].message == "no call with a stop or a parameter is accepted"


def test_a_counter_is_not_something_remembered():
    class Counting(Core):
        calls: int = 0
        """How often it was called."""

        def text(self, prompt, stop):
            self.calls += 1
            return super().text(prompt, stop)

    assert of(Counting, "CALL-13").status == "passed"


def test_a_remembered_stop_shows_in_the_next_answer():
    class Remembering(Core):
        _kept: list[str] | None = None

        def _stream(self, prompt, stop=None, run_manager=None, **kwargs):
            self._kept = stop
            return super()._stream(prompt, stop, run_manager)

        def _call(self, prompt, stop=None, run_manager=None, **kwargs):
            return self.text(prompt, stop or self._kept)

    result = of(Remembering, "CALL-13")
    assert result.status == "failed"
    assert "the answer to a plain call is another one" in result.message


def test_candidates_are_named_by_signature_field_and_custom():
    class Named(Core):
        strength: float = 0.5
        """How strong."""

        def _call(self, prompt, stop=None, run_manager=None, depth=3, loud=False, **kwargs):
            return prompt

    found = candidates(Named())
    assert found["depth"] == 4
    assert found["loud"] is True
    assert found["strength"] == 0.25
    assert found["repeat"] == 2
    assert "temperature" in found
    assert not {"prompt", "stop", "run_manager", "kwargs", "model_name"} & set(found)


def test_settled_changes_with_its_value_only():
    inner = [1, {"a": (2,)}]
    before_ = settled({"x": inner})
    assert settled({"x": [1, {"a": (2,)}]}) == before_
    inner.append(3)
    assert settled({"x": inner}) != before_


def test_two_answers_that_begin_with_the_prompt_are_too_few():
    class Sometimes(Core):
        def text(self, prompt, stop):
            return prompt + " and so on" if len(prompt) < 30 else "no"

    assert of(Sometimes, "CALL-15").status == "passed"


def test_no_unknown_parameter_is_left_on_the_model():
    llm = Core()
    check_llm(llm, only="CALL")
    assert UNKNOWN not in repr(llm)
    assert llm == Core()
