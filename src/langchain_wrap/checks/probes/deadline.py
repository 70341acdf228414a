"""Deadlines: a model that hangs costs its seconds, and never hangs the run."""

from __future__ import annotations

import asyncio
import concurrent.futures.thread
import contextvars
import threading
import weakref
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, TypeVar

_T = TypeVar("_T")

_CLOSING = 1.0
"""Seconds that an event loop has for its own end, once the answer is there."""


class NoAnswer(Exception):
    """A call has not ended in its time; what it runs in is left behind."""


class Ended(Exception):
    """A call raised what would end the program, such as SystemExit."""


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
            with suppress(RuntimeError):  # it has ended just now, and closed its loop
                loop.call_soon_threadsafe(task.cancel)
        raise
    finally:
        thread.join(_CLOSING)


class Loop:
    """The event loop of a model: all its async calls are made in one, as in a program.

    What a model keeps between its calls, such as a connection, may belong to the loop that it was
    made in. Only a loop that does not answer any more is left behind and replaced.
    """

    def __init__(self) -> None:
        self._begin()

    def _begin(self) -> None:
        self._turning = _Turning()
        self._ending = weakref.finalize(self, self._turning.end)

    def run(self, function: Callable[[], Coroutine[Any, Any, _T]], seconds: float) -> _T:
        """Return what the coroutine of `function` returns.

        The threads that asyncio starts for it end with it.

        Raises:
            NoAnswer: It takes longer than `seconds`.
        """
        box = _Box()
        executor = ThreadPoolExecutor(thread_name_prefix="asyncio")
        tasks: list[asyncio.Task[Any]] = []

        async def main() -> None:
            try:
                box.value = await function()
            except BaseException as error:
                box.error = error
            finally:
                box.done.set()

        def start() -> None:
            self._turning.loop.set_default_executor(executor)
            tasks.append(self._turning.loop.create_task(main(), context=context))

        context = contextvars.copy_context()
        self._turning.loop.call_soon_threadsafe(start)
        try:
            return _opened(box, seconds)  # type: ignore[no-any-return]
        except NoAnswer:
            self._give_up(tasks, box)
            raise
        finally:
            _start(executor.shutdown).join(_CLOSING)

    def _give_up(self, tasks: list[asyncio.Task[Any]], box: _Box) -> None:
        for task in tasks:
            self._turning.loop.call_soon_threadsafe(task.cancel)
        if not box.done.wait(_CLOSING):
            self._ending()
            self._begin()


class _Turning:
    """A loop that turns in a thread until it is ended."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._ended = asyncio.Event()
        _start(self._turn)

    def _turn(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self.loop) as runner:
            runner.run(self._until_ended())

    async def _until_ended(self) -> None:
        await self._ended.wait()

    def end(self) -> None:
        """Have the loop end, with all that runs in it, when it can."""
        self.loop.call_soon_threadsafe(self._ended.set)


def _start(work: Callable[[], None]) -> threading.Thread:
    context = contextvars.copy_context()
    thread = threading.Thread(target=context.run, args=(work,), name="check", daemon=True)
    thread.start()
    return thread


def _opened(box: _Box, seconds: float) -> Any:
    try:
        if not box.done.wait(seconds):
            raise NoAnswer(f"no answer in {seconds:g} s")
    except BaseException:  # Ctrl-C as well
        _forget_workers()
        raise
    if isinstance(box.error, SystemExit | KeyboardInterrupt):
        raise Ended(f"{box.error!r} would end the program") from box.error
    if box.error is not None:
        raise box.error
    return box.value


def _forget_workers() -> None:
    """Let the interpreter end although a worker thread of a hung call does not.

    At its end Python waits for the workers of all executors. Those that were begun in one of our
    threads, and so are daemons as it is, need not be waited for.
    """
    waited_for = getattr(concurrent.futures.thread, "_threads_queues", {})
    for thread in threading.enumerate():
        if thread.daemon:
            waited_for.pop(thread, None)
