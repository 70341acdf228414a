"""The six ways to call an LLM, each as a trace, and as the line of Python that does it."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from langchain_core.language_models.llms import BaseLLM

from langchain_wrap.checks.probes import deadline
from langchain_wrap.checks.probes.trace import AsyncRecorder, Recorder, Trace

PATHS = ("invoke", "ainvoke", "batch", "abatch", "stream", "astream")
ASYNC = frozenset({"ainvoke", "abatch", "astream"})
BATCHES = frozenset({"batch", "abatch"})
STREAMS = frozenset({"stream", "astream"})

RunAsync = Callable[[Callable[[], Coroutine[Any, Any, Any]], float], Any]
"""Runs a coroutine within a deadline, in whatever loop."""


def call(
    llm: BaseLLM,
    path: str,
    prompts: Sequence[Any],
    *,
    seconds: float,
    config: dict[str, Any] | None = None,
    run_async: RunAsync = deadline.run_async,
    **kwargs: Any,
) -> Trace:
    """Call a model and note what happens; an error of the model is in the trace.

    Args:
        llm: The model.
        path: One of `PATHS`.
        prompts: One prompt, or those of a batch.
        seconds: How long the call may take.
        config: More of the RunnableConfig than our own callback handler.
        run_async: What to run async paths with, in place of an event loop of their own.
        **kwargs: Handed to the call: `stop` and its parameters.

    Raises:
        NoAnswer: It takes longer.
    """
    trace = Trace(path, [str(prompt) for prompt in prompts])
    given = heard(config, AsyncRecorder(trace) if path in ASYNC else Recorder(trace))

    def work() -> None:
        trace.begin()
        trace.texts = _sync(llm, path, list(prompts), given, trace, kwargs)

    async def awork() -> None:
        trace.begin()
        trace.texts = await _async(llm, path, list(prompts), given, trace, kwargs)

    carry_out(trace, work, awork, seconds, run_async)
    return trace


def heard(config: dict[str, Any] | None, recorder: Any) -> dict[str, Any]:
    """Return a RunnableConfig with one more callback handler."""
    given = dict(config or {})
    given["callbacks"] = [*given.get("callbacks", ()), recorder]
    return given


def carry_out(
    trace: Trace,
    work: Callable[[], None],
    awork: Callable[[], Coroutine[Any, Any, None]],
    seconds: float,
    run_async: RunAsync,
) -> None:
    """Do a trace's call, in the way that its path asks for; an error goes into the trace.

    Raises:
        NoAnswer: It takes longer.
    """
    try:
        if trace.path in ASYNC:
            run_async(awork, seconds)
        else:
            deadline.run(work, seconds)
    except (deadline.NoAnswer, KeyboardInterrupt):
        raise
    except BaseException as error:
        trace.error = error
    trace.end()


def _sync(
    llm: BaseLLM, path: str, prompts: list[Any], config: Any, trace: Trace, kwargs: dict[str, Any]
) -> list[Any]:
    if path == "invoke":
        return [llm.invoke(prompts[0], config, **kwargs)]
    if path == "batch":
        return llm.batch(prompts, config, **kwargs)
    for chunk in llm.stream(prompts[0], config, **kwargs):
        trace.mark("chunk", chunk, payload=chunk)
    return [_joined(trace)]


async def _async(
    llm: BaseLLM, path: str, prompts: list[Any], config: Any, trace: Trace, kwargs: dict[str, Any]
) -> list[Any]:
    if path == "ainvoke":
        return [await llm.ainvoke(prompts[0], config, **kwargs)]
    if path == "abatch":
        return await llm.abatch(prompts, config, **kwargs)
    async for chunk in llm.astream(prompts[0], config, **kwargs):
        trace.mark("chunk", chunk, payload=chunk)
    return [_joined(trace)]


def call_as_given(
    llm: BaseLLM,
    path: str,
    inputs: list[Any],
    config: Any,
    kwargs: dict[str, Any],
    *,
    seconds: float,
    run_async: RunAsync = deadline.run_async,
) -> list[Any]:
    """Call a model with these very objects, nothing added; return its texts.

    Raises:
        NoAnswer: It takes longer.
    """
    trace = Trace(path, [])
    if path in ASYNC:
        texts: list[Any] = run_async(
            lambda: _async(llm, path, inputs, config, trace, kwargs), seconds
        )
        return texts
    return deadline.run(lambda: _sync(llm, path, inputs, config, trace, kwargs), seconds)


def _joined(trace: Trace) -> str:
    return "".join(chunk for chunk in trace.chunks if isinstance(chunk, str))


class Expression(str):
    """Stands in `code` for a value that a script makes itself: Python, and not a value."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


def code(path: str, prompts: Sequence[Any], **kwargs: Any) -> str:
    """Return the expression that does the call and gives its text, or texts in a batch.

    A `script` that contains it defines `read` and imports what it needs.
    """
    prompt = [*prompts] if path in BATCHES else prompts[0]
    arguments = ", ".join([repr(prompt), *(f"{name}={value!r}" for name, value in kwargs.items())])
    called = f"llm.{path}({arguments})"
    if path == "stream":
        return f'"".join({called})'
    if path == "astream":
        return f'"".join(asyncio.run(read({called})))'
    return f"asyncio.run({called})" if path in ASYNC else called


_READ = """\
async def read(stream):
    return [chunk async for chunk in stream]
"""

_MODULES = (
    "asyncio", "contextvars", "copy", "json", "langchain_core.prompt_values", "pickle", "threading",
    "time",
)  # fmt: skip


def script(*lines: str) -> str:
    """Return lines as a script that stands alone, given `llm`: with its imports and `read`."""
    body = "\n".join(lines)
    parts = [
        f"import {module}"
        for module in _MODULES
        if f"{module}." in body and f"import {module}\n" not in body
    ]
    if "read(" in body and "def read(" not in body:
        parts = [*parts, *([""] if parts else []), _READ.rstrip(), ""]
    return "\n".join([*parts, *([""] if parts and parts[-1] else []), body]) + "\n"
