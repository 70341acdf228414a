"""ASYNC, its clauses about calls that are cancelled."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

from langchain_wrap.checks.clause import Skipped
from langchain_wrap.checks.clauses.asynchronous import SLOW, area, starting
from langchain_wrap.checks.probes import inject
from langchain_wrap.checks.probes.cancelling import Ended, cancel
from langchain_wrap.checks.probes.slow import slowed
from langchain_wrap.checks.probes.spy import ASYNC, STREAMS, Spy, Visit
from langchain_wrap.checks.subject import Subject, shown


def _cancelled(
    model: Subject, path: str, when: float | int | Callable[[], bool], seconds: float
) -> Ended:
    """Cancel a call; a call that cannot be stopped has ended before the next check begins."""
    model.calls += 1
    return model.run_async(
        lambda: cancel(model.llm, path, model.prompt, when, patience=seconds),
        model.timeout + seconds,
    )


def _is_blocking(spy: Spy) -> bool:
    return any(visit.method not in ASYNC for visit in spy.visits)


def _settle(spy: Spy, seconds: float) -> None:
    """Wait for what is still inside the model."""
    waiting = threading.Event()
    for _ in range(int(seconds / 0.01) + 1):
        if not spy.inside:
            return
        waiting.wait(0.01)


_AFTER = 0.05
"""Seconds after which a call that takes long enough is cancelled."""


def _cancelled_by_itself(model: Subject, path: str) -> Ended:
    """Return how a slow model's call ends that is cancelled; once for all who ask."""
    seconds = model.answered(path).seconds
    return model.once(f"cancelled {path}", lambda: _cancelled(model, path, _AFTER, seconds + 1.0))


def _check_prompt(model: Subject, path: str) -> None:
    """Check that a cancelled task is free long before its call would have ended."""
    usual = model.answered(path).seconds
    took: list[float] = []
    for delay in (0.0,) * 3 if usual >= SLOW else (0.3, 0.6, 1.0):
        left = (delay or usual) - _AFTER
        if not delay and not took:
            ended = _cancelled_by_itself(model, path)
        else:
            with model.spy(around=slowed(delay)) as spy:
                ended = _cancelled(model, path, _AFTER, left + 1.0)
                blocking = _is_blocking(spy)
                _settle(spy, min(left + usual, 2.0))
        if delay and not blocking:
            raise Skipped("the model's own async method answers too fast to be cancelled inside")
        if ended.done:
            raise Skipped("the model was done before it could be cancelled")
        if ended.seconds < 0.5 * left:
            return
        took.append(ended.seconds)
    injected = inject.sleeping(inject.visited(spy), 0.5) if delay else []
    model.expect(
        False,
        f"{path}: the task was cancelled {left:.2f} s before the model was done, and ended "
        f"{took[-1]:.2f} s later",
        *injected,
        "async def main():",
        f"    task = asyncio.ensure_future({starting(path, model.prompt)})",
        f"    await asyncio.sleep({_AFTER})",
        "    task.cancel()",
        "    began = time.perf_counter()",
        "    await asyncio.wait([task])",
        "    return time.perf_counter() - began",
        "",
        "took = asyncio.run(main())",
        f"assert took < {0.2 if delay else round(0.5 * left, 2)}, took",
    )


_FIX_PROMPT = (
    "Let `CancelledError` out of the await at which it arrives: no `asyncio.shield` that is waited "
    "for, no loop that goes on waiting in `except` or `finally`."
)


@area.clause(
    7,
    "Cancelling the task of `ainvoke` frees it at once.",
    level="contract",
    why="Timeouts do not work: a user who has gone keeps a place in the server until the end.",
    source="Python asyncio.Task.cancel: «arranges for a CancelledError exception to be thrown into "
    "the wrapped coroutine on the next cycle of the event loop»",
    fix=_FIX_PROMPT,
)
def ainvoke_is_cancelled(model: Subject) -> None:
    _check_prompt(model, "ainvoke")


@area.clause(
    8,
    "Cancelling the task that reads `astream` frees it at once.",
    level="contract",
    why="Timeouts do not work: a user who has gone keeps a place in the server until the end.",
    source="Python asyncio.Task.cancel: «arranges for a CancelledError exception to be thrown into "
    "the wrapped coroutine on the next cycle of the event loop»",
    fix=_FIX_PROMPT,
)
def astream_is_cancelled(model: Subject) -> None:
    _check_prompt(model, "astream")


@area.clause(
    9,
    "A cancelled `ainvoke` or `astream` raises `CancelledError`.",
    level="contract",
    why="`asyncio.timeout` and task groups take a cancelled call for one that was answered; half "
    "an answer goes on through the chain.",
    source="Python asyncio, Task Cancellation: «In case asyncio.CancelledError is explicitly "
    "caught, it should generally be propagated when clean-up is complete.»",
    fix="After `except asyncio.CancelledError:` (and `except BaseException:`) clean up, and "
    "`raise`.",
)
def cancelling_is_not_swallowed(model: Subject) -> None:
    model.text()
    told = False
    for path in ("ainvoke", "astream"):
        usual = model.answered(path).seconds
        turns: list[float | int] = [1, 2, 3, 4, 5, 6, 8, 10, 13, 17, 22, 30]
        if usual >= 0.05:
            turns = [1, _AFTER] if usual >= SLOW else [1, 5, 20, 0.3 * usual]
        swallowed: list[tuple[float | int, Ended]] = []
        with model.spy() as spy:
            for when in turns:
                if usual >= SLOW and when == _AFTER:
                    ended = _cancelled_by_itself(model, path)
                else:
                    ended = _cancelled(model, path, when, usual + 1.0)
                if ended.done:
                    break
                told = True
                if not (ended.cancelled or ended.hangs):
                    swallowed.append((when, ended))
            _settle(spy, min(usual, 2.0))
        with model.spy(around=slowed(0.2)) as spy:
            if usual < 0.05:
                ended = _cancelled(model, path, _AFTER, 1.0)
                if not (ended.done or ended.cancelled or ended.hangs) and _is_blocking(spy):
                    swallowed.append((_AFTER, ended))
            _settle(spy, 0.3)
        _judge_swallowed(model, path, swallowed)
    if not told:
        raise Skipped("the model answers before its task could be cancelled")


def _judge_swallowed(model: Subject, path: str, swallowed: list[tuple[float | int, Ended]]) -> None:
    # Once may be chance: until Python 3.12, `asyncio.wait_for` itself loses a cancel that arrives
    # in the very turn in which its result does.
    text = model.answered(path).text
    whole = [ended for _, ended in swallowed if ended.value == text and ended.seconds < 0.1]
    if not swallowed or (len(swallowed) == 1 and whole):
        return
    when, ended = next((w, e) for w, e in swallowed if e not in whole or len(swallowed) > 1)
    injected = when == _AFTER and model.answered(path).seconds < 0.05
    with model.spy() as spy:
        pass
    method = next((name for name in spy.methods if name not in ASYNC), spy.methods[0])
    model.expect(
        False,
        f"{path}: a task that was cancelled under way {shown(ended.text)}",
        *(inject.sleeping(method, 0.2) if injected else ()),
        "async def main(when):",
        f"    task = asyncio.ensure_future({starting(path, model.prompt)})",
        "    if isinstance(when, float):",
        "        await asyncio.sleep(when)",
        "    else:",
        "        for _ in range(when):",
        "            await asyncio.sleep(0)",
        "    if not task.done():",
        "        task.cancel()",
        "        await asyncio.wait([task])",
        "        assert task.cancelled(), task",
        "",
        f"for when in {[moment for moment, _ in swallowed]}:",
        "    asyncio.run(main(when))",
    )


@area.clause(
    10,
    "Cancelling stops the model.",
    level="production",
    why="A model that nobody listens to any more goes on computing, and costs money or a GPU.",
    source="this project; langchain_core runs blocking methods in threads, which nothing stops.",
    fix="Write `_stream` or an async method instead of a blocking `_call`, and end the work of a "
    "thread of yours when its reader has gone; on langchain_wrap.LLM, ask for `cancel`.",
)
def cancelling_stops(model: Subject) -> None:
    model.text()
    blocking = False
    told = False
    for path in ("astream", "ainvoke"):
        count = len([chunk for chunk in model.answered("astream").chunks if chunk])
        if count < 4:
            break
        stopped = False
        for _ in range(3):
            visits, pause = _cancel_stream(model, path, count)
            streams = [visit for visit in visits if visit.method in STREAMS]
            blocking = blocking or any(v.method not in STREAMS | ASYNC for v in visits)
            if not streams:
                break
            told = True
            stopped = all(v.left is not None and (v.early or v.chunks < count - 1) for v in streams)
            if stopped:
                break
        if streams and not stopped:
            given = max(visit.chunks for visit in streams)
            model.expect(
                False,
                f"{path} was cancelled after 2 chunks, and `{streams[-1].method}` went on: it gave "
                f"{given} of {count}",
                *_watching(streams[-1].method, pause, path, model.prompt),
            )
    if not told and blocking:
        raise Skipped("a blocking method that gives its text at once cannot be stopped by anyone")
    if not told:
        raise Skipped("the model gives its answer in too few pieces to be stopped between two")


def _cancel_stream(model: Subject, path: str, count: int) -> tuple[list[Visit], float]:
    pause = min(0.2, max(0.03, 0.8 / count))
    with model.spy(pause=pause) as spy:
        begun = lambda: any(  # noqa: E731
            visit.chunks >= 2 or visit.method not in STREAMS for visit in spy.visits
        )

        async def main() -> None:
            await cancel(model.llm, path, model.prompt, begun, patience=2.0)
            for _ in range(100):  # a loop that goes on: nothing is stopped by its end
                if not spy.inside:
                    return
                await asyncio.sleep(0.01)

        model.calls += 1
        model.run_async(main, model.timeout + 3 * model.seconds)
        _settle(spy, min(count * pause, 1.0))
        return list(spy.visits), pause


def _watching(method: str, pause: float, path: str, prompt: str) -> list[str]:
    sleep = f"await asyncio.sleep({pause})" if method in ASYNC else f"time.sleep({pause})"
    a = "async " if method in ASYNC else ""
    return [
        'choose = getattr(llm, "_method", None)',
        f'method = choose("{method}") if choose else llm.{method}',
        "given, stopped = [], []",
        "",
        f"{a}def watched(prompt, *args, **kwargs):",
        "    try:",
        f"        {a}for chunk in method(prompt, *args, **kwargs):",
        f"            {sleep}",
        "            given.append(chunk)",
        "            yield chunk",
        "    except BaseException:",
        "        stopped.append(True)",
        "        raise",
        "",
        *inject.putting(method, "watched"),
        "async def main():",
        f"    task = asyncio.ensure_future({starting(path, prompt)})",
        "    while len(given) < 2:",
        "        await asyncio.sleep(0.002)",
        "    task.cancel()",
        "    await asyncio.wait([task])",
        "    await asyncio.sleep(2)",
        "",
        "asyncio.run(main())",
        "assert stopped, len(given)",
    ]
