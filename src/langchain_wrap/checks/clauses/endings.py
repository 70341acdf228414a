"""STREAM, its clauses about the end: left early, and broken off."""

from __future__ import annotations

from langchain_wrap.checks.clause import Skipped
from langchain_wrap.checks.clauses.stream import area, texts
from langchain_wrap.checks.probes import inject, leaving
from langchain_wrap.checks.probes.snippets import LISTENER, LISTENING
from langchain_wrap.checks.subject import Subject, describe_error, shown

_CLOSE = (
    "Write the loop of `_stream` so that leaving it closes the connection (`with …` or "
    "`finally: response.close()`); do not catch `GeneratorExit`, do not read the rest in "
    "`finally`, and tell a thread of your own to end."
)
_COSTS = "The model goes on computing, and costing, for a reader who has gone."


@area.clause(
    11,
    "Leaving a `stream` early closes the model's generator at once.",
    level="contract",
    why=_COSTS,
    source="Python closes a generator that is left; langchain_core BaseLLM.stream hands that on "
    "to `_stream`.",
    fix=_CLOSE,
)
def closes_stream(model: Subject) -> None:
    leaving.closes(model, "stream")


@area.clause(
    12,
    "Leaving an `astream` early closes the model's generator at once.",
    level="contract",
    why=_COSTS,
    source="An event loop closes an async generator that is left; langchain_core BaseLLM.astream "
    "hands that on to `_astream`.",
    fix=_CLOSE.replace("`_stream`", "`_astream`"),
)
def closes_astream(model: Subject) -> None:
    leaving.closes(model, "astream")


@area.clause(
    13,
    "Leaving a stream early is not traced as an error.",
    level="production",
    why="Every user who presses Stop shows up as a failed run, and real failures drown in them.",
    source="This project. langchain-core's `stream` and `astream` report `GeneratorExit` to "
    "`on_llm_error`.",
    fix="Use `langchain_wrap.LLM`, which ends such a run with the text so far and "
    '`finish_reason="cancelled"`; or override `stream` and `astream`.',
)
def leaves_no_error(model: Subject) -> None:
    for path in ("stream",) if model.slow and not model.streams else ("stream", "astream"):
        trace = leaving.remembered(model, path).trace
        errors = [describe_error(mark.payload) for mark in trace.of("error")]
        script = leaving.quiet_script(path, model.prompt)
        model.expect(not errors, f"{path}, left early, told on_llm_error: {errors[:1]}", *script)
        if not trace.of("start"):
            raise Skipped(f"{path} reports no start, so its end cannot be told")
        model.expect(
            len(trace.of("end")) == 1,
            f"{path}, left early, told on_llm_end {len(trace.of('end'))} times",
            *script,
        )


class _BrokenOff(Exception):
    """What a check raises in the middle of a stream."""


@area.clause(
    14,
    "An error in the middle of a stream reaches the reader as it is, after the text before it.",
    level="contract",
    why="Half an answer is taken for a whole one, or the text that has come is lost, or nobody "
    "can tell by the type what went wrong.",
    source="langchain_core BaseLLM.stream: what `_stream` raises goes to `on_llm_error` and is "
    "raised again.",
    fix="Do not catch what `_stream` raises, neither there nor in a `stream` of your own; yield "
    "each chunk as it comes.",
)
def raises_in_the_middle(model: Subject) -> None:
    told = [path for path in ("stream", "astream") if _error_passes(model, path)]
    if not told:
        raise Skipped("no generator of the model's author stands behind the streams, to raise in")


def _error_passes(model: Subject, path: str) -> bool:
    whole = texts(model.answered(path))
    if not whole:
        return False
    after = min(3, max(1, len(whole) - 1))
    with model.spy(fail=lambda prompt: _BrokenOff("broken off"), fail_after=after) as spy:
        trace = model.call(path, again=True)
    visits = [visit for visit in spy.visits if visit.method in ("_stream", "_astream")]
    if not visits or not isinstance(visits[0].error, _BrokenOff):
        return False  # a generator that cannot be closed raises an error of its own
    script = _error_script(path, visits[0].method, model.prompt)
    came = "nothing" if trace.error is None else describe_error(trace.error)
    message = f"`{visits[0].method}` raised an error after {visits[0].chunks} chunks, and"
    model.expect(isinstance(trace.error, _BrokenOff), f"{message} {path} raised {came}", *script)
    # The last chunk before the error may be held back, where it may have been the last of all.
    told = visits[0].chunks >= 3 and visits[0].said
    model.expect(texts(trace) or not told, f"{message} {path} gave none of their text", *script)
    if trace.of("start"):
        errors = [mark.payload for mark in trace.of("error")]
        model.expect(
            len(errors) == 1 and isinstance(errors[0], _BrokenOff),
            f"{message} on_llm_error was told {shown(errors)}",
            *script,
        )
    return True


def _error_script(path: str, method: str, prompt: str) -> list[str]:
    taken = f"    for chunk in llm.stream({prompt!r}, {LISTENING}):\n        got.append(chunk)"
    if path == "astream":
        taken = (
            "    async def take():\n"
            f"        async for chunk in llm.astream({prompt!r}, {LISTENING}):\n"
            "            got.append(chunk)\n\n"
            "    asyncio.run(take())"
        )
    a = "async " if method == "_astream" else ""
    return [
        LISTENER,
        "",
        "class BrokenOff(Exception):",
        "    pass",
        "",
        *inject.choosing(method),
        f"{a}def failing(*args, **kwargs):",
        "    given = 0",
        f"    {a}for chunk in method(*args, **kwargs):",
        "        if given == 2:",
        "            raise BrokenOff",
        "        given += 1",
        "        yield chunk",
        "",
        *inject.putting(method, "failing"),
        "got = []",
        "try:",
        taken,
        "except BrokenOff:",
        '    assert "".join(got), "the text before the error is lost"',
        "    assert len(listener.of('error')) == 1, listener.of('error')",
        "else:",
        '    raise AssertionError(f"no error, only {got}")',
    ]
