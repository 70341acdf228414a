"""ASYNC: async."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import threading
from typing import Any

from langchain_core.language_models.llms import BaseLLM

from langchain_wrap.checks.clause import Area, Failed, Skipped
from langchain_wrap.checks.probes import deadline, inject
from langchain_wrap.checks.probes.crowd import (
    Ask,
    Got,
    agrees,
    in_tasks,
    is_refusal,
    patience,
    several,
)
from langchain_wrap.checks.probes.heartbeat import DELAY, watch, watched
from langchain_wrap.checks.probes.paths import STREAMS as STREAMED
from langchain_wrap.checks.probes.paths import code, script
from langchain_wrap.checks.probes.spy import ASYNC, PROBE, Visit
from langchain_wrap.checks.subject import Subject, describe_error

area = Area("ASYNC", "Async")

SLOW = 0.4
"""Seconds a call from which on a model is cancelled by its own time, and asked less often."""


def starting(path: str, prompt: str) -> str:
    """Return the expression that starts an async call, for a script."""
    called = code(path, [prompt]).replace("asyncio.run", "", 1)
    return called.replace('"".join', "", 1) if path in STREAMED else called


def _check_not_blocked(model: Subject, path: str) -> None:
    seen = watched(model, path)
    if not seen.told:
        raise Skipped(
            "the model's own async method answers too fast to tell whether it blocks the loop"
        )
    for delay in (DELAY, 2 * DELAY, 4 * DELAY):
        if delay > DELAY:
            seen = watch(model, path, delay)
        if not seen.blocked:
            return
    if seen.noisy:
        raise Skipped("this machine is too busy: an idle event loop stands still as long")
    took = f"a call of {seen.seconds:.2f} s"
    method = next((visit.method for visit in seen.visits if visit.method not in ASYNC), "")
    injected = bool(method) and seen.own < seen.delay
    raise Failed(
        f"{path}: the event loop stood still for {seen.gap:.2f} s in {took}",
        script(
            *(inject.sleeping(method, 0.5) if injected else ()),
            "async def beat(gaps):",
            "    while True:",
            "        began = time.perf_counter()",
            "        await asyncio.sleep(0.005)",
            "        gaps.append(time.perf_counter() - began)",
            "",
            "async def main():",
            "    gaps = []",
            "    beating = asyncio.ensure_future(beat(gaps))",
            "    await asyncio.sleep(0.02)",
            f"    await {starting(path, model.prompt)}",
            "    await asyncio.sleep(0.02)",
            "    beating.cancel()",
            "    return max(gaps)",
            "",
            "gap = asyncio.run(main())",
            f"assert gap < {0.25 if injected else round(max(0.05, 0.5 * seen.gap), 3)}, gap",
        ),
    )


_FIX_BLOCK = (
    "In the async method, await an async client, or `asyncio.to_thread(self._call, …)`; or leave "
    "the async method out: the base class then runs the blocking one in a thread."
)


@area.clause(
    1,
    "`ainvoke` does not block the event loop.",
    level="contract",
    why="A server stands still for all its users as long as one of them waits for an answer.",
    source="langchain_core LLM._acall: «The default implementation delegates to the synchronous "
    "_call method using `run_in_executor`.»",
    fix=_FIX_BLOCK,
)
def ainvoke_does_not_block(model: Subject) -> None:
    _check_not_blocked(model, "ainvoke")


@area.clause(
    2,
    "`astream` does not block the event loop.",
    level="contract",
    why="A server stands still for all its users as long as one of them waits for a token.",
    source="langchain_core BaseLLM._astream: «The default implementation uses the synchronous "
    "_stream method and wraps it in an async iterator.»",
    fix=_FIX_BLOCK,
)
def astream_does_not_block(model: Subject) -> None:
    _check_not_blocked(model, "astream")


def _loop_asks(model: Subject) -> list[Ask]:
    prompts = several(model)
    paths = ["ainvoke"]
    if not model.slow and agrees(model, "astream", "ainvoke"):
        paths.append("astream")
    count = 2 if model.slow else 8
    return [Ask(paths[i % len(paths)], prompts[i % len(prompts)]) for i in range(count)]


_GATHER = """\
async def read(stream):
    return "".join([chunk async for chunk in stream])

async def main():
    await asyncio.gather({calls})
"""


def _gathering(asks: list[Ask]) -> list[str]:
    calls = ", ".join(starting(ask.path, ask.prompt) for ask in asks)
    return _GATHER.format(calls=f"*[{calls}]").splitlines()


@area.clause(
    3,
    "A second event loop works after the first is closed.",
    level="contract",
    why="The second `asyncio.run` of a script, the second test, the next task of a worker: each "
    "fails with «Event loop is closed», or waits forever.",
    source="langchain_core RunnableLambda and `Runnable.batch` of async code start loops of their "
    "own; nothing in BaseLLM ties an object to one event loop.",
    fix="Keep no loop, lock, semaphore, queue or client session of asyncio on `self` beyond a "
    "call; or keep one for each running loop.",
)
def second_loop(model: Subject) -> None:
    model.text()
    model.answered("ainvoke")
    asks = _loop_asks(model)
    lines = [*_gathering(asks), "", "asyncio.run(main())", "asyncio.run(main())"]
    llm = model.fresh()
    for _ in range(2 if model.slow else 3):
        try:
            got = deadline.run_async(lambda: in_tasks(llm, asks), patience(model, len(asks)))
        except deadline.NoAnswer as late:
            _back_to_one_loop(model)
            raise Failed(f"in a second event loop: {late}", script(*lines)) from None
        model.calls += len(asks)
        _check_loop(model, got, "in a second event loop", lines)


def _back_to_one_loop(model: Subject) -> None:
    """Use up what a model that has failed here keeps of closed loops: later checks need it not."""
    asks = [Ask("ainvoke", model.prompt)] * (2 if model.slow else 16)
    seconds = 2.0 + 3 * len(asks) * model.seconds
    for _ in range(5):
        with contextlib.suppress(deadline.NoAnswer):
            got = model.run_async(lambda: in_tasks(model.llm, asks), seconds)
            model.calls += len(got)
            if not any(one.error for one in got):
                return


def _check_loop(model: Subject, got: list[Got], where: str, lines: list[str]) -> None:
    errors = [one.error for one in got if one.error is not None]
    if errors:
        _back_to_one_loop(model)
    if errors and all(is_refusal(error) for error in errors):
        raise Skipped(f"the model takes no {len(got)} calls at once: {describe_error(errors[0])}")
    model.expect(
        not errors,
        f"{where}, {len(errors)} of {len(got)} calls raised "
        f"{describe_error(errors[0]) if errors else ''}",
        *lines,
    )


@area.clause(
    4,
    "Two event loops work at once, in two threads.",
    level="contract",
    why="Sync code that runs async models, notebooks and servers with several workers fail, or "
    "hang, only under load.",
    source="langchain_core Runnable.batch runs each input in a thread, in which async code has an "
    "event loop of its own; nothing in BaseLLM ties an object to one event loop.",
    fix="Take `asyncio.get_running_loop()` inside the call and keep it in a local variable; share "
    "no asyncio object between calls.",
)
def two_loops(model: Subject) -> None:
    model.text()
    model.answered("ainvoke")
    asks = _loop_asks(model)
    lines = [
        *_gathering(asks),
        "",
        "errors, together = [], threading.Barrier(2)",
        "",
        "def run():",
        "    together.wait()",
        "    try:",
        f"        for _ in range({3 if model.slow else 30}):",
        "            asyncio.run(asyncio.wait_for(main(), 30))",
        "    except Exception as error:",
        "        errors.append(error)",
        "",
        "threads = [threading.Thread(target=run) for _ in range(2)]",
        "for thread in threads:",
        "    thread.start()",
        "for thread in threads:",
        "    thread.join()",
        "assert not errors, errors",
    ]
    llm = model.fresh()
    for _ in range(1 if model.slow else 3):
        try:
            got = model.run(lambda: _two_loops(llm, asks), patience(model, 2 * len(asks)))
        except deadline.NoAnswer as late:
            _back_to_one_loop(model)
            raise Failed(f"with two event loops at once: {late}", script(*lines)) from None
        model.calls += len(got)
        _check_loop(model, got, "with two event loops at once", lines)


def _two_loops(llm: BaseLLM, asks: list[Ask]) -> list[Got]:
    together = threading.Barrier(2)
    found: list[Got] = []

    async def main() -> list[Got]:
        together.wait()
        return await in_tasks(llm, asks)

    def run() -> None:
        try:
            found.extend(asyncio.run(main()))
        except BaseException as error:
            found.append(Got(asks[0], error=error))

    threads = [
        threading.Thread(
            target=contextvars.copy_context().run, args=(run,), name="loop", daemon=True
        )
        for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


# --- context variables ---


def _check_context(model: Subject, path: str, visits: list[Visit], arrived: bool) -> bool:
    if arrived:
        return bool(visits)
    method = visits[-1].method
    raise Failed(
        f"{path}: a context variable that the caller has set is not set in `{method}`",
        script(
            'var = contextvars.ContextVar("var", default="unset")',
            "seen = []",
            "",
            *inject.before(method, "seen.append(var.get())"),
            'var.set("set")',
            code(path, [model.prompt]),
            'assert "unset" not in seen, seen',
        ),
    )


_FIX_CONTEXT = (
    "Hand work to threads with `asyncio.to_thread` or langchain_core's `run_in_executor`, both of "
    "which copy the context; `loop.run_in_executor` and plain thread pools do not "
    "(`contextvars.copy_context().run`)."
)


@area.clause(
    5,
    "Context variables of the caller arrive in the model in `ainvoke`, `astream` and `abatch`.",
    level="contract",
    why="Traces lose their parents, and code that reads the user, tenant or request id from a "
    "context variable gets none, or another one.",
    source="langchain_core run_in_executor: «Use default executor with context copied from current "
    "context»",
    fix=_FIX_CONTEXT,
)
def context_arrives_async(model: Subject) -> None:
    model.text()
    told = False
    for path in ("ainvoke", "astream"):
        model.answered(path)
        seen = watched(model, path)
        told = _check_context(model, path, seen.visits, seen.arrived) or told
    told = _check_context_of(model, "abatch") or told
    if not told:
        raise Skipped("the calls come to none of the methods of a custom LLM")


@area.clause(
    6,
    "Context variables of the caller arrive in the model in `invoke`, `stream` and `batch`.",
    level="contract",
    why="Traces lose their parents, and code that reads the user, tenant or request id from a "
    "context variable gets none, or another one.",
    source="langchain_core ContextThreadPoolExecutor: «ThreadPoolExecutor that copies the context "
    "to the child thread.»",
    fix=_FIX_CONTEXT,
)
def context_arrives_sync(model: Subject) -> None:
    model.text()
    paths = ["batch"] if model.slow else ["invoke", "stream", "batch"]
    told = [_check_context_of(model, path) for path in paths]
    if not any(told):
        raise Skipped("the calls come to none of the methods of a custom LLM")


def _check_context_of(model: Subject, path: str) -> bool:
    if path == "batch" or path == "abatch":
        model.answered("invoke")
    token = PROBE.set("checked")
    prompts: list[Any] = several(model)[:2] if path in ("batch", "abatch") else [model.prompt]
    try:
        with model.spy(fail=_never if not model.slow else _always) as spy:
            model.call(path, *prompts, again=True, seconds=patience(model, len(prompts)))
    finally:
        PROBE.reset(token)
    visits = list(spy.visits)
    return _check_context(model, path, visits, all(v.probe == "checked" for v in visits))


def _never(_: str) -> None:
    return None


def _always(_: str) -> RuntimeError:
    return RuntimeError("refused")
