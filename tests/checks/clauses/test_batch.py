"""BATCH: what its mutants do not show."""

from __future__ import annotations

import asyncio
import itertools
import random
import threading
import time

import pytest
from langchain_core.language_models.fake import FakeListLLM, FakeStreamingListLLM
from langchain_core.outputs import Generation, LLMResult
from looks import raised, runs, seen_alone
from mutants.right import Core, Ours, answer, before, pieces
from pydantic import PrivateAttr
from scripted import KINDS

from langchain_wrap import LLM, wrap
from langchain_wrap.checks import check_llm


def checked(llm, *ids, **options):
    report = check_llm(llm, only=ids or ["BATCH"], **options)
    return {result.id: result for result in report}


def statuses(llm, *ids, **options):
    return {id_: result.status for id_, result in checked(llm, *ids, **options).items()}


def one(llm, id_, **options):
    return checked(llm, id_, **options)[id_]


@pytest.mark.parametrize("kind", KINDS)
def test_a_right_model_of_each_kind_fails_nothing(kind):
    assert "failed" not in statuses(KINDS[kind]).values()


@pytest.mark.parametrize("model", [FakeListLLM, FakeStreamingListLLM])
def test_models_of_langchain_core_hold_the_contract(model):
    found = check_llm(model(responses=["one two three"]), only=["BATCH"], level="contract")
    assert found.counts()["failed"] == 0
    assert one(model(responses=["same"]), "BATCH-08").message == (
        "the model answers the same to every prompt: nothing could be mixed up"
    )


class AtRandom(Core):
    def text(self, prompt, stop):
        return f"{super().text(prompt, stop)} {random.random()}"


class Dice(Core):
    def text(self, prompt, stop):
        return f"{random.random():.9f}"


def test_of_a_model_whose_answers_vary_the_structure_is_checked():
    found = checked(AtRandom, level="contract")
    assert {result.status for result in found.values()} == {"passed"}
    assert found["BATCH-03"].message == (
        "the model's answers vary: only their number and type were looked at"
    )
    assert found["BATCH-08"].message.endswith("only the number in each prompt was looked for")


def test_answers_that_name_no_prompt_cannot_be_told_apart():
    result = one(Dice, "BATCH-09")
    assert result.status == "skipped"
    assert "do not show which prompt they belong to" in result.message


class MixedAndVarying(AtRandom):
    _last: str = PrivateAttr(default="")

    def _call(self, prompt, stop=None, run_manager=None, **kwargs):
        self._last = prompt
        time.sleep(0.001)
        return self.text(self._last, stop)


def test_answers_that_vary_can_still_belong_to_another_prompt():
    result = seen_alone(MixedAndVarying, "BATCH-08")
    assert "belongs to another prompt" in result.message
    assert isinstance(raised(result.repro, MixedAndVarying), AssertionError)
    runs(result.repro, AtRandom)


class SharesABuffer(Ours):
    _buffer: list[str] = PrivateAttr(default_factory=list)

    def _stream(self, prompt: str):
        self._buffer[:] = pieces(answer(prompt))
        while self._buffer:
            yield self._buffer.pop(0)


def test_a_buffer_between_two_chunks_is_found_on_our_own_class():
    assert one(SharesABuffer, "BATCH-08").status == "failed"
    assert one(SharesABuffer, "BATCH-09").status == "failed"


@pytest.mark.parametrize("attempt", range(5))
def test_a_race_of_two_lines_is_found_each_time(attempt):
    last = []

    def model(prompt: str) -> str:
        last[:] = [prompt]
        text = answer(last[0])
        return text

    assert one(wrap(model), "BATCH-08").status == "failed"


class RoundsOtherwise(Core):
    """Computes several prompts together, and then ends otherwise, whoever asks."""

    _inside: list[str] = PrivateAttr(default_factory=list)

    def _call(self, prompt, stop=None, run_manager=None, **kwargs):
        self._inside.append(prompt)
        time.sleep(0.005)
        alone = len(self._inside) == 1
        self._inside.remove(prompt)
        return self.text(prompt, stop) if alone else self.text(prompt, stop)[:-1] + "!"


def test_an_engine_that_rounds_otherwise_under_load_mixes_nothing_up():
    result = one(RoundsOtherwise, "BATCH-08")
    assert result.status == "skipped"
    assert "even if all ask the same" in result.message


class OneAtATime(Core):
    """Raises where two call at once, as some engines do."""

    _busy: bool = PrivateAttr(default=False)

    def _call(self, prompt, stop=None, run_manager=None, **kwargs):
        if self._busy:
            raise RuntimeError("already executing")
        self._busy = True
        time.sleep(0.001)
        self._busy = False
        return self.text(prompt, stop)


def test_errors_under_load_are_failures_with_a_script():
    result = seen_alone(OneAtATime, "BATCH-08")
    assert "already executing" in result.message
    assert "already executing" in str(raised(result.repro, OneAtATime))


class RateLimitError(Exception):
    pass


class Limited(OneAtATime):
    def _call(self, prompt, stop=None, run_manager=None, **kwargs):
        try:
            return super()._call(prompt, stop)
        except RuntimeError:
            raise RateLimitError("429") from None


def test_a_service_that_refuses_so_many_callers_is_skipped():
    result = one(Limited, "BATCH-08")
    assert result.status == "skipped"
    assert "does not take 32 callers at once" in result.message


class Deadlocks(Core):
    """Waits for a lock that a thread of the same batch holds."""

    def batch(self, inputs, config=None, **kwargs):
        if len(inputs) > 1:
            threading.Event().wait(5)
        return super().batch(inputs, config, **kwargs)


def test_a_batch_that_hangs_is_told_once():
    found = checked(Deadlocks, "BATCH-01", "BATCH-03", "BATCH-05", timeout=0.3)
    assert found["BATCH-01"].status == "failed"
    assert "no answer in" in found["BATCH-01"].message
    assert found["BATCH-01"].repro
    assert {found["BATCH-03"].status, found["BATCH-05"].status} == {"skipped"}


class RefusesLong(Core):
    def text(self, prompt, stop):
        if len(prompt) > 500:
            raise ValueError("the prompt is longer than the context")
        return super().text(prompt, stop)


def test_a_model_may_refuse_a_long_prompt():
    assert one(RefusesLong, "BATCH-06").message == (
        "the model refuses a prompt of 2,000 characters"
    )


class Raises(Core):
    def text(self, prompt, stop):
        raise OSError("no connection")


def test_a_model_that_does_not_work_is_told_once():
    found = statuses(Raises)
    assert "passed" not in {found[f"BATCH-{n:02}"] for n in range(3, 12) if n != 7}
    assert list(found.values()).count("failed") <= 2  # invoke and batch


class OwnGenerate(Core):
    """Overrides the method that takes a list, as integrations with a batch API do."""

    def _generate(self, prompts, stop=None, run_manager=None, **kwargs):
        return LLMResult(generations=[[Generation(text=self.text(p, stop))] for p in prompts])

    async def _agenerate(self, prompts, stop=None, run_manager=None, **kwargs):
        await asyncio.sleep(0)
        return self._generate(prompts, stop)


def test_a_quick_model_of_lists_shows_nothing_of_its_time():
    found = checked(OwnGenerate)
    assert {id_ for id_, r in found.items() if r.status == "failed"} == {"BATCH-12"}
    assert "too fast for its time to tell" in found["BATCH-13"].message


class Declares(Ours):
    concurrency: int | None = 1


def test_a_declared_concurrency_is_no_failure():
    found = checked(Declares)
    assert "failed" not in {result.status for result in found.values()}
    assert found["BATCH-13"].message == "the model declares concurrency=1"


class Slow(LLM):
    def _call(self, prompt):
        time.sleep(0.6)
        return answer(prompt)


def test_a_slow_model_is_asked_less_often():
    found = checked(Slow)
    assert "failed" not in {result.status for result in found.values()}
    assert sum(result.calls for result in found.values()) < 60  # most of them are not let through


def test_answers_that_take_turns_are_not_compared():
    texts = itertools.cycle(["a b c d", "e f g h"])
    model = wrap(lambda prompt: next(texts))
    found = checked(model, level="contract")
    assert "failed" not in {result.status for result in found.values()}


class SlowList(Ours):
    """A model that takes lists, and is no faster for it."""

    def _batch(self, prompts, stop=None):
        time.sleep(0.1 * len(prompts))
        return [before(answer(prompt) * self.repeat, stop) for prompt in prompts]


class QuickList(SlowList):
    def _batch(self, prompts, stop=None):
        time.sleep(0.1)
        return [before(answer(prompt) * self.repeat, stop) for prompt in prompts]


def test_a_model_of_lists_shows_by_its_own_time():
    assert one(QuickList, "BATCH-13").message.startswith("a list of 4 took")
    result = seen_alone(SlowList, "BATCH-14")
    assert isinstance(raised(result.repro, SlowList), AssertionError)
    runs(result.repro, QuickList)
