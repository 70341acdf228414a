"""The gate: how many calls may be inside a model at once, over all threads and event loops."""

from __future__ import annotations

import threading
from collections import deque

from langchain_wrap.errors import QueueFullError
from langchain_wrap.pipeline.cancel import CancelToken
from langchain_wrap.pipeline.waiter import Waiter


class _Place:
    """A caller's place in the queue before the gate."""

    __slots__ = ("admitted", "waiter")

    def __init__(self, waiter: Waiter) -> None:
        self.waiter = waiter
        self.admitted = False


class Gate:
    """A fair queue (first in, first out) before a number of places.

    Args:
        limit: How many may be inside at once; None for no bound.
        max_queued: How many may wait; None for no bound.
    """

    def __init__(self, limit: int | None = None, max_queued: int | None = None) -> None:
        self.limit = limit
        self.max_queued = max_queued
        self._lock = threading.Lock()
        self._leaving: deque[None] = deque()
        self._inside = 0
        self._queue: deque[_Place] = deque()
        self.abandoned: set[Visit] = set()
        """Calls that are inside although their caller has gone: they could not be stopped."""

    @property
    def inside(self) -> int:
        """How many are inside now."""
        return self._inside - len(self._leaving)

    @property
    def full(self) -> bool:
        """Whether the next one would have to wait."""
        return self.limit is not None and self.inside >= self.limit

    @property
    def queued(self) -> int:
        """How many wait now."""
        return len(self._queue)

    def resize(self, limit: int | None, max_queued: int | None) -> None:
        """Set the bounds anew; who now has room comes in."""
        if (limit, max_queued) != (self.limit, self.max_queued):
            with self._lock:
                self.limit, self.max_queued = limit, max_queued
                self._admit()
            self._settle()

    async def enter(
        self, waiter: Waiter, deadline: float | None = None, cancel: CancelToken | None = None
    ) -> bool:
        """Come in, or wait for it until the monotonic `deadline`; return whether it worked.

        Raises:
            QueueFullError: More than `max_queued` would wait.
            Cancelled: `cancel` was cancelled while waiting.
        """
        place: _Place | None = None
        with self._lock:
            if self._has_room() and not self._queue:
                self._inside += 1
            else:
                place = self._line_up(waiter)
        if self._leaving:
            self._settle()
        if place is None:
            return True
        try:
            if await waiter.until(lambda: place.admitted, deadline, cancel):
                return True
        except BaseException:
            self._give_up(place)
            raise
        self._give_up(place)
        return False

    def _line_up(self, waiter: Waiter) -> _Place:
        waiting = len(self._queue)
        if self.max_queued is not None and waiting >= self.max_queued:
            raise QueueFullError(
                f"{waiting} calls wait for the model already (max_queued={self.max_queued}, "
                f"concurrency={self.limit}); try again later, or raise max_queued"
            )
        place = _Place(waiter)
        self._queue.append(place)
        return place

    def leave(self) -> None:
        """Give the place to the next in the queue; from any thread."""
        self._leaving.append(None)
        self._settle()

    def _settle(self) -> None:
        """Take note of those who have left, unless somebody else is about to.

        Leaving never waits for the lock: the garbage collector may close an abandoned stream in a
        thread that holds it. Whoever holds it looks here again after letting go.
        """
        while self._leaving and self._lock.acquire(blocking=False):
            try:
                while self._leaving:
                    self._leaving.popleft()
                    self._inside -= 1
                self._admit()
            finally:
                self._lock.release()

    def _has_room(self) -> bool:
        return self.limit is None or self._inside < self.limit

    def _admit(self) -> None:
        while self._queue and self._has_room():
            place = self._queue.popleft()
            place.admitted = True
            self._inside += 1
            place.waiter.wake()

    def _give_up(self, place: _Place) -> None:
        with self._lock:
            waits = not place.admitted
            if waits:
                self._queue.remove(place)
        self._settle()
        if waits:
            return
        # Admitted in the very moment of giving up: the place must not be lost.
        self.leave()


class Visit:
    """One call's stay inside the gate; it lasts until the model has really ended."""

    __slots__ = ("_ended", "_gate")

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self._ended = False

    def abandon(self) -> None:
        """Note that the caller has gone and the model has not ended yet."""
        self._gate.abandoned.add(self)
        if self._ended:
            self._gate.abandoned.discard(self)

    @property
    def ended(self) -> bool:
        """Whether the model has let go of the call."""
        return self._ended

    def end(self) -> None:
        """Leave the gate; only the first time counts."""
        if not self._ended:
            self._ended = True
            self._gate.abandoned.discard(self)
            self._gate.leave()
