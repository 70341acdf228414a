"""A heartbeat: how long an event loop stands still while a call runs in it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from langchain_wrap.checks.probes.slow import slowed
from langchain_wrap.checks.probes.spy import ASYNC, PROBE, Visit
from langchain_wrap.checks.subject import Subject

_BEAT = 0.005

DELAY = 0.15
"""Seconds that a fast model is slowed down by, so that standing still can be told from chance."""

_TOLD = 0.08
"""Seconds of a call of its own from which on a model shows by itself whether it blocks."""

_PROBED = "checked"


@dataclass
class Watched:
    """What a call in an event loop did to the loop, and what arrived in the model."""

    gap: float = 0.0
    """The longest time in which nothing else could run."""
    quiet: float = 0.0
    """The same in a control: a thread that sleeps beside the loop for as long."""
    seconds: float = 0.0
    usual: float = 0.0
    """What the same call takes when nothing slows it down."""
    delay: float = DELAY
    """How much longer each blocking method was made."""
    visits: list[Visit] = field(default_factory=list)

    @property
    def arrived(self) -> bool:
        """Whether the caller's context variable arrived in the model."""
        return all(visit.probe == _PROBED for visit in self.visits)

    @property
    def injected(self) -> float:
        """The seconds that the model was made to block, in whichever thread."""
        return self.delay if self._blocking else 0.0

    @property
    def _blocking(self) -> int:
        return sum(visit.method not in ASYNC for visit in self.visits)

    @property
    def own(self) -> float:
        """The seconds that the model has taken by itself."""
        return max(0.0, min(self.usual, self.seconds - self.delay * self._blocking))

    @property
    def told(self) -> bool:
        """Whether blocking would have shown."""
        return bool(self.injected) or self.own >= _TOLD

    @property
    def blocked(self) -> bool:
        """Whether the loop stood still for a good part of the call, and not in the control."""
        limits = [0.6 * self.injected] if self.injected else []
        if self.own >= _TOLD:
            limits.append(max(0.06, 0.3 * self.own))
        return bool(limits) and self.gap >= min(limits)

    @property
    def noisy(self) -> bool:
        """Whether the loop stood still in the control as well."""
        return self.quiet > 0.4 * self.gap


async def longest_gap(call: Callable[[], Awaitable[Any]]) -> tuple[float, float]:
    """Return the longest time between two beats while a call runs, and what the call took."""
    longest, last = 0.0, time.perf_counter()

    async def beat() -> None:
        nonlocal longest, last
        while True:
            await asyncio.sleep(_BEAT)
            now = time.perf_counter()
            longest, last = max(longest, now - last), now

    beating = asyncio.ensure_future(beat())
    await asyncio.sleep(2 * _BEAT)
    longest, began = 0.0, time.perf_counter()
    try:
        await call()
    finally:
        seconds = time.perf_counter() - began
        await asyncio.sleep(2 * _BEAT)  # what stood still at the end shows at the next beat
        beating.cancel()
    return longest, seconds


def watched(model: Subject, path: str) -> Watched:
    """Return what `watch` has seen; the call is made once for all checks that look at it."""
    return model.once(f"watched {path}", lambda: watch(model, path))


def watch(model: Subject, path: str, delay: float = DELAY) -> Watched:
    """Make a call by `ainvoke` or `astream` and watch the loop, and PROBE in the model."""
    found = Watched(usual=model.answered(path).seconds, delay=delay)

    async def call() -> None:
        if path == "astream":
            async for _ in model.llm.astream(model.prompt):
                pass
        else:
            await model.llm.ainvoke(model.prompt)

    async def main() -> None:
        PROBE.set(_PROBED)
        found.gap, found.seconds = await longest_gap(call)

    async def control() -> None:
        seconds = min(max(found.gap, 0.05), 0.5)
        found.quiet, _ = await longest_gap(lambda: asyncio.to_thread(time.sleep, seconds))

    model.calls += 1
    with model.spy(around=slowed(delay)) as spy:
        model.run_async(main, model.timeout + 3 * model.seconds)
    found.visits = list(spy.visits)
    if found.blocked:
        model.run_async(control)
    return found
