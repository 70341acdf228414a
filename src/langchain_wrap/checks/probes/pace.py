"""Pace: whether the chunks of a stream come as they are made, or all at once in the end."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

from langchain_core.language_models.llms import LLM
from langchain_core.outputs import GenerationChunk

from langchain_wrap.checks.probes import paths
from langchain_wrap.checks.probes.spy import STREAMS
from langchain_wrap.checks.probes.trace import Trace
from langchain_wrap.checks.subject import Subject

TELLING = 0.1
"""Seconds that a stream must take so that its pace tells anything."""

_CHUNKS = 8
"""Chunks that a stream needs for that; fewer may have come in one packet."""

_LATE = 0.9
"""The part of the time that has passed when the first chunk of a dealt answer comes."""


class Dealer(LLM):
    """Deals out an answer that it has from the start: how long that takes by itself."""

    pieces: list[str]

    @property
    def _llm_type(self) -> str:
        return "dealer"

    def _call(self, prompt: str, stop: Any = None, run_manager: Any = None, **kwargs: Any) -> str:
        return "".join(self.pieces)

    def _stream(
        self, prompt: str, stop: Any = None, run_manager: Any = None, **kwargs: Any
    ) -> Iterator[GenerationChunk]:
        for piece in self.pieces:
            chunk = GenerationChunk(text=piece)
            run_manager.on_llm_new_token(piece, chunk=chunk)
            yield chunk

    async def _astream(
        self, prompt: str, stop: Any = None, run_manager: Any = None, **kwargs: Any
    ) -> AsyncIterator[GenerationChunk]:
        for piece in self.pieces:
            chunk = GenerationChunk(text=piece)
            await run_manager.on_llm_new_token(piece, chunk=chunk)
            yield chunk


def gap(trace: Trace) -> float | None:
    """Return the mean time between chunks, if the first came after nearly all of the time.

    None if it did not, or if the stream is too short to tell. It is the mean and not the median,
    because a server may send several tokens in one packet.
    """
    times = [mark.seconds for mark in trace.of("chunk") if mark.text]
    if len(times) < _CHUNKS or times[-1] < TELLING or times[0] < _LATE * times[-1]:
        return None
    return (times[-1] - times[0]) / (len(times) - 1)


def dealt(model: Subject, path: str) -> float | None:
    """Return after how many seconds a model deals out an answer that it made as a whole.

    None if it does not, as far as can be told. The gaps are held against those of a model that
    does nothing else, measured right after, so a busy machine does not count; and they must be
    that small twice.
    """
    first = model.answered(path)
    found = gap(first)
    if found is None:
        return None
    pieces = [chunk for chunk in first.chunks if chunk]
    overhead = min(_overhead(model, path, pieces) for _ in range(3))
    limit = 5 * overhead + 5e-5
    small = int(found <= limit)
    for _ in range(3):
        again = gap(model.call(path, again=True))
        if again is None:
            return None
        small += again <= limit
        if small == 2:  # not all: a busy machine may tear one of them apart
            return first.of("chunk")[0].seconds
    return None


def cut_up(model: Subject, path: str) -> str:
    """Return the name of the method whose whole answer a stream cuts into its chunks, or ""."""
    whole: dict[str, float] = {}

    def note(text: str, kwargs: dict[str, Any]) -> str:
        whole[text] = time.perf_counter()
        return text

    with model.spy(change=note) as spy:
        trace = model.call(path, again=True)
    streamed = any(visit.method in STREAMS for visit in spy.visits)
    pieces = [chunk for chunk in trace.chunks if chunk]
    if streamed or trace.error is not None or len(pieces) < 2 or trace.text not in whole:
        return ""
    if trace.began + trace.of("chunk")[0].seconds < whole[trace.text]:
        return ""  # it was read while the method was still at it
    return spy.visits[-1].method


def _overhead(model: Subject, path: str, pieces: list[str]) -> float:
    trace = paths.call(Dealer(pieces=pieces), path, [model.prompt], seconds=model.timeout)
    times = [mark.seconds for mark in trace.of("chunk")]
    return (times[-1] - times[0]) / (len(times) - 1)


def lines(path: str, prompt: str) -> list[str]:
    """Return lines that fail if the first chunk comes when nearly all of the time has passed."""
    timed = "    times.append(time.perf_counter() - begin)"
    if path == "stream":
        body = [f"for chunk in llm.stream({prompt!r}):", timed]
    else:
        loop = f"    async for chunk in llm.astream({prompt!r}):"
        body = ["async def measure():", loop, "    " + timed, "", "asyncio.run(measure())"]
    return [
        "times, begin = [], time.perf_counter()",
        *body,
        'assert times[0] < 0.9 * times[-1], f"first chunk at {times[0]:.2f} of {times[-1]:.2f} s"',
    ]
