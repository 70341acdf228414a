"""What lives only in this process and belongs to one model: its gate and its batch queues."""

from __future__ import annotations

import asyncio
import os
import threading
import weakref
from typing import Any

from langchain_wrap.pipeline.batching import Batcher, BatchQueue, LoopHome, ThreadHome
from langchain_wrap.pipeline.gate import Gate
from langchain_wrap.pipeline.identity import Configuration
from langchain_wrap.pipeline.loop_thread import loop_thread
from langchain_wrap.pipeline.source import Method

_fork_lock = threading.Lock()


def _after_fork() -> None:
    global _fork_lock
    _fork_lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def check_bound(name: str, value: object, least: int) -> None:
    """Refuse what is no bound, where pydantic has not seen it.

    Raises:
        ValueError: It is neither None nor a whole number of at least `least`.
    """
    if value is not None and (not isinstance(value, int) or value < least):
        raise ValueError(f"{name} must be a whole number from {least} on, or None, not {value!r}")


class Live:
    """Made anew on first use in another process, and for a copy: it never travels."""

    def __init__(self) -> None:
        self._clear()

    def _clear(self) -> None:
        self._lock = threading.Lock()
        self._gate = Gate()
        self._one_list = Gate(1)
        self._in_threads: Batcher | None = None
        self._in_loops: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, Batcher] = (
            weakref.WeakKeyDictionary()
        )
        self._configuration = Configuration()
        self._pid = os.getpid()  # last: until then, others wait or do the same

    def _here(self) -> Live:
        if self._pid != os.getpid():
            with _fork_lock:
                if self._pid != os.getpid():
                    self._clear()
        return self

    @property
    def configuration(self) -> Configuration:
        """Tells the model's configuration from its state."""
        return self._here()._configuration

    @property
    def abandoned(self) -> int:
        """How many calls run on although their caller has gone."""
        return len(self._here()._gate.abandoned)

    def gate(self, limit: int | None, max_queued: int | None) -> Gate:
        """Return the model's gate, set to these bounds.

        Raises:
            ValueError: A bound is impossible; it was assigned, or is a field of the author's own.
        """
        for name, bound, least in (("concurrency", limit, 1), ("max_queued", max_queued, 0)):
            check_bound(name, bound, least)
        gate = self._here()._gate
        gate.resize(limit, max_queued)
        return gate

    def batcher(
        self, method: Method, gate: Gate, max_batch_size: int | None, *, is_async: bool
    ) -> Batcher:
        """Return what feeds the batch method, for a caller in a thread or in a running loop.

        Where `concurrency` is not set, the method runs once at a time over all of them.
        """
        check_bound("max_batch_size", max_batch_size, 1)
        most = gate.limit or 1
        max_queued = gate.max_queued
        if gate.limit is None:
            gate = self._here()._one_list

        def make(home: ThreadHome | LoopHome) -> Batcher:
            return Batcher(home, gate, BatchQueue(), 1)

        with self._here()._lock:
            if not method.is_async:
                batcher = self._in_threads = self._in_threads or make(ThreadHome())
            else:
                ours = None if is_async else loop_thread()
                loop = asyncio.get_running_loop() if ours is None else ours.loop
                found = self._in_loops.get(loop)
                if found is None:
                    home = LoopHome(loop, None if ours is None else ours.enter)
                    found = self._in_loops[loop] = make(home)
                batcher = found
        batcher.resize(gate, max_batch_size, max_queued, most)
        return batcher

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Live)  # no part of what makes two models equal

    def __hash__(self) -> int:
        return hash(Live)

    def __copy__(self) -> Live:
        return Live()

    def __deepcopy__(self, memo: dict[int, Any]) -> Live:
        return Live()

    def __reduce__(self) -> tuple[type[Live], tuple[()]]:
        return (Live, ())
