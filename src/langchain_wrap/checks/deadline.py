"""Deadlines: a model that hangs costs its seconds, and never hangs the run."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

_T = TypeVar("_T")

_CLOSING = 1.0
"""Seconds that an event loop has for its own end, once the answer is there."""


class NoAnswer(Exception):
    """A call has not ended in its time; what it runs in is left behind."""


class _Box:
    """What a thread hands over: a value or an error."""

    def __init__(self) -> None:
        self.value: Any = None
        self.error: BaseException | None = None
        self.done = threading.Event()


def run(function: Callable[[], _T], seconds: float) -> _T:
    """Return what `function` returns, called in a thread of its own.

    Raises:
        NoAnswer: It takes longer than `seconds`.
    """
    box = _Box()

    def work() -> None:
        try:
            box.value = function()
        except BaseException as error:
            box.error = error
        finally:
            box.done.set()

    _start(work)
    return _opened(box, seconds)  # type: ignore[no-any-return]


def run_async(function: Callable[[], Coroutine[Any, Any, _T]], seconds: float) -> _T:
    """Return what the coroutine of `function` returns, in an event loop of its own.

    The answer counts from when the coroutine ends; closing the loop may take a second more (a
    loop waits for the threads that it has started), and then goes on alone.

    Raises:
        NoAnswer: It takes longer than `seconds`.
    """
    box = _Box()
    started: list[tuple[asyncio.AbstractEventLoop, asyncio.Task[Any]]] = []

    async def main() -> None:
        task = asyncio.ensure_future(function())
        started.append((asyncio.get_running_loop(), task))
        try:
            box.value = await task
        except BaseException as error:
            box.error = error
        finally:
            box.done.set()

    thread = _start(lambda: asyncio.run(main()))
    try:
        return _opened(box, seconds)  # type: ignore[no-any-return]
    except NoAnswer:
        for loop, task in started:
            loop.call_soon_threadsafe(task.cancel)
        raise
    finally:
        thread.join(_CLOSING)


def _start(work: Callable[[], None]) -> threading.Thread:
    context = contextvars.copy_context()
    thread = threading.Thread(target=context.run, args=(work,), name="check", daemon=True)
    thread.start()
    return thread


def _opened(box: _Box, seconds: float) -> Any:
    if not box.done.wait(seconds):
        raise NoAnswer(f"no answer in {seconds:g} s")
    if box.error is not None:
        raise box.error
    return box.value
