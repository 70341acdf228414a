"""A unit: prompts that several callers send to a batch method, to go in together."""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from langchain_wrap.pipeline.batching import Batcher, Ticket


class Unit:
    """Holds what its members send until each has sent something or has ended.

    Args:
        size: How many members there are. All of them have to run side by side.
    """

    def __init__(self, size: int) -> None:
        self._missing = size
        self._waiting: dict[Batcher, list[Ticket]] = {}
        self._lock = threading.Lock()

    @contextmanager
    def member(self) -> Iterator[None]:
        """Be one of the members, in this context and its copies."""
        member = Member(self)
        before = _member.set(member)
        try:
            yield
        finally:
            _member.reset(before)
            member.send()

    def arrive(self, batcher: Batcher | None, tickets: Sequence[Ticket]) -> None:
        """Note that another member is there; the last one sends all."""
        with self._lock:
            self._missing -= 1
            if batcher is not None:
                self._waiting.setdefault(batcher, []).extend(tickets)
            if self._missing > 0:
                return
            waiting, self._waiting = self._waiting, {}
        for each, together in waiting.items():
            try:
                each.submit(together)
            except Exception as error:
                for ticket in together:
                    ticket.fail(error)


class Member:
    """A member of a unit, whose first prompts go with those of the others."""

    def __init__(self, unit: Unit) -> None:
        self._unit: Unit | None = unit

    @classmethod
    def take(cls) -> Member | None:
        """Return the member that this context is; what is called from here on is none."""
        member = _member.get()
        if member is not None:
            _member.set(None)
        return member

    def send(self, batcher: Batcher | None = None, tickets: Sequence[Ticket] = ()) -> bool:
        """Queue tickets with those of the others; False if the unit has gone without them."""
        unit, self._unit = self._unit, None
        if unit is None:
            return False
        unit.arrive(batcher, tickets)
        return True


_member: contextvars.ContextVar[Member | None] = contextvars.ContextVar("member", default=None)
