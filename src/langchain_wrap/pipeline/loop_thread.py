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
        self.loop.call_soon_threadsafe(self._wind_up)
        self._thread.join(timeout=1.0)
        if not self._thread.is_alive():
            self.loop.close()

    def _wind_up(self) -> None:
        for task in self._tasks:
            task.cancel()
        self.loop.call_soon(self.loop.stop)


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
