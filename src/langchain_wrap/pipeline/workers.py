"""Worker threads for blocking models: ours, so the event loop's default executor stays free.

The number of threads is not bounded here: a bounded pool would hang when a model's method calls
another model. What bounds them is `concurrency`, or the 64 calls of a batch. Threads are daemons,
so a model that never returns cannot keep the interpreter from exiting.
"""

from __future__ import annotations

import itertools
import os
import queue
import threading
from collections.abc import Callable

IDLE_SECONDS = 0.5
"""How long a thread waits for more work before it ends."""


class Workers:
    """Threads that are started when none is idle and end when there is nothing to do."""

    def __init__(self) -> None:
        self._jobs: queue.SimpleQueue[Callable[[], object]] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._idle = 0
        self._numbers = itertools.count(1)

    def submit(self, job: Callable[[], object]) -> None:
        """Run `job` in a thread at once; it must handle its own errors."""
        with self._lock:
            if self._idle > 0:
                self._idle -= 1
                self._jobs.put(job)
                return
            number = next(self._numbers)
        threading.Thread(
            target=self._run, args=(job,), name=f"langchain-wrap-{number}", daemon=True
        ).start()

    def _run(self, job: Callable[[], object] | None) -> None:
        while job is not None:
            job()
            job = None  # what the job holds must not live until the next one
            job = self._next()

    def _next(self) -> Callable[[], object] | None:
        with self._lock:
            self._idle += 1
        try:
            return self._jobs.get(timeout=IDLE_SECONDS)
        except queue.Empty:
            with self._lock:
                if self._idle > 0:
                    self._idle -= 1
                    return None
        # Every idle thread has been given a job, so one is there or about to be.
        return self._jobs.get()


workers = Workers()


def _after_fork() -> None:
    global workers
    workers = Workers()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def submit(job: Callable[[], object]) -> None:
    """Run `job` in a worker thread of this process."""
    workers.submit(job)
