"""Cancelling: what becomes of an async call whose task is cancelled."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from langchain_core.language_models.llms import BaseLLM

_MANY = 100
"""Turns of the loop in which nothing but a thread can be waited for."""


@dataclass(frozen=True)
class Ended:
    """How a task has ended that was to be cancelled."""

    done: bool
    """Whether it was over before it could be cancelled."""
    seconds: float = 0.0
    """How long it went on after that."""
    value: Any = None
    error: BaseException | None = None
    hangs: bool = False
    """Whether it went on for longer than one could wait."""

    @property
    def cancelled(self) -> bool:
        """Whether `CancelledError` came out."""
        return isinstance(self.error, asyncio.CancelledError)

    @property
    def text(self) -> str:
        """What came out, for a message."""
        if self.hangs:
            return "nothing"
        return f"returned {self.value!r}" if self.error is None else f"raised {self.error!r}"


async def read(llm: BaseLLM, path: str, prompt: str) -> str:
    """Return the text of an async call."""
    if path == "astream":
        return "".join([chunk async for chunk in llm.astream(prompt)])
    return await llm.ainvoke(prompt)


async def cancel(
    llm: BaseLLM, path: str, prompt: str, when: float | int | Callable[[], bool], *, patience: float
) -> Ended:
    """Start a call, cancel its task, and tell how it ends.

    Args:
        llm: The model.
        path: `ainvoke` or `astream`.
        prompt: What is asked.
        when: After how many seconds (a float) or turns of the loop (an int), or when what is true.
        patience: Seconds to wait for the end.
    """
    task = asyncio.ensure_future(read(llm, path, prompt))
    await _moment(task, when)
    if task.done():
        task.exception()
        return Ended(done=True)
    began = time.perf_counter()
    task.cancel()
    await asyncio.wait([task], timeout=patience)
    seconds = time.perf_counter() - began
    if not task.done():
        return Ended(done=False, seconds=seconds, hangs=True)
    if task.cancelled():
        return Ended(done=False, seconds=seconds, error=asyncio.CancelledError())
    error = task.exception()
    value = None if error is not None else task.result()
    return Ended(done=False, seconds=seconds, value=value, error=error)


async def moments(llm: BaseLLM, path: str, prompt: str) -> list[float | int]:
    """Return when to cancel a call of a fast model so that it is met in its middle."""
    task, turns = asyncio.ensure_future(read(llm, path, prompt)), 0
    while not task.done() and turns < _MANY:
        await asyncio.sleep(0)
        turns += 1
    await asyncio.wait([task])
    task.exception()
    return [turns // 2, turns * 3 // 4, turns - 1] if turns < _MANY else [0.005]


async def _moment(task: asyncio.Task[str], when: float | int | Callable[[], bool]) -> None:
    if isinstance(when, float):
        await asyncio.wait([task], timeout=when)
    elif isinstance(when, int):
        for _ in range(when):
            await asyncio.sleep(0)
    else:
        while not (task.done() or when()):  # noqa: ASYNC110
            await asyncio.sleep(0.002)
