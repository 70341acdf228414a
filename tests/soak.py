"""`python tests/soak.py 200`: right models under load, run by run; whatever fails is a false alarm.

Each run has its own seed; it checks the reference models and two of the family that the seed makes.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field

from family import CORES, OURS, WRAPPED, member
from langchain_core.language_models.llms import BaseLLM
from mutants.right import Core, Ours
from scripted import KINDS

from langchain_wrap.checks import check_llm
from langchain_wrap.checks.clause import Level

BUSY = "import os; parent = os.getppid()\nwhile os.getppid() == parent: pass"
"""Ends with the process that started it, however that ends."""


@dataclass(frozen=True)
class Right:
    """A model that owes nothing up to a level."""

    name: str
    make: Callable[[], BaseLLM]
    level: Level = "production"


REFERENCES = (
    Right("Core", Core, "contract"),
    Right("Ours", Ours),
    *(Right(f"the scripted {name}", kind) for name, kind in KINDS.items()),
    *(Right(f"wrap of {name}", make) for name, make in WRAPPED.items()),
)


def of_run(seed: int, *, whole: bool = False) -> list[Right]:
    """The models of a run: Core, Ours, two more in turn (or all), and two of the family."""
    turn = seed % 6
    chosen = REFERENCES if whole else (*REFERENCES[:2], REFERENCES[2 + turn], REFERENCES[8 + turn])
    return [
        *chosen,
        Right(f"core's family {seed}", member(seed, CORES), "contract"),
        Right(f"our family {seed}", member(seed, OURS)),
    ]


@dataclass
class Outcome:
    """What came of the check of one model."""

    model: str
    seed: int
    alarms: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    clauses: int = 0
    seconds: float = 0.0


def check(right: Right, seed: int, **options: object) -> Outcome:
    """Check one right model; each clause that fails is an alarm, with its seconds and message."""
    random.seed(seed)
    report = check_llm(right.make, level=right.level, **options)  # type: ignore[arg-type]
    return Outcome(
        right.name,
        seed,
        [f"{r.id} ({r.seconds:.1f} s): {r.message}" for r in report if r.status == "failed"],
        [f"{r.id}: {r.message}" for r in report if r.status == "skipped"],
        len(report),
        report.seconds,
    )


def run(seed: int, whole: bool) -> list[Outcome]:
    return [check(right, seed) for right in of_run(seed, whole=whole)]


@contextmanager
def load(processes: int = 0) -> Iterator[None]:
    """Keep the cores busy: as many processes as there are cores, unless told otherwise."""
    started = [
        subprocess.Popen([sys.executable, "-c", BUSY])
        for _ in range(processes or os.cpu_count() or 2)
    ]
    try:
        yield
    finally:
        for process in started:
            process.kill()
            process.wait()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", type=int, nargs="?", default=200)
    parser.add_argument("--first", type=int, default=0, help="the seed of the first run")
    parser.add_argument("--jobs", type=int, default=1, help="runs side by side")
    parser.add_argument("--all", action="store_true", help="every reference model in every run")
    parser.add_argument("--skips", action="store_true", help="show what was skipped, and why")
    given = parser.parse_args()
    seeds = range(given.first, given.first + given.runs)
    checked = clauses = alarms = 0
    skipped: Counter[str] = Counter()
    began = time.perf_counter()
    spawn = multiprocessing.get_context("spawn")
    with load(), ProcessPoolExecutor(given.jobs, mp_context=spawn) as pool:
        for done, outcomes in enumerate(pool.map(run, seeds, [given.all] * given.runs), 1):
            for one in outcomes:
                checked += 1
                clauses += one.clauses
                alarms += len(one.alarms)
                skipped.update(f"{one.model.rstrip('0123456789')}: {s}" for s in one.skipped)
                for alarm in one.alarms:
                    print(f"FALSE ALARM, seed {one.seed}, {one.model}: {alarm}", flush=True)
            minutes = (time.perf_counter() - began) / 60
            print(f"{done}/{given.runs} runs, {alarms} false alarms, {minutes:.1f} min", flush=True)
    if given.skips:
        for text, times in skipped.most_common():
            print(f"skipped {times} x {text}")
    print(
        f"{given.runs} runs, {checked} checks of models, {clauses} of clauses, "
        f"{sum(skipped.values())} skipped: {alarms} false alarms"
    )
    return 1 if alarms else 0


if __name__ == "__main__":
    sys.exit(main())
