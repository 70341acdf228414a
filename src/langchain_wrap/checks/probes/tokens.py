"""What the checks of token callbacks look at: streamed calls, and batches listened to."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.language_models.llms import BaseLLM

from langchain_wrap.checks.clause import Skipped
from langchain_wrap.checks.probes.paths import ASYNC, Expression, code
from langchain_wrap.checks.probes.snippets import LISTENING
from langchain_wrap.checks.probes.trace import Mark, Trace
from langchain_wrap.checks.subject import Subject
from langchain_wrap.contract import Contract
from langchain_wrap.pipeline import core

WHOLE = ("invoke", "ainvoke", "stream", "astream")
"""The paths of one prompt."""


def streams_on(model: Subject, path: str) -> bool:
    """Whether the author has written something that streams on a path."""
    if not model.streams or isinstance(model.llm, Contract):
        return model.streams
    names = ("_stream", "stream") if path == "stream" else ("_stream", "_astream", "astream")
    return any(getattr(type(model.llm), name) is not getattr(BaseLLM, name) for name in names)


def streamed(model: Subject, path: str) -> Trace:
    """Return a streamed call that has given text.

    Raises:
        Skipped: There is none.
    """
    if not streams_on(model, path):
        raise Skipped(f"the model does not stream in {path}")
    trace = model.answered(path)
    if not any(texts(trace, "chunk")):
        raise Skipped("the answer is empty, so there is no token to report")
    return trace


def texts(trace: Trace, kind: Any) -> list[str]:
    """Return the texts of the tokens or chunks of a call.

    Those without text are left out: a model may report and deliver facts with them, or not.
    """
    return [mark.text for mark in trace.of(kind) if mark.text]


def first_late(trace: Trace) -> str | None:
    """Return the first chunk that its reader had before the callback had been called for it."""
    reported = delivered = 0
    for mark in trace.marks:
        if mark.kind == "token" and mark.text:
            reported += 1
        elif mark.kind == "chunk" and mark.text:
            delivered += 1
            if delivered > reported:
                return mark.text
    return None


def never_awaited(model: Subject) -> bool:
    """Whether `astream` makes coroutines that it does not await, as Python warns."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model.call("astream", again=True)
    return any("on_llm_new_token' was never awaited" in str(one.message) for one in caught)


def ordinary(model: Subject) -> Iterator[Trace]:
    """Yield a call of each path of one prompt that works.

    Raises:
        Skipped: There is none.
    """
    model.text()
    traces = [trace for trace in map(model.call, WHOLE) if trace.error is None]
    if not traces:
        raise Skipped("no path works")
    yield from traces


def listened(path: str, *prompts: str) -> str:
    """Return Python that makes a call with a `listener`."""
    return code(path, list(prompts), config=Expression(LISTENING))


def reading(path: str, prompt: str, *each: str) -> list[str]:
    """Return lines of a script that read a stream with a `listener`, with lines for each chunk."""
    called = f"llm.{path}({prompt!r}, {LISTENING})"
    if path not in ASYNC:
        return ["got = []", f"for chunk in {called}:", *(f"    {line}" for line in each)]
    return [
        "got = []", "", "", "async def read():", f"    async for chunk in {called}:",
        *(f"        {line}" for line in each), "", "", "asyncio.run(read())",
    ]  # fmt: skip


def by_prompt(trace: Trace) -> dict[str, list[list[Mark]]]:
    """Return the runs of a batch by the prompt that each has started with."""
    found: dict[str, list[list[Mark]]] = {}
    for marks in trace.runs.values():
        prompt = next((mark.text for mark in marks if mark.kind == "start"), "")
        found.setdefault(prompt, []).append(marks)
    return found


def wants_every_chunk() -> BaseCallbackHandler:
    """Return a callback handler for which a model that can stream does so in a batch as well.

    Raises:
        Skipped: langchain-core has no such handlers any more.
    """
    kind = core.streaming_kind()
    if kind is None:  # pragma: no cover
        raise Skipped("this langchain-core has no handlers that ask for chunks")

    def pass_on(self: Any, run_id: Any, output: Any) -> Any:
        return output

    taps = {"tap_output_aiter": pass_on, "tap_output_iter": pass_on}
    made: BaseCallbackHandler = type("EveryChunk", (BaseCallbackHandler, kind), taps)()
    return made
