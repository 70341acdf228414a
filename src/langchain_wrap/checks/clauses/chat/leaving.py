"""CHAT-STREAM, its clauses about a reader who leaves."""

from __future__ import annotations

import time
from typing import Any

from langchain_wrap.checks.chat.paths import AsyncChatRecorder, ChatRecorder, ChatTrace
from langchain_wrap.checks.chat.seam import Seam, standing
from langchain_wrap.checks.chat.snippets import LISTENER
from langchain_wrap.checks.chat.subject import ChatSubject
from langchain_wrap.checks.clause import Skipped
from langchain_wrap.checks.clauses.chat.stream import area
from langchain_wrap.checks.probes.paths import STREAMS as _STREAMING

_PAUSE = 0.1
"""Seconds before each chunk, so that leaving is early."""

_PATIENCE = 2.0
"""Seconds that the model has to notice."""

_STREAMS = sorted(_STREAMING, reverse=True)


def _left(model: ChatSubject) -> dict[str, tuple[Seam, ChatTrace]]:
    """Return what was seen of streams that were left after one chunk, by their paths.

    Raises:
        Skipped: It cannot be told of any.
    """
    model.need_streams()
    found = model.once("left", lambda: {path: _leave(model, path) for path in _STREAMS})
    telling = {path: one for path, one in found.items() if one is not None}
    if not telling:
        raise Skipped(
            "answers of one chunk, or that do not come by a method of the author's that streams, "
            "cannot be left early"
        )
    return telling


def _leave(model: ChatSubject, path: str) -> tuple[Seam, ChatTrace] | None:
    pieces = len(model.ask(path).chunks)
    if pieces < 4:
        return None
    trace = ChatTrace(path, [model.prompt])
    with standing(model.llm, seam := Seam(pause=_PAUSE)) as llm:
        if path == "stream":

            def leave() -> None:
                config: Any = {"callbacks": [ChatRecorder(trace)]}
                stream: Any = llm.stream(model.prompt, config)
                next(stream)
                stream.close()

            model.run(leave)
        else:

            async def aleave() -> None:
                config: Any = {"callbacks": [AsyncChatRecorder(trace)]}
                stream: Any = llm.astream(model.prompt, config)
                await anext(stream)
                await stream.aclose()

            model.run_async(aleave)
        model.calls += 1
        until = time.perf_counter() + _PATIENCE
        while time.perf_counter() < until and not _settled(seam, trace):
            time.sleep(0.005)
    streamed = [v for v in seam.visits if v.chunks]
    return (seam, trace) if streamed else None


def _settled(seam: Seam, trace: ChatTrace) -> bool:
    return all(v.left for v in seam.visits) and bool(trace.of("end") or trace.of("error"))


_LEAVING = {
    "stream": ("stream = llm.stream(PROMPT, config)", "next(stream)", "stream.close()"),
    "astream": (
        "async def leave():",
        "    stream = llm.astream(PROMPT, config)",
        "    await anext(stream)",
        "    await stream.aclose()",
        "",
        "asyncio.run(leave())",
    ),
}


def _lines(model: ChatSubject, path: str, *, config: str) -> list[str]:
    return [
        f"config = {config}",
        *(s.replace("PROMPT", repr(model.prompt)) for s in _LEAVING[path]),
    ]


@area.clause(
    7,
    "Leaving a stream early ends the model.",
    level="contract",
    why="The model goes on computing, and costing, for nobody; a local one is busy for the next.",
    source="Python's generators: `close()` raises GeneratorExit inside; langchain_core closes "
    "`_stream` when its reader closes the stream",
    fix="Make `_stream` a generator that closes the connection in `finally`; start no thread that "
    "reads the answer on.",
)
def closes(model: ChatSubject) -> str | None:
    for path, (seam, _) in _left(model).items():
        wanted = len(model.ask(path).chunks)
        on = [v for v in seam.visits if not v.left or (not v.early and v.chunks >= wanted - 1)]
        model.expect(
            not on,
            f"{path} was left after one chunk, and the model went on"
            + ("" if all(v.left for v in on) else " and was not closed"),
            "from langchain_wrap.checks.chat.seam import Seam, standing",
            "",
            f"seam = Seam(pause={_PAUSE})",
            "with standing(llm, seam) as llm:",
            *(f"    {line}" for line in _lines(model, path, config="{}")),
            "    time.sleep(1)",
            f"whole = [v for v in seam.visits if not v.early and v.chunks >= {wanted - 1}]",
            "on = whole + [v for v in seam.visits if not v.left]",
            "assert not on, on",
        )
    return None


@area.clause(
    8,
    "Leaving a stream early is not reported as an error.",
    level="production",
    why="Every user who closes a window shows as a failure in traces and alarms, and the part of "
    "the answer that was read, and paid for, in no count.",
    source="this project's: langchain-core's base class reports GeneratorExit as an error of the "
    "run",
    fix="Derive from `langchain_wrap.ChatModel`; leaving early then ends the run with "
    '`finish_reason="cancelled"`.',
)
def no_error(model: ChatSubject) -> None:
    for path, (_, trace) in _left(model).items():
        kinds = [kind for kind in trace.kinds if kind in ("start", "end", "error")]
        model.expect(
            kinds == ["start", "end"],
            f"{path} was left after one chunk, and callbacks were told: {', '.join(kinds)}",
            LISTENER,
            *_lines(model, path, config="{'callbacks': [listener]}"),
            "kinds = [kind for kind, *_ in listener.seen if kind != 'token']",
            "assert kinds == ['start', 'end'], kinds",
        )
