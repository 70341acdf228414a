"""Waiting, in a thread or in an event loop, and being woken from anywhere.

A wake-up reaches an event loop from a thread in this file only. Every place that can wait (gate,
channel, batch, pause) waits through a `Waiter`, so each is written once for both shells.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
import time
import weakref
from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine
from typing import Any, ClassVar, TypeVar

from langchain_wrap.pipeline.cancel import Cancelled, CancelToken

T = TypeVar("T")


def run_sync(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine whose waits all block: it is over after one step."""
    try:
        coroutine.send(None)
    except StopIteration as done:
        result: T = done.value
        return result
    coroutine.close()
    raise RuntimeError("a coroutine of the sync shell has suspended; this is a bug")


class Waiter(ABC):
    """A place for one party to wait at; a wake-up before the wait is not lost."""

    __slots__ = ()

    @abstractmethod
    def wake(self) -> None:
        """Wake the waiting party, now or at its next wait; from any thread."""

    @abstractmethod
    def reset(self) -> None:
        """Forget earlier wake-ups."""

    @abstractmethod
    async def wait(self, seconds: float | None) -> None:
        """Wait to be woken, for at most so many seconds."""

    @abstractmethod
    async def breathe(self) -> None:
        """Let others have a turn where turns are shared."""

    async def until(
        self,
        ready: Callable[[], object],
        deadline: float | None = None,
        cancel: CancelToken | None = None,
    ) -> bool:
        """Wait until `ready()` is true or the monotonic `deadline` has passed; return which.

        Whoever changes what `ready` looks at must call `wake` afterwards.

        Raises:
            Cancelled: `cancel` was cancelled (and its callbacks woke this waiter).
        """
        while True:
            self.reset()
            if ready():
                return True
            if cancel is not None and cancel.cancelled:
                raise Cancelled
            if deadline is None:
                await self.wait(None)
                continue
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            await self.wait(left)


class SyncWaiter(Waiter):
    """Blocks the thread that waits."""

    # A lock as a binary semaphore: free means woken. It is made ten times faster than an Event.
    __slots__ = ("_awake",)

    def __init__(self) -> None:
        self._awake = threading.Lock()
        self._awake.acquire()

    def wake(self) -> None:
        if self._awake.locked():
            with contextlib.suppress(RuntimeError):  # somebody else was faster
                self._awake.release()

    def reset(self) -> None:
        self._awake.acquire(blocking=False)

    async def wait(self, seconds: float | None) -> None:
        self._awake.acquire(timeout=-1 if seconds is None else min(seconds, threading.TIMEOUT_MAX))

    async def breathe(self) -> None:
        pass


class AsyncWaiter(Waiter):
    """Suspends a task of the running event loop."""

    __slots__ = ("_future", "_lock", "_mailbox", "_woken")

    def __init__(self, mailbox: Mailbox | None = None) -> None:
        self._mailbox = mailbox or Mailbox.of(asyncio.get_running_loop())
        self._lock = threading.RLock()  # a garbage collection inside may come here again
        self._woken = False
        self._future: asyncio.Future[None] | None = None

    def wake(self) -> None:
        with self._lock:
            if self._woken:
                return
            self._woken = True
            waiting = self._future is not None
        if waiting:
            self._mailbox.post(self)

    def reset(self) -> None:
        self._woken = False

    async def wait(self, seconds: float | None) -> None:
        with self._lock:
            if self._woken:
                return
            loop = asyncio.get_running_loop()
            self._future = future = loop.create_future()
        timer = None if seconds is None else loop.call_later(seconds, self.resolve)
        try:
            await future
        finally:
            self._future = None
            if timer is not None:
                timer.cancel()

    async def breathe(self) -> None:
        await asyncio.sleep(0)

    def resolve(self) -> None:
        """End the wait; only in the loop's own thread."""
        if self._future is not None and not self._future.done():
            self._future.set_result(None)


class Mailbox:
    """Wake-ups for one event loop: many at once cost a single call into the loop.

    `call_soon_threadsafe` writes to a pipe and gives up the interpreter lock; with 64 streams at
    work, a call for each token made the threads trip over each other.
    """

    _boxes: ClassVar[weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, Mailbox]] = (
        weakref.WeakKeyDictionary()
    )
    _boxes_lock = threading.Lock()

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = weakref.ref(loop)
        self._lock = threading.RLock()  # a garbage collection inside may come here again
        self._posted: list[AsyncWaiter] = []

    @classmethod
    def of(cls, loop: asyncio.AbstractEventLoop) -> Mailbox:
        with cls._boxes_lock:
            box = cls._boxes.get(loop)
            if box is None:
                box = cls._boxes[loop] = cls(loop)
            return box

    def post(self, waiter: AsyncWaiter) -> None:
        with self._lock:
            self._posted.append(waiter)
            if len(self._posted) > 1:
                return
        loop = self._loop()
        try:
            if loop is not None:
                loop.call_soon_threadsafe(self._deliver)
        except RuntimeError:  # the loop is closed, so nobody waits in it any more
            self._posted.clear()

    def _deliver(self) -> None:
        with self._lock:
            posted, self._posted = self._posted, []
        for waiter in posted:
            waiter.resolve()


def _after_fork() -> None:
    Mailbox._boxes_lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
