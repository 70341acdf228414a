"""A channel: chunks from one producer to one reader in another thread or event loop."""

from __future__ import annotations

from collections import deque
from typing import Generic, TypeVar

from langchain_wrap.pipeline.cancel import CancelToken
from langchain_wrap.pipeline.timeout import Expired
from langchain_wrap.pipeline.waiter import Waiter

T = TypeVar("T")

CAPACITY = 1024
"""How many items may lie in a channel; then the producer waits until half of them are read."""
BREATH = 64
"""After how many items in a row the reader's event loop gets a turn for its other tasks."""


class Channel(Generic[T]):
    """A bounded queue with an end; items keep their borders, none is merged or lost.

    Args:
        reader: What the reading side waits with.
        writer: What the producing side waits with, while the channel is full.
    """

    def __init__(self, reader: Waiter, writer: Waiter, capacity: int = CAPACITY) -> None:
        self._reader = reader
        self.writer = writer
        self._capacity = capacity
        self._items: deque[T] = deque()
        self._error: BaseException | None = None
        self._in_a_row = 0
        self.ended = False
        """Whether the producer has ended; what it has put before can still be read."""
        self.left = False
        """Whether the reader has gone, so that nothing put from now on is of use."""

    async def put(self, item: T) -> bool:
        """Add an item, waiting while the channel is full; False once the reader has left."""
        self._items.append(item)
        self._reader.wake()
        if len(self._items) >= self._capacity:
            await self.writer.until(self._has_room)
        return not self.left

    def end(self, error: BaseException | None = None) -> None:
        """Say that nothing more comes; `error` is raised at the reader after the last item."""
        self._error = error
        self.ended = True
        self._reader.wake()

    async def get(
        self, deadline: float | None = None, cancel: CancelToken | None = None
    ) -> T | None:
        """Return the next item, or None at the end.

        Raises:
            Expired: Nothing came before the monotonic `deadline`.
            Cancelled: `cancel` was cancelled.
        """
        items = self._items
        if items:
            self._in_a_row += 1
            if self._in_a_row >= BREATH:
                self._in_a_row = 0
                await self._reader.breathe()
        else:
            self._in_a_row = 0
            if not await self._reader.until(lambda: items or self.ended, deadline, cancel):
                raise Expired
            if not items:
                error, self._error = self._error, None
                if error is not None:
                    raise error
                return None
        item = items.popleft()
        if len(items) == self._capacity // 2:
            self.writer.wake()
        return item

    def leave(self) -> None:
        """Say that nobody reads any more; a producer that waits goes on at once."""
        self.left = True
        self._items.clear()
        self.writer.wake()

    async def gone(self, deadline: float) -> bool:
        """Wait until the producer has ended or the monotonic `deadline` has passed."""
        return await self._reader.until(lambda: self.ended, deadline)

    def _has_room(self) -> bool:
        return self.left or len(self._items) <= self._capacity // 2
