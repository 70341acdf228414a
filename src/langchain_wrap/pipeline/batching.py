"""Batching: prompts of one list and of concurrent callers go into a batch method together.

Work-conserving: nothing waits for more to come. What queued up while the model was busy goes in
together, by equal parameters, up to `max_batch_size`.
"""

from __future__ import annotations

import asyncio
import contextvars
import threading
import weakref
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from langchain_core.outputs import GenerationChunk

from langchain_wrap.errors import QueueFullError
from langchain_wrap.pipeline import workers
from langchain_wrap.pipeline.cancel import Cancelled, CancelToken
from langchain_wrap.pipeline.gate import Gate, Visit
from langchain_wrap.pipeline.reader import Reader
from langchain_wrap.pipeline.retry import is_retryable
from langchain_wrap.pipeline.source import Method, SourceCall, calling
from langchain_wrap.pipeline.timeout import Expired
from langchain_wrap.pipeline.waiter import AsyncWaiter, SyncWaiter, Waiter, run_sync


class Ticket:
    """One prompt on its way through a batch method."""

    __slots__ = (
        "context", "done", "error", "group", "left", "on_leave", "prompt", "value", "waiter",
    )  # fmt: skip

    def __init__(self, prompt: str, group: Group) -> None:
        self.prompt = prompt
        self.group = group
        self.waiter: Waiter | None = None
        self.context = contextvars.copy_context()
        self.value: GenerationChunk | None = None
        self.error: BaseException | None = None
        self.done = False
        self.left = False
        self.on_leave: Callable[[], None] | None = None

    def resolve(self, value: GenerationChunk) -> None:
        """Give the ticket its completion."""
        self.value = value
        self._finish()

    def fail(self, error: BaseException) -> None:
        """Give the ticket its error."""
        self.error = error
        self._finish()

    def _finish(self) -> None:
        self.done = True
        if self.waiter is not None:
            self.waiter.wake()

    def leave(self) -> None:
        """Say that nobody waits for the completion any more."""
        self.left = True
        on_leave = self.on_leave
        if on_leave is not None:
            on_leave()


class Group:
    """What prompts must have in common to go into one call of the batch method."""

    __slots__ = ("function", "key", "label", "method", "owner", "parameters", "stop")

    def __init__(
        self,
        label: str,
        method: Method,
        function: Callable[..., Any],
        stop: tuple[str, ...],
        parameters: Mapping[str, Any],
        key: str,
        owner: object = None,
    ) -> None:
        self.label = label
        self.method = method
        self.function = function
        self.stop = stop
        self.parameters = parameters
        self.owner = owner
        self.key = key
        """Equal for equal stops and parameters."""


class BatchQueue:
    """Which prompts go into the next call; a pure object.

    Args:
        max_size: How many prompts one call may get; None for no bound.
        max_queued: How many prompts may wait; None for no bound. A list is admitted or refused
            as a whole.
    """

    def __init__(self, max_size: int | None = None, max_queued: int | None = None) -> None:
        self.max_size = max_size
        self.max_queued = max_queued
        self._waiting: deque[Ticket] = deque()

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, tickets: Sequence[Ticket], *, busy: bool) -> None:
        """Queue tickets as one unit.

        Raises:
            QueueFullError: With the model `busy`, more than `max_queued` would wait.
        """
        if busy and self.max_queued is not None:
            waiting = sum(not ticket.left for ticket in self._waiting)
            if waiting + len(tickets) > self.max_queued:
                raise QueueFullError(
                    f"{waiting} prompts wait for the model already and {len(tickets)} more are "
                    f"too many (max_queued={self.max_queued}); try again later, or raise "
                    "max_queued"
                )
        self._waiting.extend(tickets)

    def clear(self) -> list[Ticket]:
        """Return all that waits, and forget it."""
        waiting = list(self._waiting)
        self._waiting.clear()
        return waiting

    def take(self) -> list[Ticket]:
        """Return the next batch: the oldest ticket and those with equal parameters, in order."""
        batch: list[Ticket] = []
        rest: deque[Ticket] = deque()
        for ticket in self._waiting:
            if ticket.left:
                continue
            fits = not batch or ticket.group.key == batch[0].group.key
            full = self.max_size is not None and len(batch) >= self.max_size
            (batch if fits and not full else rest).append(ticket)
        self._waiting = rest
        return batch


class Home(Protocol):
    """Where a batch method runs."""

    def spawn(self, batcher: Batcher) -> None:
        """Have `batcher.work()` run."""

    def waiter(self) -> Waiter:
        """Return a new waiter for that place."""

    def is_ending(self) -> bool:
        """Whether `work` itself is being cancelled."""

    async def call(self, call: SourceCall, context: contextvars.Context) -> Any:
        """Call the batch method."""


class ThreadHome:
    """Blocking batch methods run in worker threads."""

    def spawn(self, batcher: Batcher) -> None:
        workers.submit(lambda: run_sync(batcher.work()))

    def waiter(self) -> Waiter:
        return SyncWaiter()

    def is_ending(self) -> bool:
        return False

    async def call(self, call: SourceCall, context: contextvars.Context) -> Any:
        context.run(calling.set, call.owner)
        return context.run(call)


class LoopHome:
    """Async batch methods run as tasks of one event loop.

    Args:
        loop: The event loop.
        enter: Notes in a context that it is used in that loop, if the loop is one of ours.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        enter: Callable[[contextvars.Context], None] | None = None,
    ) -> None:
        self._loop_ref = weakref.ref(loop)
        self._enter = enter
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def _loop(self) -> asyncio.AbstractEventLoop:
        loop = self._loop_ref()
        if loop is None:
            raise RuntimeError("the event loop of this batch method is gone")
        return loop

    def spawn(self, batcher: Batcher) -> None:
        self._loop.call_soon_threadsafe(self._spawn, batcher)

    def _spawn(self, batcher: Batcher) -> None:
        task = self._loop.create_task(batcher.work())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def waiter(self) -> Waiter:
        return AsyncWaiter()

    def is_ending(self) -> bool:
        task = asyncio.current_task()
        return task is not None and task.cancelling() > 0

    async def call(self, call: SourceCall, context: contextvars.Context) -> Any:
        async def run() -> Any:
            return await call.awaitable(call())

        if self._enter is not None:
            self._enter(context)
        context.run(calling.set, call.owner)
        task = self._loop.create_task(run(), context=context)

        def cancel() -> None:
            self._loop.call_soon_threadsafe(task.cancel)

        call.cancel.add_callback(cancel)
        try:
            return await task
        finally:
            call.cancel.remove_callback(cancel)


class Batcher:
    """Feeds a batch method from a queue.

    Args:
        home: Where the method runs.
        gate: The model's gate; each call of the method is one visit.
        most: How many calls of the method may run at once.
    """

    def __init__(self, home: Home, gate: Gate, queue: BatchQueue, most: int) -> None:
        self._home = home
        self._gate = gate
        self._queue = queue
        self._most = most
        self._running = 0
        self._lock = threading.Lock()

    def resize(self, gate: Gate, max_size: int | None, max_queued: int | None, most: int) -> None:
        """Set the bounds anew."""
        self._gate = gate
        self._queue.max_size = max_size
        self._queue.max_queued = max_queued
        self._most = most

    def submit(self, tickets: Sequence[Ticket]) -> None:
        """Queue tickets as one unit, and see that somebody works on them.

        Raises:
            QueueFullError: Too many prompts would wait.
        """
        with self._lock:
            self._queue.add(tickets, busy=self._running >= self._most)
        self._staff()

    def _staff(self) -> None:
        """Have one more batch run, if there is one and it may run now."""
        with self._lock:
            if not self._queue or self._running >= self._most:
                return
            self._running += 1
        try:
            self._home.spawn(self)
        except BaseException as error:
            self._resign(error)
            raise

    def _resign(self, error: BaseException) -> None:
        """Stop working; if nobody else works either, what waits has failed."""
        with self._lock:
            self._running -= 1
            stranded = self._queue.clear() if not self._running else []
        for ticket in stranded:
            ticket.fail(error)

    def _next(self) -> list[Ticket]:
        with self._lock:
            batch = self._queue.take()
            if not batch:
                self._running -= 1
            return batch

    async def work(self) -> None:
        """Run batch after batch until the queue is empty."""
        waiter = self._home.waiter()
        while batch := self._next():
            self._staff()
            try:
                await self._run(batch, waiter)
            except asyncio.CancelledError as cancelled:
                error = RuntimeError(f"{batch[0].group.label} was cancelled from within")
                error.__cause__ = cancelled
                self._fail(batch, error)
                if self._home.is_ending():
                    self._resign(error)
                    raise
            except BaseException as error:
                self._fail(batch, error)

    @staticmethod
    def _fail(batch: list[Ticket], error: BaseException) -> None:
        for ticket in batch:
            if not ticket.done:
                ticket.fail(error)

    async def _run(self, tickets: list[Ticket], waiter: Waiter) -> None:
        """Run one batch; one that fails is halved until the poison prompt fails alone."""
        tickets = [ticket for ticket in tickets if not ticket.left]
        if not tickets:
            return
        cancel = CancelToken()
        group = tickets[0].group
        call = SourceCall(
            group.label,
            group.method,
            group.function,
            [ticket.prompt for ticket in tickets],
            group.stop,
            group.parameters,
            cancel,
            owner=group.owner,
        )

        def on_leave() -> None:
            if all(ticket.left for ticket in tickets):
                cancel.cancel()

        for ticket in tickets:
            ticket.on_leave = on_leave
        on_leave()  # they may have left in between
        cancel.add_callback(waiter.wake)
        try:
            await self._gate.enter(waiter, cancel=cancel)
            visit = Visit(self._gate)
            try:
                returned = await self._home.call(call, tickets[0].context)
            finally:
                visit.end()
        except Cancelled:
            return
        except Exception as error:
            if len(tickets) == 1 or is_retryable(error):
                for ticket in tickets:
                    ticket.fail(error)
                return
            middle = len(tickets) // 2
            await self._run(tickets[:middle], waiter)
            await self._run(tickets[middle:], waiter)
            return
        except asyncio.CancelledError:
            if not cancel.cancelled:
                raise
            return
        self._hand_out(call, tickets, returned)

    def _hand_out(self, call: SourceCall, tickets: list[Ticket], returned: object) -> None:
        try:
            values = call.texts(returned, len(tickets))
        except (TypeError, ValueError) as error:
            for ticket in tickets:
                ticket.fail(error)
            return
        for ticket, value in zip(tickets, values, strict=True):
            try:
                ticket.resolve(call.text(value))
            except TypeError as error:
                ticket.fail(error)


class TicketReader(Reader):
    """Reads a ticket's completion as a stream of one chunk."""

    def __init__(self, ticket: Ticket, waiter: Waiter) -> None:
        self._ticket = ticket
        self._waiter = ticket.waiter = waiter
        self._read = False

    async def next(self, deadline: float | None, cancel: CancelToken) -> GenerationChunk | None:
        if self._read:
            return None
        ticket = self._ticket
        if not await self._waiter.until(lambda: ticket.done, deadline, cancel):
            raise Expired
        self._read = True
        if ticket.error is not None:
            raise ticket.error
        return ticket.value

    async def close(self, grace: float) -> None:
        if not self._ticket.done:
            self._ticket.leave()
