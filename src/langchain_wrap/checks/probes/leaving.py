"""Leaving a stream early: what the model, the traces and the clock say of it."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from langchain_wrap.checks.clause import Failed, Skipped
from langchain_wrap.checks.probes import deadline, inject
from langchain_wrap.checks.probes.paths import script
from langchain_wrap.checks.probes.snippets import LISTENER, LISTENING
from langchain_wrap.checks.probes.spy import Spy, Visit
from langchain_wrap.checks.probes.trace import AsyncRecorder, Recorder, Trace
from langchain_wrap.checks.subject import Subject

_PAUSES = (0.02, 0.05, 0.1)
"""Seconds before each chunk, in the attempts; a busy machine needs the longer ones."""

_PATIENCE = 1.0
"""Seconds that the model has at least to notice that its reader has left."""

_TELLING = 4
"""Chunks that an answer needs so that leaving after the first is early."""


_WATCH = """\
closed = []

def watched(*args, **kwargs):
    chunks = method(*args, **kwargs)
    try:
        for chunk in chunks:
            time.sleep(0.05)
            yield chunk
    except GeneratorExit:
        chunks.close()
        closed.append(True)
        raise
"""

_AWATCH = """\
closed = []

async def watched(*args, **kwargs):
    chunks = method(*args, **kwargs)
    try:
        async for chunk in chunks:
            await asyncio.sleep(0.05)
            yield chunk
    except GeneratorExit:
        await chunks.aclose()
        closed.append(True)
        raise
"""

_LEAVE = """\
stream = llm.stream(%r)
next(stream)
stream.close()
time.sleep(1)"""

_ALEAVE = """\
async def leave():
    stream = llm.astream(%r)
    await anext(stream)
    await stream.aclose()
    await asyncio.sleep(1)

asyncio.run(leave())"""


@dataclass
class Left:
    """What was seen of one stream that its reader left after the first chunk."""

    trace: Trace
    visits: list[Visit]
    """Those of the author's generators."""
    at: float
    """When the reader left."""

    @property
    def closing(self) -> float:
        """Seconds until the last generator was closed; endless if one is open."""
        ends = [float("inf") if v.left is None else v.left for v in self.visits]
        return max(ends, default=self.at) - self.at

    def closed(self, chunks: int) -> bool:
        """Whether every generator was ended before it had given all its chunks."""
        return all(
            v.left is not None and v.error is None and (v.early or v.chunks < chunks)
            for v in self.visits
        )


def leave(model: Subject, path: str, pause: float) -> Left:
    """Read one chunk of a stream, close it, and wait until the author's generator is closed.

    Raises:
        Skipped: The stream raises, or gives no chunk.
        NoAnswer: It gives no chunk, or cannot be closed, in time.
    """
    trace = Trace(path, [model.prompt])
    patience = max(_PATIENCE, 20 * pause, 3 * longest_gap(model.answered(path)))
    model.calls += 1
    with model.spy(pause=pause) as spy:
        try:
            if path == "stream":
                at = model.run(lambda: _leave(model, trace, spy, patience))
            else:
                at = model.run_async(lambda: _aleave(model, trace, spy, patience))
        except deadline.NoAnswer:
            raise
        except Exception as error:
            raise Skipped(f"{path} raised {type(error).__name__} when it was left") from error
    return Left(trace, _streams(spy), at)


def _leave(model: Subject, trace: Trace, spy: Spy, patience: float) -> float:
    trace.begin()
    stream = model.llm.stream(model.prompt, {"callbacks": [Recorder(trace)]})
    for chunk in stream:
        trace.mark("chunk", chunk, payload=chunk)
        if chunk:
            break
    at = time.perf_counter()
    close: Callable[[], None] = getattr(stream, "close", lambda: None)
    close()
    del stream
    while not _quiet(trace, spy) and time.perf_counter() - at < patience:
        time.sleep(0.002)
    return at


async def _aleave(model: Subject, trace: Trace, spy: Spy, patience: float) -> float:
    trace.begin()
    stream: Any = model.llm.astream(model.prompt, {"callbacks": [AsyncRecorder(trace)]})
    async for chunk in stream:
        trace.mark("chunk", chunk, payload=chunk)
        if chunk:
            break
    at = time.perf_counter()
    close = getattr(stream, "aclose", None)
    if close is not None:
        await close()
    del stream
    while not _quiet(trace, spy) and time.perf_counter() - at < patience:  # noqa: ASYNC110
        await asyncio.sleep(0.002)
    return at


def _quiet(trace: Trace, spy: Spy) -> bool:
    """Whether all has come to its end, in the model and in the traces."""
    over = trace.of("end") or trace.of("error") or not trace.of("start")
    return bool(over) and all(visit.left is not None for visit in _streams(spy))


def _streams(spy: Spy) -> list[Visit]:
    return [visit for visit in spy.visits if visit.method in ("_stream", "_astream")]


def longest_gap(trace: Trace) -> float:
    """Return the longest time between two chunks, or before the first."""
    times = [0.0, *(mark.seconds for mark in trace.of("chunk"))]
    return max((b - a for a, b in itertools.pairwise(times)), default=0.0)


def remembered(model: Subject, path: str) -> Left:
    """Return the first attempt to leave a stream, once for all clauses that ask for it."""
    return model.once(f"leaving {path}", lambda: leave(model, path, _PAUSES[0]))


def closes(model: Subject, path: str) -> None:
    """Fail unless the author's generator is closed, promptly, when the reader leaves.

    Raises:
        Failed: It goes on, or its closing takes most of what the rest of the stream would take.
        Skipped: There is no generator, or it is too short to be left early.
    """
    if not model.streams:
        raise Skipped("the model does not stream, so there is nothing to leave early")
    trace = model.answered(path)
    chunks = sum(bool(chunk) for chunk in trace.chunks)
    if chunks < _TELLING:
        raise Skipped(f"the answer has too few chunks to be left early: {chunks}")
    times = [mark.seconds for mark in trace.of("chunk")]
    rest = times[-1] - times[0]
    seen = []
    for pause in _PAUSES:
        left = remembered(model, path) if pause == _PAUSES[0] else leave(model, path, pause)
        if not left.visits:
            raise Skipped(f"no generator of the model's author stands behind {path}")
        drained = rest >= 0.15 and left.closing > rest / 2
        if left.closed(len(trace.chunks)) and not drained:
            return
        seen.append((left, drained))
    left, drained = min(seen, key=lambda one: one[0].closing)
    if left.closed(len(trace.chunks)) and drained:
        raise Failed(
            f"closing {path} after its first chunk took {left.closing:.2f} s, where reading the "
            f"rest takes {rest:.2f} s: the model goes on for nobody",
            _slow_script(path, model.prompt),
        )
    raise Failed(
        f"after the reader of {path} had left, the model's generator {_lives_on(left)}",
        _open_script(path, left.visits[0].method, model.prompt),
    )


def _lives_on(left: Left) -> str:
    errors = [visit.error for visit in left.visits if visit.error is not None]
    if errors:
        return f"did not end and raised {type(errors[0]).__name__}: {errors[0]}"
    given = max(visit.chunks for visit in left.visits)
    if any(visit.left is None for visit in left.visits):
        return f"was still open {_PATIENCE:g} s later, after {given} chunks"
    return f"ran to its end and gave all its {given} chunks"


def _open_script(path: str, method: str, prompt: str) -> str:
    watch = _WATCH if method == "_stream" else _AWATCH
    leave = _LEAVE if path == "stream" else _ALEAVE
    return script(
        *inject.choosing(method),
        watch,
        *inject.putting(method, "watched"),
        leave % (prompt,),
        'assert closed, "the generator was not closed"',
    )


def _slow_script(path: str, prompt: str) -> str:
    if path == "stream":
        body = [
            f"stream = llm.stream({prompt!r})",
            "next(stream)",
            "begin = time.perf_counter()",
            "stream.close()",
            "closing = time.perf_counter() - begin",
            f"stream = llm.stream({prompt!r})",
            "next(stream)",
            "begin = time.perf_counter()",
            'rest = "".join(stream)',
            "reading = time.perf_counter() - begin",
        ]
    else:
        body = [
            "async def measure():",
            f"    stream = llm.astream({prompt!r})",
            "    await anext(stream)",
            "    begin = time.perf_counter()",
            "    await stream.aclose()",
            "    others = asyncio.all_tasks() - {asyncio.current_task()}",
            "    await asyncio.gather(*others, return_exceptions=True)",
            "    closing = time.perf_counter() - begin",
            f"    stream = llm.astream({prompt!r})",
            "    await anext(stream)",
            "    begin = time.perf_counter()",
            "    rest = [chunk async for chunk in stream]",
            "    return closing, time.perf_counter() - begin",
            "",
            "closing, reading = asyncio.run(measure())",
        ]
    return script(*body, "assert closing < reading / 2, (closing, reading)")


def quiet_script(path: str, prompt: str) -> list[str]:
    """Return lines that fail if leaving a stream is reported as an error."""
    leave = _LEAVE if path == "stream" else _ALEAVE
    left = (leave % (prompt,)).replace(f"({prompt!r})", f"({prompt!r}, {LISTENING})")
    return [
        LISTENER,
        left,
        "ends = [kind for kind, _, _ in listener.seen if kind in ('end', 'error')]",
        'assert ends == ["end"], listener.seen[-1]',
    ]
