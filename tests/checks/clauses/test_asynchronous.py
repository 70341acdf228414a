"""ASYNC: what its mutants do not show."""

from __future__ import annotations

import asyncio
import contextlib
import time

import pytest
from langchain_core.outputs import GenerationChunk
from looks import raised, runs, seen_alone
from mutants.asynchronous import Blocking
from mutants.right import Core, answer, pieces
from scripted import KINDS

from langchain_wrap import LLM
from langchain_wrap.checks import check_llm


def checked(llm, *ids, **options):
    report = check_llm(llm, only=ids or ["ASYNC"], **options)
    return {result.id: result for result in report}


def one(llm, id_, **options):
    return checked(llm, id_, **options)[id_]


def shows(id_, wrong, right):
    """A clause fails on the wrong model; its script does too, and runs on the right one."""
    repro = seen_alone(wrong, id_).repro
    assert isinstance(raised(repro, wrong), AssertionError)
    runs(repro, right)


@pytest.mark.parametrize("kind", KINDS)
def test_a_right_model_of_each_kind_fails_nothing(kind):
    assert "failed" not in {result.status for result in checked(KINDS[kind]).values()}


class Awaits(Core):
    """Takes its time in async methods of its own."""

    async def _acall(self, prompt, stop=None, run_manager=None, **kwargs):
        await asyncio.sleep(0.2)
        return self.text(prompt, stop)

    async def _astream(self, prompt, stop=None, run_manager=None, **kwargs):
        for piece in pieces(self.text(prompt, stop), 20) or [""]:
            await asyncio.sleep(0.06)
            chunk = GenerationChunk(text=piece)
            if run_manager:
                await run_manager.on_llm_new_token(piece, chunk=chunk)
            yield chunk


class Sleeps(Awaits):
    """The same, and it blocks."""

    async def _acall(self, prompt, stop=None, run_manager=None, **kwargs):
        time.sleep(0.2)
        return self.text(prompt, stop)

    async def _astream(self, prompt, stop=None, run_manager=None, **kwargs):
        for piece in pieces(self.text(prompt, stop), 20) or [""]:
            time.sleep(0.06)
            yield GenerationChunk(text=piece)


def test_an_async_method_that_blocks_shows_by_its_own_time():
    assert one(Awaits, "ASYNC-01").status == "passed"
    assert one(Awaits, "ASYNC-02").status == "passed"
    shows("ASYNC-01", Sleeps, Awaits)
    shows("ASYNC-02", Sleeps, Awaits)


def test_a_quick_async_method_shows_nothing():
    found = checked(Core)
    assert {id_ for id_, r in found.items() if r.status == "skipped"} == {
        "ASYNC-01",
        "ASYNC-02",
        "ASYNC-07",
        "ASYNC-08",
    }
    assert "too fast to tell" in found["ASYNC-01"].message


class CallsItself(LLM):
    """On our own class: the async method calls the blocking one."""

    def _call(self, prompt):
        return answer(prompt)

    async def _acall(self, prompt):
        return self._call(prompt)


class LeavesItToUs(LLM):
    def _call(self, prompt):
        return answer(prompt)


def test_a_method_that_calls_another_is_seen_on_our_own_class():
    shows("ASYNC-01", CallsItself, LeavesItToUs)
    assert one(LeavesItToUs, "ASYNC-01").status == "passed"


def test_a_blocking_call_cannot_be_stopped():
    result = one(LeavesItToUs, "ASYNC-10")
    assert result.status == "skipped"


class Slow(Blocking):
    async def _acall(self, prompt, stop=None, run_manager=None, **kwargs):
        await asyncio.sleep(0.5)
        return self.text(prompt, stop)


class Ignores(Slow):
    async def _acall(self, prompt, stop=None, run_manager=None, **kwargs):
        until = time.monotonic() + 0.5
        while (left := until - time.monotonic()) > 0:
            try:
                await asyncio.sleep(left)
            except asyncio.CancelledError:
                continue
        return self.text(prompt, stop)


def test_a_slow_model_is_cancelled_by_its_own_time():
    found = checked(Slow, "ASYNC-07", "ASYNC-09")
    assert {result.status for result in found.values()} == {"passed"}
    shows("ASYNC-07", Ignores, Slow)
    assert one(Ignores, "ASYNC-09").status == "failed"


class Late(Core):
    """Loses a cancel that comes with the answer, as `asyncio.wait_for` does until Python 3.12."""

    async def _acall(self, prompt, stop=None, run_manager=None, **kwargs):
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(0)
        return self.text(prompt, stop)


def test_one_cancel_that_comes_too_late_is_no_failure():
    assert one(Late, "ASYNC-09").status == "passed"


class Hangs(Core):
    async def _acall(self, prompt, stop=None, run_manager=None, **kwargs):
        await asyncio.Event().wait()


def test_a_model_that_hangs_is_told_once():
    found = checked(Hangs, "ASYNC-01", "ASYNC-03", "ASYNC-05", timeout=0.3)
    assert found["ASYNC-01"].status == "failed"
    assert {found["ASYNC-03"].status, found["ASYNC-05"].status} == {"skipped"}


class Quiet(Core):
    def text(self, prompt, stop):
        return ""


def test_an_empty_answer_fails_nothing():
    assert "failed" not in {result.status for result in checked(Quiet).values()}
