"""Leftovers: the threads, tasks, files and processes that calls of a model leave behind.

Pools may stay, of threads and of connections. A leak is what grows with the number of calls and is
still there after a while.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import threading
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

KINDS = ("threads", "tasks", "files", "processes")

PATIENCE = 1.0
"""Seconds in which what has ended may go away; a pool's idle threads, too."""

_FILES = Path("/proc/self/fd")
_TASKS = Path("/proc/self/task")


def threads() -> set[int]:
    """Return the threads of this process, but for those of the event loops' own pools."""
    return {
        thread.ident or 0
        for thread in threading.enumerate()
        if not thread.name.startswith("asyncio_")
    }


def files() -> set[tuple[str, str]] | None:
    """Return what this process has open, by number and name; None where that cannot be told."""
    found = set()
    try:
        for number in os.listdir(_FILES):
            with contextlib.suppress(OSError):  # the listing itself was one
                found.add((number, os.readlink(_FILES / number)))
    except OSError:
        return None
    return found


def processes() -> set[int] | None:
    """Return the child processes of this one; None where that cannot be told."""
    try:
        lists = [(task / "children").read_text() for task in _TASKS.iterdir() if task.exists()]
    except OSError:
        return _processes_by_parent()
    return {int(pid) for text in lists for pid in text.split()}


def _processes_by_parent() -> set[int] | None:
    found, own = set(), str(os.getpid())
    try:
        for folder in Path("/proc").iterdir():
            if folder.name.isdigit():
                try:
                    fields = (folder / "stat").read_text().rpartition(")")[2].split()
                except OSError:
                    continue  # it has just ended
                if fields[1] == own:
                    found.add(int(folder.name))
    except OSError:
        return None
    return found


class Count:
    """What there is at one moment, in the running event loop."""

    def __init__(self) -> None:
        self.threads = threads()
        self.tasks: list[asyncio.Task[object]] = list(asyncio.all_tasks())
        self.files = files()
        self.processes = processes()

    def since(self, before: Count) -> dict[str, int]:
        """Return how many things of each kind are there that were not there before."""
        more = {
            "threads": len(self.threads - before.threads),
            "tasks": len([task for task in self.tasks if task not in before.tasks]),
        }
        if self.files is not None and before.files is not None:
            # A connection may be replaced by another one: that is no growth.
            new, grown = self.files - before.files, len(self.files) - len(before.files)
            more["files"] = min(len(new), grown)
        if self.processes is not None and before.processes is not None:
            more["processes"] = len(self.processes - before.processes)
        return more


async def growth(cycle: Callable[[], Awaitable[None]], cycles: int, *, warm: int) -> dict[str, int]:
    """Return what grows with the cycles, by kind: how many things in the last `cycles` of them.

    Kinds that cannot be told here are missing. What does not grow by two things, and by half a
    thing a cycle, twice in a row, is 0.
    """
    for _ in range(warm):
        await cycle()
    gc.collect()  # what others have left must not be closed in the middle
    least = max(2, cycles // 2)
    found: dict[str, int] = {}
    for _ in range(2):
        before = Count()
        for _ in range(cycles):
            await cycle()
        more = await _settled(before, least)
        found = {kind: min(n, found.get(kind, n)) for kind, n in more.items()}
        if max(found.values()) < least:
            break
    return {kind: count if count >= least else 0 for kind, count in found.items()}


async def _settled(before: Count, least: int) -> dict[str, int]:
    """Return what has been added, after a while in which it may go away."""
    until = time.perf_counter() + PATIENCE
    await asyncio.sleep(0)
    more = Count().since(before)
    while max(more.values()) >= least and time.perf_counter() < until:
        gc.collect()
        await asyncio.sleep(0.05)
        more = Count().since(before)
    return more
