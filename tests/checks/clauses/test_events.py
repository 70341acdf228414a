"""EVENTS: what is skipped and why, and models that a check must not be wrong about."""

from __future__ import annotations

import random

import pytest
from langchain_core.language_models.fake import FakeListLLM, FakeStreamingListLLM
from langchain_core.runnables import RunnableLambda
from mutants.events import HandsOnCallbacksOnly
from mutants.right import Core, Ours, answer, before, pieces
from scripted import KINDS, STREAMING

from langchain_wrap import wrap
from langchain_wrap.checks import check_llm


def checked(make, *only, **options):
    report = check_llm(make, only=list(only) or ["EVENTS"], **options)
    return {result.id: result for result in report}


def statuses(make, *only, **options):
    return {id_: result.status for id_, result in checked(make, *only, **options).items()}


@pytest.mark.parametrize("kind", KINDS)
def test_the_scripted_models_pass_what_they_can(kind):
    found = checked(KINDS[kind])
    skipped = [id_ for id_, one in found.items() if one.status == "skipped"]
    assert skipped == ([] if kind in STREAMING else ["EVENTS-04", "EVENTS-06"])
    assert "failed" not in {one.status for one in found.values()}


def test_a_model_that_does_not_stream_has_an_end_to_compare():
    found = checked(lambda: FakeListLLM(responses=["one two three"]))
    assert found["EVENTS-03"].status == "passed"
    assert found["EVENTS-03"].message == (
        "there are no on_llm_stream events: only on_llm_end was compared"
    )
    assert found["EVENTS-04"].message == "the model does not stream"


def test_a_stream_of_its_own_that_ends_before_it_begins_gives_no_events():
    found = statuses(lambda: FakeStreamingListLLM(responses=["one two"]), level="contract")
    assert [id_ for id_, status in found.items() if status == "failed"] == ["EVENTS-04"]


def test_answers_that_vary_are_compared_within_each_run():
    class Varying(Core):
        def text(self, prompt, stop):
            return before(f"{random.random()} {answer(prompt)}", stop)

    assert set(statuses(Varying, level="contract").values()) == {"passed"}


def test_an_answer_in_one_piece_cannot_show_that_it_streams():
    class Short(Core):
        def text(self, prompt, stop):
            return "ok"

    found = checked(Short)
    assert found["EVENTS-04"].message == "the answer came in one piece"
    assert found["EVENTS-06"].message == "the answer comes in one piece"


@pytest.mark.parametrize("seed", range(8))
def test_answers_may_come_in_another_number_of_pieces_each_time(seed):
    # As those of a program do: what is read from a pipe is what is there.
    chance = random.Random(seed)

    class Ragged(Ours):
        def _stream(self, prompt):
            text = answer(prompt)
            yield from pieces(text, chance.choice([2, 9, len(text)]))

    assert "failed" not in statuses(Ragged).values()


def test_a_stream_that_was_left_has_not_told_how_many_pieces_it_has():
    # asyncio closes a stream that nobody holds in a task of its own, which may come too late.
    held = []

    class LeftOpen(HandsOnCallbacksOnly):
        async def astream(self, input, config=None, **kwargs):
            held.append(super().astream(input, config, **kwargs))
            async for text in held[-1]:
                yield text

    assert statuses(LeftOpen, "EVENTS-01", "EVENTS-04") == {
        "EVENTS-01": "failed",
        "EVENTS-04": "failed",
    }


def test_an_empty_answer_passes_or_is_skipped():
    class Empty(Core):
        def text(self, prompt, stop):
            return ""

    assert "failed" not in statuses(Empty).values()


def test_the_name_of_the_object_is_the_name_in_a_chain():
    assert set(statuses(lambda: Ours(name="called so")).values()) == {"passed"}
    assert "failed" not in statuses(lambda: wrap(lambda prompt: prompt, name="echo")).values()


def test_langchain_cores_llm_does_not_stream_inside_of_ainvoke():
    result = checked(Core)["EVENTS-06"]
    assert result.status == "failed"
    with pytest.raises(AssertionError):
        exec(compile(result.repro, "repro", "exec"), {"llm": Core()})
    exec(compile(result.repro, "repro", "exec"), {"llm": Ours()})


def test_a_model_without_an_astream_that_works_is_skipped():
    class Broken(Core):
        async def _astream(self, prompt, stop=None, run_manager=None, **kwargs):
            raise RuntimeError("no stream")
            yield

    found = checked(Broken)
    assert found["EVENTS-01"].status == "failed"
    assert {one.status for one in found.values()} == {"failed", "skipped"}
    assert [one.status for one in found.values()].count("failed") == 1


def test_errors_of_a_model_past_its_methods_cannot_be_told():
    class Past(Core):
        async def astream(self, input, config=None, **kwargs):
            yield "so"

    assert checked(Past, "EVENTS-05")["EVENTS-05"].status == "skipped"


def test_a_check_inside_of_a_runnable_hears_only_itself():
    found = RunnableLambda(lambda make: statuses(make)).invoke(Ours)
    assert set(found.values()) == {"passed"}
