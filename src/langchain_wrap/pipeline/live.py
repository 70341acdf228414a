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


class Live:
    """Made anew on first use in another process, and for a copy: it never travels."""

    def __init__(self) -> None:
        self._clear()

    def _clear(self) -> None:
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._gate = Gate()
        self._in_threads: Batcher | None = None
        self._in_loops: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, Batcher] = (
            weakref.WeakKeyDictionary()
        )
        self._configuration = Configuration()

    def _here(self) -> Live:
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
        """Return the model's gate, set to these bounds."""
        gate = self._here()._gate
        gate.resize(limit, max_queued)
        return gate

    def batcher(
        self, method: Method, gate: Gate, max_batch_size: int | None, *, is_async: bool
    ) -> Batcher:
        """Return what feeds the batch method, for a caller in a thread or in a running loop."""

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
        batcher.resize(max_batch_size, gate.max_queued, gate.limit or 1)
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
