"""A long-lived event loop in a thread, for sync callers of async models.

Long-lived, because clients (httpx, aiohttp) belong to the loop that they were first used in. There
is one, but for sync calls from inside an async model that was itself called from sync code: they
block the loop that they are in, so what they call runs in the next one.
"""

from __future__ import annotations

import asyncio
import atexit
import contextvars
import os
import threading
from collections.abc import Coroutine
from typing import Any

_CLOSING = 0.5
"""Seconds that generators which were dropped get for closing, when the process ends."""


class LoopThread:
    """An event loop that runs in a daemon thread of its own.

    Args:
        level: How many loops of ours are blocked by what runs in this one.
    """

    def __init__(self, level: int) -> None:
        self._level = level
        self.loop = asyncio.new_event_loop()
        self._tasks: set[asyncio.Task[None]] = set()
        self._thread = threading.Thread(target=self._run, name="langchain-wrap-loop", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        self.loop.run_forever()
        self.loop.run_until_complete(self._wind_up())

    def start(self, coroutine: Coroutine[Any, Any, None], context: contextvars.Context) -> None:
        """Run `coroutine` as a task of the loop, in `context`; it must handle its own errors."""
        self.enter(context)
        self.loop.call_soon_threadsafe(self._start, coroutine, context)

    def enter(self, context: contextvars.Context) -> None:
        """Note in a context that what runs in it runs in this loop."""
        context.run(_level.set, self._level + 1)

    def _start(self, coroutine: Coroutine[Any, Any, None], context: contextvars.Context) -> None:
        task = self.loop.create_task(coroutine, context=context)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def stop(self) -> None:
        """End the tasks, the loop and the thread; waits a second at most."""
        if self.loop.is_closed():
            return
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(timeout=1.0)
        if not self._thread.is_alive():
            self.loop.close()

    async def _wind_up(self) -> None:
        """Let all that is open end in its own way, as `asyncio.run` does."""
        ours = tuple(self._tasks)
        for task in ours:
            task.cancel()
        await asyncio.gather(*ours, return_exceptions=True)
        await self.loop.shutdown_asyncgens()
        # A generator that was dropped is being closed by a task already, which must not be
        # cancelled; what a model has left running for ever must.
        others = asyncio.all_tasks() - {asyncio.current_task()}
        if others:
            _, others = await asyncio.wait(others, timeout=_CLOSING)
        for other in others:
            other.cancel()
        await asyncio.gather(*others, return_exceptions=True)


_level: contextvars.ContextVar[int] = contextvars.ContextVar("langchain_wrap_loop", default=0)
_loops: list[LoopThread] = []
_lock = threading.Lock()


def loop_thread() -> LoopThread:
    """Return the loop thread for the calling context; it is started on first use."""
    level = _level.get()
    with _lock:
        while len(_loops) <= level:
            _loops.append(LoopThread(len(_loops)))
        return _loops[level]


@atexit.register
def _stop_all() -> None:
    for loop in _loops:
        loop.stop()


def _after_fork() -> None:
    global _lock
    _loops.clear()
    _lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
