"""The two shells that drive the pipeline: one blocks, one awaits. All else is shared."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from typing import TYPE_CHECKING, Any

from langchain_core.callbacks import (
    AsyncCallbackManager,
    CallbackManager,
)

from langchain_wrap.pipeline import workers
from langchain_wrap.pipeline.reader import ChannelReader, InlineReader, NativeReader, Reader
from langchain_wrap.pipeline.waiter import AsyncWaiter, Mailbox, SyncWaiter, Waiter, run_sync

if TYPE_CHECKING:
    from langchain_core.caches import BaseCache
    from langchain_core.rate_limiters import BaseRateLimiter

    from langchain_wrap.pipeline.gate import Visit
    from langchain_wrap.pipeline.source import SourceCall

Job = Callable[[], Coroutine[Any, Any, None]]


class Shell(ABC):
    """What differs between a sync and an async caller."""

    is_async: bool
    manager: type[CallbackManager] | type[AsyncCallbackManager]

    @abstractmethod
    def waiter(self) -> Waiter:
        """Return a new place to wait at."""

    @abstractmethod
    async def settle(self, value: Any) -> Any:
        """Return the result of a call that may give a coroutine in the async shell."""

    @abstractmethod
    async def settle_surely(self, value: Any) -> None:
        """Settle a report that must have arrived before the caller goes on, even if cancelled."""

    @abstractmethod
    def open(self, call: SourceCall, visit: Visit, waiter: Waiter, *, bounded: bool) -> Reader:
        """Return a reader of the source; `bounded` where waiting for it may have to end."""

    @abstractmethod
    def acquire(self, limiter: BaseRateLimiter) -> Any:
        """Ask the rate limiter for one attempt (to be settled)."""

    @abstractmethod
    def lookup(self, cache: BaseCache, prompt: str, key: str) -> Any:
        """Look a prompt up in a cache (to be settled)."""

    @abstractmethod
    def update(self, cache: BaseCache, prompt: str, key: str, value: Any) -> Any:
        """Put a completion into a cache (to be settled)."""

    @abstractmethod
    async def gather(self, jobs: Sequence[Job], limit: int, stop: Callable[[], None]) -> None:
        """Run jobs side by side, at most `limit` at once.

        The first error is raised, after `stop` was called (it must make the jobs under way end)
        and they have ended; jobs that had not begun are dropped.
        """


class SyncShell(Shell):
    """For callers in a thread."""

    is_async = False
    manager = CallbackManager

    def waiter(self) -> Waiter:
        return SyncWaiter()

    async def settle(self, value: Any) -> Any:
        return value

    async def settle_surely(self, value: Any) -> None:
        pass

    def open(self, call: SourceCall, visit: Visit, waiter: Waiter, *, bounded: bool) -> Reader:
        if call.method.is_async:
            return ChannelReader.in_loop(call, waiter, visit)
        if bounded:
            return ChannelReader.in_thread(call, waiter, visit)
        return InlineReader(call, visit)

    def acquire(self, limiter: BaseRateLimiter) -> Any:
        return limiter.acquire(blocking=False)

    def lookup(self, cache: BaseCache, prompt: str, key: str) -> Any:
        return cache.lookup(prompt, key)

    def update(self, cache: BaseCache, prompt: str, key: str, value: Any) -> Any:
        return cache.update(prompt, key, value)

    async def gather(self, jobs: Sequence[Job], limit: int, stop: Callable[[], None]) -> None:
        if limit <= 1 or len(jobs) <= 1:
            for job in jobs:
                run_sync(job())
            return
        crew = _Crew(jobs, SyncWaiter(), stop)
        for _ in range(min(limit, len(jobs))):
            context = contextvars.copy_context()
            workers.submit(lambda context=context: crew.work(context))  # type: ignore[misc]
        await crew.finish()


class _Crew:
    """Worker threads that share out a list of jobs."""

    def __init__(self, jobs: Sequence[Job], waiter: Waiter, stop: Callable[[], None]) -> None:
        self._waiting = deque(jobs)
        self._left = len(jobs)
        self._error: BaseException | None = None
        self._lock = threading.Lock()
        self._waiter = waiter
        self._stop = stop

    def work(self, context: contextvars.Context) -> None:
        """Run jobs until none is waiting."""
        while True:
            with self._lock:
                if not self._waiting:
                    return
                job = self._waiting.popleft()
            try:
                context.copy().run(run_sync, job())
            except BaseException as error:
                self._fail(error)
            self._done(1)

    async def finish(self) -> None:
        """Wait for all jobs; raise the first error."""
        try:
            await self._waiter.until(lambda: not self._left)
        except BaseException as error:
            self._fail(error)
            raise
        if self._error is not None:
            raise self._error

    def _fail(self, error: BaseException) -> None:
        with self._lock:
            first, self._error = self._error is None, self._error or error
            dropped = len(self._waiting)
            self._waiting.clear()
        if first:
            self._stop()
        self._done(dropped)

    def _done(self, count: int) -> None:
        with self._lock:
            self._left -= count
        if not self._left:
            self._waiter.wake()


class AsyncShell(Shell):
    """For callers in an event loop."""

    is_async = True
    manager = AsyncCallbackManager

    def __init__(self) -> None:
        self._mailbox = Mailbox.of(asyncio.get_running_loop())

    def waiter(self) -> Waiter:
        return AsyncWaiter(self._mailbox)

    async def settle(self, value: Any) -> Any:
        return await value if hasattr(value, "__await__") else value

    async def settle_surely(self, value: Any) -> None:
        if not hasattr(value, "__await__"):
            return
        task = asyncio.ensure_future(value)
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError:
            if not task.done():
                await asyncio.wait([task])
            raise

    def open(self, call: SourceCall, visit: Visit, waiter: Waiter, *, bounded: bool) -> Reader:
        if call.method.is_async:
            return NativeReader(call, visit)
        return ChannelReader.in_thread(call, waiter, visit)

    def acquire(self, limiter: BaseRateLimiter) -> Any:
        return limiter.aacquire(blocking=False)

    def lookup(self, cache: BaseCache, prompt: str, key: str) -> Any:
        return cache.alookup(prompt, key)

    def update(self, cache: BaseCache, prompt: str, key: str, value: Any) -> Any:
        return cache.aupdate(prompt, key, value)

    async def gather(self, jobs: Sequence[Job], limit: int, stop: Callable[[], None]) -> None:
        if len(jobs) == 1:
            await jobs[0]()
            return
        waiting = iter(jobs)

        async def work() -> None:
            for job in waiting:
                await job()

        tasks = [asyncio.create_task(work()) for _ in range(min(limit, len(jobs)))]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
            if any(task.done() and task.exception() is not None for task in tasks):
                stop()
        finally:
            for task in tasks:
                task.cancel()
            results = await asyncio.gather(*tasks, return_exceptions=True)
        errors = [result for result in results if isinstance(result, BaseException)]
        for error in sorted(errors, key=lambda e: isinstance(e, asyncio.CancelledError)):
            raise error
