"""RESOURCE: resources."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

from langchain_wrap.checks.clause import Area, Failed, Skipped
from langchain_wrap.checks.probes import inject
from langchain_wrap.checks.probes.cancelling import cancel, moments
from langchain_wrap.checks.probes.leftovers import KINDS, growth
from langchain_wrap.checks.probes.paths import script
from langchain_wrap.checks.probes.slow import slowed
from langchain_wrap.checks.probes.spy import Spy
from langchain_wrap.checks.subject import Subject

area = Area("RESOURCE", "Resources")

_SLOW = 0.2


def _works(model: Subject, path: str) -> bool:
    try:
        return model.call(path).error is None
    except (Failed, Skipped):
        return False


def _measured(
    model: Subject, cycle: Callable[[], Awaitable[None]], *, cycles: int, warm: int, calls: int
) -> dict[str, int]:
    model.calls += calls * (cycles + warm)
    return model.run_async(
        lambda: growth(cycle, cycles, warm=warm),
        model.timeout + 3 * calls * (2 * cycles + warm) * max(model.seconds, 0.05),
    )


def _after_use(model: Subject) -> dict[str, int]:
    llm, prompt = model.llm, model.prompt
    paths = [path for path in ("invoke", "stream", "ainvoke", "astream") if _works(model, path)]

    async def use(path: str) -> None:
        if path == "invoke":
            await asyncio.to_thread(llm.invoke, prompt)
        elif path == "stream":
            await asyncio.to_thread(lambda: list(llm.stream(prompt)))
        elif path == "ainvoke":
            await llm.ainvoke(prompt)
        else:
            async for _ in llm.astream(prompt):
                pass

    async def one_by_one() -> None:
        for path in paths:
            await use(path)

    async def at_once() -> None:
        await asyncio.gather(*(use(path) for path in (*paths, *paths)))

    if model.seconds <= _SLOW:
        return _measured(model, one_by_one, cycles=4, warm=3, calls=len(paths))
    # A slow model has warmed up in the checks before.
    paths = [path for path in paths if path in ("invoke", "ainvoke")]
    return _measured(model, at_once, cycles=1, warm=0, calls=2 * len(paths))


_COUNTS = {
    "threads": "threading.active_count()",
    "files": 'len(os.listdir("/proc/self/fd"))',
    "processes": "children()",
    "tasks": "len(asyncio.all_tasks())",
}

_CHILDREN = """\
from pathlib import Path

def children():
    found = 0
    for one in Path("/proc/self/task").glob("*/children"):
        try:
            found += len(one.read_text().split())
        except OSError:  # a thread that has just ended
            pass
    return found
"""


def _script(kind: str, head: list[str], body: list[str]) -> str:
    """Return a script that runs the lines of `body` again and again in one event loop."""
    count = _COUNTS[kind]
    return script(
        *(["import os", ""] if kind == "files" else []),
        *(_CHILDREN.splitlines() if kind == "processes" else []),
        *head,
        "async def main():",
        "    counts = []",
        "    for _ in range(3):",
        "        for _ in range(8):",
        *(f"            {line}" for line in body),
        "        await asyncio.sleep(0.8)",
        f"        counts.append({count})",
        "    return counts",
        "",
        "counts = asyncio.run(main())",
        "assert not (counts[2] >= counts[1] + 4 and counts[1] >= counts[0] + 4), counts",
    )


def _check_use(model: Subject, kind: str) -> None:
    model.text()
    more = model.once("left by use", lambda: _after_use(model))
    if kind not in more:
        raise Skipped(f"this system does not tell which {kind} there are")
    if not more[kind]:
        return
    body = [
        f"await asyncio.to_thread(llm.invoke, {model.prompt!r})",
        f"await asyncio.to_thread(lambda: list(llm.stream({model.prompt!r})))",
        f"await llm.ainvoke({model.prompt!r})",
        f"async for _ in llm.astream({model.prompt!r}):",
        "    pass",
    ]
    calls = (
        "2 times invoke and ainvoke"
        if model.seconds > _SLOW
        else ("4 times invoke, stream, ainvoke and astream")
    )
    raise Failed(
        f"{calls} left {more[kind]} {kind} behind, each time anew",
        _script(kind, [], body),
    )


@area.clause(
    1,
    "Calls leave no threads behind.",
    level="contract",
    why="A server that runs for a week comes to its limit of threads, and stops.",
    source="langchain_core uses the executor of the event loop or of the call, and ends it "
    "(ContextThreadPoolExecutor).",
    fix="Join a thread at the end of the call that has started it, or take one from a pool that "
    "the object keeps; end it in a `finally`.",
)
def no_threads(model: Subject) -> None:
    _check_use(model, "threads")


@area.clause(
    2,
    "Calls leave no asyncio tasks behind.",
    level="contract",
    why="Memory grows with every call, and the end of the loop says «Task was destroyed but it is "
    "pending!».",
    source="Python asyncio.create_task: «Save a reference to the result of this function»; "
    "langchain_core awaits every task that it starts.",
    fix="Await or cancel each task of a call in its `finally`; `asyncio.TaskGroup` does both.",
)
def no_tasks(model: Subject) -> None:
    _check_use(model, "tasks")


@area.clause(
    3,
    "Calls leave no files and connections open.",
    level="contract",
    why="After some hundred calls: «Too many open files».",
    source="Python: «ResourceWarning: unclosed file»; langchain_core opens none in a call.",
    fix="Open files, sockets and clients in a `with`; or keep one client for the object.",
)
def no_files(model: Subject) -> None:
    _check_use(model, "files")


@area.clause(
    4,
    "Calls leave no child processes behind.",
    level="contract",
    why="Programs that nobody waits for pile up, and keep memory or a GPU.",
    source="Python subprocess.Popen as a context manager: «the process is waited for»; "
    "langchain_core starts none.",
    fix="`subprocess.run`, or `with subprocess.Popen(…)` and `kill()` in a `finally`.",
)
def no_processes(model: Subject) -> None:
    _check_use(model, "processes")


# --- what ends early ---


async def _quiet(spy: Spy, seconds: float) -> None:
    """Wait until nobody is inside the model, so that its threads can serve the next call."""
    for _ in range(int(seconds / 0.005)):
        if not spy.inside:
            return
        await asyncio.sleep(0.005)


@area.clause(
    5,
    "Streams that are left early leave nothing behind: no thread, task, open file or process.",
    level="contract",
    why="Each user who closes the page costs the server a thread or a connection for good.",
    source="Python generator.close: «Raises a GeneratorExit at the point where the generator "
    "function was paused»; langchain_core lets it through to `_stream`.",
    fix="End in a `finally` (or a `with`) what the generator has begun: close the response, tell "
    "the thread to stop, kill the process. A thread that puts into a queue must notice that "
    "nobody takes any more.",
)
def streams_left_early(model: Subject) -> None:
    model.text()
    if not model.streams:
        raise Skipped("the model does not stream")
    llm, prompt = model.llm, model.prompt
    paths = [path for path in ("stream", "astream") if _works(model, path)]
    if not paths or len(model.call(paths[0]).chunks) < 3:
        raise Skipped("the model's stream is too short to be left early")

    async def cycle() -> None:
        if "stream" in paths:
            await asyncio.to_thread(leave)
        if "astream" in paths:
            async with contextlib.aclosing(llm.astream(prompt)) as stream:  # type: ignore[type-var]
                async for _ in stream:
                    break
        await _quiet(spy, 1.0)

    def leave() -> None:
        stream = llm.stream(prompt)
        next(stream)
        stream.close()  # type: ignore[attr-defined]

    slow = model.seconds > _SLOW
    with model.spy() as spy:
        more = _measured(model, cycle, cycles=2 if slow else 4, warm=1, calls=len(paths))
    body = []
    if "stream" in paths:
        body += [f"stream = llm.stream({prompt!r})", "next(stream)", "stream.close()"]
    if "astream" in paths:
        body += [
            f"stream = llm.astream({prompt!r})",
            "await anext(stream)",
            "await stream.aclose()",
        ]
    _report(model, more, "streams that were left early", [], body)


def _report(
    model: Subject, more: dict[str, int], what: str, head: list[str], body: list[str]
) -> None:
    for kind in KINDS:
        if more.get(kind):
            raise Failed(
                f"{what} left {more[kind]} {kind} behind, each time anew",
                _script(kind, head, body),
            )


@area.clause(
    6,
    "Calls that are cancelled leave nothing behind: no thread, task, open file or process.",
    level="contract",
    why="Each timeout costs the server a task, a thread or a connection for good.",
    source="Python asyncio, Task Cancellation: «It is recommended that coroutines use try/finally "
    "blocks to robustly perform clean-up logic.»",
    fix="Clean up in `finally`; cancel and await the tasks that the call has started.",
)
def cancelled_calls(model: Subject) -> None:
    model.text()
    paths = [path for path in ("ainvoke", "astream") if _works(model, path)]
    if not paths:
        raise Skipped("ainvoke and astream do not work")
    usual = model.seconds
    slow = usual > _SLOW
    told = False
    met: dict[str, list[float | int]] = {}

    async def cancelled(path: str) -> None:
        nonlocal told
        if path not in met:
            met[path] = [0.05] if slow else await moments(model.llm, path, model.prompt)
        for when in met[path]:
            ended = await cancel(model.llm, path, model.prompt, when, patience=usual + 1.0)
            told = told or not ended.done

    async def cycle() -> None:
        if slow:
            await asyncio.gather(*(cancelled(path) for path in (*paths, *paths)))
        else:
            for path in paths:
                await cancelled(path)
        await _quiet(spy, usual + 1.0)

    with model.spy(around=slowed(0.0 if slow else 0.01)) as spy:
        more = _measured(
            model, cycle, cycles=1 if slow else 4, warm=0 if slow else 1, calls=len(paths)
        )
    if not told:
        raise Skipped("the model answers before its task could be cancelled")
    body = [
        f"for when in {sorted({when for points in met.values() for when in points})}:",
        f"    for call in (llm.ainvoke({model.prompt!r}), read(llm.astream({model.prompt!r}))):",
        "        task = asyncio.ensure_future(call)",
        "        for _ in range(when if isinstance(when, int) else 1):",
        "            await asyncio.sleep(when if isinstance(when, float) else 0)",
        "        task.cancel()",
        "        await asyncio.wait([task])",
    ]
    head = inject.sleeping(inject.visited(spy), 0.01) if not slow else []
    _report(model, more, "calls that were cancelled", head, body)
