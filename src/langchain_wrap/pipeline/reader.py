"""Readers: a source, read from where the caller is.

A reader is used in one place: `next` until it gives None or raises, then `close` in any case.
`InlineReader` and `NativeReader` run the source where they are; a `ChannelReader` has it run
elsewhere (a worker thread, or the loop thread), by one of those two, and reads from a channel.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Iterator
from typing import Any, cast

from langchain_core.outputs import GenerationChunk

from langchain_wrap.pipeline import workers
from langchain_wrap.pipeline.cancel import CancelToken
from langchain_wrap.pipeline.channel import Channel
from langchain_wrap.pipeline.gate import Visit
from langchain_wrap.pipeline.loop_thread import LoopThread, loop_thread
from langchain_wrap.pipeline.scrub import scrub
from langchain_wrap.pipeline.source import SourceCall, async_chunks, blocking_chunks, calling
from langchain_wrap.pipeline.timeout import Expired
from langchain_wrap.pipeline.waiter import AsyncWaiter, SyncWaiter, Waiter, run_sync

logger = logging.getLogger("langchain_wrap")

GRACE = 0.05
"""Seconds that an early end waits for the model to be closed, in its own thread."""


class Reader(ABC):
    """Reads one source."""

    @abstractmethod
    async def next(self, deadline: float | None, cancel: CancelToken) -> GenerationChunk | None:
        """Return the next chunk, or None at the end.

        Raises:
            Expired: The monotonic `deadline` has passed.
            Cancelled: `cancel` was cancelled.
        """

    @abstractmethod
    async def close(self, grace: float) -> None:
        """End the source, if it has not ended; wait at most `grace` seconds for it."""


class InlineReader(Reader):
    """Reads a blocking source in the calling thread; it cannot be interrupted inside a step."""

    def __init__(self, call: SourceCall, visit: Visit) -> None:
        self._chunks = cast("Any", blocking_chunks(call))
        self._call = call
        self._owner = call.owner
        self._visit = visit

    async def next(self, deadline: float | None, cancel: CancelToken) -> GenerationChunk | None:
        chunks: Iterator[GenerationChunk] = self._chunks
        if self._owner is None:
            return next(chunks, None)
        before = calling.set(self._owner)
        try:
            return next(chunks, None)
        finally:
            calling.reset(before)

    async def close(self, grace: float) -> None:
        try:
            self._chunks.close()
        except Exception as error:
            _warn(self._call, error)
        finally:
            self._visit.end()


class NativeReader(Reader):
    """Reads an async source in the running event loop."""

    def __init__(self, call: SourceCall, visit: Visit) -> None:
        self._chunks = cast("Any", async_chunks(call))
        self._call = call
        self._owner = call.owner
        self._visit = visit

    async def next(self, deadline: float | None, cancel: CancelToken) -> GenerationChunk | None:
        chunks: AsyncIterator[GenerationChunk] = self._chunks
        if self._owner is None and deadline is None:
            return await anext(chunks, None)
        before = calling.set(self._owner)
        try:
            if deadline is None:
                return await anext(chunks, None)
            async with asyncio.timeout(deadline - time.monotonic()) as limit:
                return await anext(chunks, None)
        except TimeoutError:
            if limit.expired():  # and not a TimeoutError of the model's own
                raise Expired from None
            raise
        finally:
            calling.reset(before)

    async def close(self, grace: float) -> None:
        try:
            await self._chunks.aclose()
        except Exception as error:
            _warn(self._call, error)
        finally:
            self._visit.end()


def _warn(call: SourceCall, error: Exception) -> None:
    error = cast("Exception", scrub(error, call.secrets()))
    logger.warning("%s failed while it was being closed", call.label, exc_info=error)


class ChannelReader(Reader):
    """Reads a source that runs in another thread."""

    def __init__(self, call: SourceCall, visit: Visit, reader: Waiter) -> None:
        self._call = call
        self._visit = visit
        self._channel: Channel[GenerationChunk] = Channel(reader, SyncWaiter())

    @classmethod
    def in_thread(cls, call: SourceCall, waiter: Waiter, visit: Visit) -> ChannelReader:
        """Have a blocking source run in a worker thread, with a copy of the caller's context."""
        reader = cls(call, visit, waiter)
        context, source, channel = (
            contextvars.copy_context(),
            InlineReader(call, visit),
            reader._channel,
        )
        workers.submit(lambda: context.run(lambda: run_sync(_pump(source, channel, call.cancel))))
        return reader

    @classmethod
    def in_loop(cls, call: SourceCall, waiter: Waiter, visit: Visit) -> ChannelReader:
        """Have an async source run in the loop thread, with a copy of the caller's context."""
        home = loop_thread()
        reader = cls(call, visit, waiter)
        source = _pump_in_loop(home, call, visit, reader._channel)
        home.start(source, contextvars.copy_context())
        return reader

    async def next(self, deadline: float | None, cancel: CancelToken) -> GenerationChunk | None:
        return await self._channel.get(deadline, cancel)

    async def close(self, grace: float) -> None:
        self._leave()
        if not self._channel.ended and not (
            grace and await self._channel.gone(time.monotonic() + grace)
        ):
            self._visit.abandon()

    def _leave(self) -> None:
        self._channel.leave()
        if not self._channel.ended:
            self._call.cancel.cancel()

    def __del__(self) -> None:
        # The reader's event loop may be closed without its generators being closed.
        self._leave()


async def _pump(source: Reader, channel: Channel[GenerationChunk], cancel: CancelToken) -> None:
    """Read `source` to its end into a channel; every error goes to the channel's reader."""
    error: BaseException | None = None
    try:
        while (chunk := await source.next(None, cancel)) is not None:
            if not await channel.put(chunk):
                break
    except BaseException as caught:
        error = caught
    try:
        await source.close(0)
    except BaseException as caught:
        error = error or caught
    channel.end(error)


async def _pump_in_loop(
    home: LoopThread, call: SourceCall, visit: Visit, channel: Channel[GenerationChunk]
) -> None:
    channel.writer = AsyncWaiter()
    task = asyncio.current_task()

    def stop() -> None:
        if task is not None:
            home.loop.call_soon_threadsafe(task.cancel)

    call.cancel.add_callback(stop)
    await _pump(NativeReader(call, visit), channel, call.cancel)
    call.cancel.remove_callback(stop)
