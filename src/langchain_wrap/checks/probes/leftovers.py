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
from typing import Any

KINDS = ("threads", "tasks", "files", "processes")

PATIENCE = 1.0
"""Seconds in which what has ended may go away; a pool's idle threads, too."""

_FILES = Path("/proc/self/fd")
_TASKS = Path("/proc/self/task")


def threads() -> set[threading.Thread]:
    """Return the threads of this process, but for those of the event loops' own pools."""
    return {t for t in threading.enumerate() if not t.name.startswith("asyncio_")}


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


Things = dict[str, set[Any]]


def counted() -> Things:
    """Return what there is now, by kind, in the running event loop."""
    found: Things = {"threads": set(threads()), "tasks": set(asyncio.all_tasks())}
    more: dict[str, set[Any] | None] = {"files": files(), "processes": processes()}
    return found | {kind: things for kind, things in more.items() if things is not None}


async def growth(cycle: Callable[[], Awaitable[None]], cycles: int, *, warm: int) -> dict[str, int]:
    """Return what grows with the cycles, by kind: how many things in the last `cycles` of them.

    Kinds that cannot be told here are missing. What does not grow by two things, and by half a
    thing a cycle, twice in a row, is 0; so is what is replaced by others, as a connection may be.
    """
    for _ in range(warm):
        await cycle()
    least = max(2, cycles // 2)
    before = counted()
    for _ in range(cycles):
        await cycle()
    between = await _settled(before, least)
    first = _added(before, between)
    if max(map(len, first.values())) < least:
        return dict.fromkeys(between, 0)
    for _ in range(cycles):
        await cycle()
    after = await _settled(between, least)
    second = _added(between, after)
    found = {kind: min(len(first[kind] & after[kind]), len(second[kind])) for kind in second}
    return {kind: count if count >= least else 0 for kind, count in found.items()}


def _added(before: Things, after: Things) -> Things:
    return {kind: after[kind] - before[kind] for kind in after if kind in before}


async def _settled(before: Things, least: int) -> Things:
    """Return what there is after a while in which what was added may go away."""
    until = time.perf_counter() + PATIENCE
    await asyncio.sleep(0)
    after = counted()
    while max(map(len, _added(before, after).values())) >= least and time.perf_counter() < until:
        gc.collect()
        await asyncio.sleep(0.05)
        after = counted()
    return after
