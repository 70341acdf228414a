"""One long-lived event loop in a thread, for a sync caller of an async model.

Long-lived, because clients (httpx, aiohttp) belong to the loop that they were first used in.
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
    """An event loop that runs in a daemon thread of its own."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._tasks: set[asyncio.Task[None]] = set()
        self._thread = threading.Thread(target=self._run, name="langchain-wrap-loop", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        self.loop.run_forever()

    @property
    def is_current(self) -> bool:
        """Whether the calling thread is the one that the loop runs in."""
        return threading.current_thread() is self._thread

    def start(self, coroutine: Coroutine[Any, Any, None], context: contextvars.Context) -> None:
        """Run `coroutine` as a task of the loop, in `context`; it must handle its own errors."""
        self.loop.call_soon_threadsafe(self._start, coroutine, context)

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


_current: LoopThread | None = None
_lock = threading.Lock()


def loop_thread() -> LoopThread:
    """Return the loop thread of this process; it is started on first use."""
    global _current
    with _lock:
        if _current is None:
            _current = LoopThread()
            atexit.register(_current.stop)
        return _current


def _after_fork() -> None:
    global _current, _lock
    if _current is not None:
        atexit.unregister(_current.stop)
    _current, _lock = None, threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
