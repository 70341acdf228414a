"""Work on connections, done in tasks of its own, so that it always ends in good order.

httpcore shields the closing of a connection with anyio's means. `Task.cancel` breaks through them,
and a connection whose closing was cut short counts as active for ever; anyio's own way to cancel
heeds them. So a caller's task does not work on connections itself.

Neither does an async generator that a caller reads. It may be left where it stands, and the event
loop may end right then: `asyncio.run` closes generators in no order, ours and those inside httpx
at once, and waits for none that was left; but it cancels tasks first, and waits for them.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine
from contextlib import aclosing
from typing import Any, Generic, NamedTuple, TypeVar

import anyio

T = TypeVar("T")

_AHEAD = 256
"""How many items the task may be ahead of the reader."""


class _Job(Generic[T]):
    """A task that is cancelled in anyio's way."""

    def __init__(self, work: Coroutine[Any, Any, T]) -> None:
        self._scope = anyio.CancelScope()
        self.task = asyncio.create_task(self._run(work))

    async def _run(self, work: Coroutine[Any, Any, T]) -> T:
        with self._scope:
            return await work
        raise asyncio.CancelledError

    async def close(self) -> None:
        self._scope.cancel()
        await asyncio.wait([self.task])


async def completed(work: Coroutine[Any, Any, T]) -> T:
    """Return what `work` returns; it is ended in good order if the caller is cancelled."""
    job = _Job(work)
    try:
        await asyncio.wait([job.task])
    finally:
        if not job.task.done():
            await job.close()
    return job.task.result()


class _End(NamedTuple):
    error: BaseException | None


class _Relay(Generic[T]):
    def __init__(self, source: AsyncGenerator[T, None]) -> None:
        self._source = source
        self._room = asyncio.Semaphore(_AHEAD)
        self._items: asyncio.Queue[T | _End] = asyncio.Queue()
        self._job = _Job(self._read())

    async def _read(self) -> None:
        error: BaseException | None = None
        try:
            async with aclosing(self._source):
                async for item in self._source:
                    await self._room.acquire()
                    self._items.put_nowait(item)
        except Exception as caught:
            error = caught
        except asyncio.CancelledError as cancelled:
            error = cancelled
            raise
        finally:
            self._items.put_nowait(_End(error))

    async def next(self) -> T | _End:
        item = await self._items.get()
        self._room.release()
        return item

    async def close(self) -> None:
        await self._job.close()


async def relayed(source: AsyncGenerator[T, None]) -> AsyncIterator[T]:
    """Yield what `source` yields; it is closed when nobody reads on."""
    relay = _Relay(source)
    try:
        while True:
            item = await relay.next()
            if not isinstance(item, _End):
                yield item
            elif item.error is None:
                return
            else:
                raise item.error
    finally:
        await relay.close()
