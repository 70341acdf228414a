"""Side by side: two ways of doing the same work, in turn, in one run."""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table; `ours` and `reference` are medians in the given unit."""

    work: str
    ours: float
    reference: float
    unit: str
    against: str
    """What the reference is."""
    goal: str
    met: bool
    higher_is_better: bool = False

    @property
    def ratio(self) -> float:
        return self.ours / self.reference


def seconds(work: Callable[[], object]) -> float:
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def in_turn(repeats: int, *works: Callable[[], object]) -> list[float]:
    """Run each work `repeats` times, A B C A B C …; return the median seconds of each.

    The first round warms up and is not counted.
    """
    times: list[list[float]] = [[] for _ in works]
    for round_ in range(repeats + 1):
        for index, work in enumerate(works):
            taken = seconds(work)
            if round_:
                times[index].append(taken)
    return [statistics.median(taken) for taken in times]
