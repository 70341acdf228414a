"""STREAM: what the mutants do not show."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import queue
import random
import threading
import time

import pytest
from langchain_core.language_models.fake import FakeListLLM, FakeStreamingListLLM
from langchain_core.outputs import GenerationChunk
from mutants.right import Core, Ours, pieces
from mutants.stream import OnOurs, Paced, Pieces, SaysOnce
from scripted import KINDS

from langchain_wrap.checks import check_llm
from langchain_wrap.checks.probes import facts, pace
from langchain_wrap.checks.probes.trace import Trace


def status(report):
    return {result.id: result.status for result in report}


def message(report, id_):
    return next(result.message for result in report if result.id == id_)


def check(model, only="STREAM", **options):
    return check_llm(model, only=only, **options)


def failed(model, **options):
    return [result.id for result in check(model, **options) if result.status == "failed"]


class Says(Core):
    """Says the same to everything, in pieces of a size."""

    said: str = ""
    size: int = 3

    def text(self, prompt, stop):
        return self.said

    def _stream(self, prompt, stop=None, run_manager=None, **kwargs):
        for piece in pieces(self.said, self.size) or [""]:
            chunk = GenerationChunk(text=piece)
            if run_manager:
                run_manager.on_llm_new_token(piece, chunk=chunk)
            yield chunk

    async def _astream(self, prompt, stop=None, run_manager=None, **kwargs):
        for chunk in self._stream(prompt):
            await asyncio.sleep(0)
            if run_manager:
                await run_manager.on_llm_new_token(chunk.text, chunk=chunk)
            yield chunk


@pytest.mark.parametrize(
    "model",
    [Ours, OnOurs, *KINDS.values()],
    ids=lambda kind: kind.__name__,
)
def test_a_right_model_of_ours_fails_nothing(model):
    assert failed(model) == []


@pytest.mark.parametrize(
    "model",
    [
        Core,
        Paced,
        SaysOnce,
        Pieces,
        lambda: Says(said=""),
        lambda: Says(said="ok"),
        lambda: Says(said="a" * 40, size=1),
        lambda: Says(said="x" * 40, size=500),
        lambda: Says(
            said="The capital is Paris, and that in one sentence of some length.", size=99
        ),
        lambda: Says(said="naïve 日本語 👩‍👩‍👧🇫🇷 \ufffd e\u0301", size=1),
        lambda: FakeListLLM(responses=["one two three"]),
    ],
)
def test_a_right_model_on_core_fails_nothing_of_the_contract(model):
    assert failed(model, level="contract") == []


def test_a_stream_that_cuts_up_what_invoke_gives_is_no_stream():
    for sleep in (None, 0.005):
        fake = FakeStreamingListLLM(responses=["one two three"], sleep=sleep)
        report = check(fake, level="contract")
        assert [result.id for result in report if result.status == "failed"] == ["STREAM-06"]
        assert "waits for the whole answer of `_call`" in message(report, "STREAM-06")


def test_a_model_that_hands_on_what_its_call_reports_streams():
    class HandsOn(Core):
        def _call(self, prompt, stop=None, run_manager=None, put=None, **kwargs):
            found = pieces(self.text(prompt, stop))
            for piece in found:
                if put:
                    put(piece)
                    time.sleep(0.002)
            return "".join(found)

        def stream(self, input, config=None, *, stop=None, **kwargs):
            chunks = queue.Queue()
            work = {"target": self.invoke, "args": (input, config), "daemon": True}
            thread = threading.Thread(**work, kwargs={"stop": stop, "put": chunks.put})
            thread.start()
            while thread.is_alive() or not chunks.empty():
                with contextlib.suppress(queue.Empty):
                    yield chunks.get(timeout=0.01)

    assert failed(HandsOn, only="STREAM-06") == []


def test_what_a_model_without_a_stream_cannot_show_is_skipped_with_its_reason():
    report = check(FakeListLLM(responses=["one two three"]))
    found = status(report)
    assert found["STREAM-06"] == "skipped"
    assert "promises no streaming" in message(report, "STREAM-06")
    assert found["STREAM-11"] == found["STREAM-12"] == "skipped"
    assert message(report, "STREAM-09") == (
        "the answers are plain ASCII, where no character can be broken"
    )


def test_growing_chunks_of_one_letter_are_not_growing_text():
    class Letters(Pieces):
        def text(self, prompt, stop):
            return "a" * 15

        def said(self, prompt, stop):
            for size in range(1, 6):
                yield GenerationChunk(text="a" * size)

    assert "STREAM-05" not in failed(Letters, level="contract")


def test_a_model_whose_answers_vary_is_checked_structurally():
    class Varies(Core):
        def text(self, prompt, stop):
            return " ".join(random.choice(("tea", "sea", "we")) for _ in range(20))

    for _ in range(5):
        report = check(Varies, level="contract")
        assert not [result for result in report if result.status == "failed"]
        assert "vary" in message(report, "STREAM-02")
        assert "on_llm_end" in message(report, "STREAM-04")


def test_a_stream_that_raises_is_reported_once():
    class Raises(Core):
        def _stream(self, prompt, stop=None, run_manager=None, **kwargs):
            raise RuntimeError("no stream")
            yield

    report = check(Raises, level="contract")
    assert [result.id for result in report if result.status == "failed"] == ["STREAM-01"]
    assert message(report, "STREAM-02") == "stream does not work, as STREAM-01 reports"


def test_a_stream_that_hangs_is_reported_once():
    hung = threading.Event()

    class Hangs(Core):
        def _stream(self, prompt, stop=None, run_manager=None, **kwargs):
            hung.wait(20)
            yield GenerationChunk(text="")

    try:
        report = check(Hangs, level="contract", timeout=0.3)
    finally:
        hung.set()
    assert [result.id for result in report if result.status == "failed"] == ["STREAM-01"]
    assert "no answer in 0.3 s" in message(report, "STREAM-01")


@pytest.mark.parametrize("wait", [0.003, 0.02])
def test_a_long_wait_for_the_first_chunk_is_no_dealing(wait):
    """A model may think long about a prompt and then be quick."""

    class Thinks(Core):
        def _stream(self, prompt, stop=None, run_manager=None, **kwargs):
            time.sleep(0.5)
            for chunk in super()._stream(prompt, stop, run_manager, **kwargs):
                time.sleep(wait)
                yield chunk

        async def _astream(self, prompt, stop=None, run_manager=None, **kwargs):
            await asyncio.sleep(0.5)
            async for chunk in super()._astream(prompt, stop, run_manager, **kwargs):
                await asyncio.sleep(wait)
                yield chunk

    assert failed(Thinks, only=["STREAM-06"]) == []


def test_several_tokens_in_one_packet_are_no_dealing():
    class Packets(Core):
        def _stream(self, prompt, stop=None, run_manager=None, **kwargs):
            time.sleep(0.4)
            for number, chunk in enumerate(super()._stream(prompt, stop, run_manager, **kwargs)):
                if number % 6 == 5:
                    time.sleep(0.015)
                yield chunk

    assert failed(Packets, only=["STREAM-06"]) == []


def test_what_is_over_too_soon_is_judged_by_its_chunks_and_that_is_said():
    assert message(check(Core), "STREAM-06") == (
        "stream and astream: over too soon to judge by time, judged by chunks"
    )


def test_the_gap_of_a_trace():
    def trace(*times):
        made = Trace("stream", ["x"])
        for seconds in times:
            made.mark("chunk", "x")
            made.marks[-1] = type(made.marks[-1])(seconds, "chunk", "x")
        return made

    dealt = [1.0 + n / 1000 for n in range(10)]
    assert pace.gap(trace(*dealt)) == pytest.approx(0.001)
    assert pace.gap(trace(*dealt[:4])) is None
    assert pace.gap(trace(*(n / 10 for n in range(1, 11)))) is None
    assert pace.gap(trace(*(n / 1000 for n in range(80, 90)))) is None


@pytest.mark.parametrize(
    ("info", "chunks", "found"),
    [
        ({"finish_reason": "stop"}, [{}, {"finish_reason": "stop"}], []),
        ({"finish_reason": "stopstop"}, [{"finish_reason": "stop"}] * 2, ["finish_reason"]),
        ({"finish_reason": "stopstop"}, [], ["finish_reason"]),
        ({"finish_reason": "nullstop"}, [{"finish_reason": "null"}, {"finish_reason": "stop"}],
         ["finish_reason"]),
        ({"model_name": "soso"}, [{"model_name": "soso"}] * 2, []),
        ({"model_name": "bonbon"}, [{}, {"model_name": "bonbon"}], []),
        ({"note": "abab"}, [{"note": "ab"}] * 2, []),
        ({"usage": {"n": 10}}, [{"usage": {"n": n}} for n in (1, 2, 3, 4)], ["usage.n"]),
        ({"usage": {"n": 4}}, [{"usage": {"n": n}} for n in (1, 2, 3, 4)], []),
        ({"usage": {"n": 4}}, [{}, {"usage": {"n": 4}}], []),
        ({"eval_count": 4, "logprobs": [1]}, [{"eval_count": None}], []),
    ],
)  # fmt: skip
def test_facts_that_adding_up_has_spoilt(info, chunks, found):
    assert [".".join(key) for key in facts.doubled(info, chunks, {"stop", "so-1"})] == found


def test_leaving_early_is_skipped_where_the_answer_is_too_short():
    report = check(Says(said="ok"), level="contract")
    assert message(report, "STREAM-11") == ("the answer has too few chunks to be left early: 1")


def test_a_model_that_ends_by_itself_when_it_is_cancelled_is_right():
    class Asks(Ours):
        def _stream(self, prompt, cancel):
            for piece in super()._stream(prompt):
                if cancel.cancelled:
                    return
                yield piece

    assert failed(Asks, only=["STREAM-11", "STREAM-12", "STREAM-13"]) == []


class CatchesTheExit(Core):
    """Goes on when it is closed; once, so that Python can get rid of it in the end."""

    def _stream(self, prompt, stop=None, run_manager=None, **kwargs):
        caught = False
        for chunk in super()._stream(prompt, stop, run_manager, **kwargs):
            try:
                yield chunk
            except GeneratorExit:
                if caught:
                    raise
                caught = True


class CatchesTheExitInAsync(Core):
    async def _astream(self, prompt, stop=None, run_manager=None, **kwargs):
        caught = False
        async for chunk in super()._astream(prompt, stop, run_manager, **kwargs):
            try:
                yield chunk
            except GeneratorExit:
                if caught:
                    raise
                caught = True


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize(
    ("model", "clause"),
    [(CatchesTheExit, "STREAM-11"), (CatchesTheExitInAsync, "STREAM-12")],
)
def test_a_generator_that_does_not_let_itself_be_closed_is_found(model, clause):
    report = check(model, only=clause)
    assert status(report) == {clause: "failed"}
    assert "ignored GeneratorExit" in message(report, clause)
    gc.collect()
