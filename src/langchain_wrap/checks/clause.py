"""A clause: one thing that a custom model owes, and the check that tells whether it holds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

Level = Literal["contract", "production"]
"""`contract`: what langchain-core's own documents ask of the author of any custom LLM.
`production`: what langchain-core's base class itself does not give."""

LEVELS: tuple[Level, ...] = ("contract", "production")

Check = Callable[[Any], "str | None"]
"""It is given the subject of its kit."""


@dataclass(frozen=True)
class Clause:
    """One clause of the contract.

    Its check returns if the clause holds, with a note if there is something to say; it raises
    `Failed` if the clause does not hold, and `Skipped` if that cannot be told.
    """

    id: str
    """Stable: `AREA-NN`."""
    title: str
    """The clause in one sentence."""
    level: Level
    why: str
    """What goes wrong for the author's users where it does not hold."""
    source: str
    """Where LangChain, or this project, says so."""
    fix: str
    """How an author mends it."""
    check: Check

    @property
    def area(self) -> str:
        """The part of the id before the number, such as `STOP`."""
        return self.id.rpartition("-")[0]


class Area:
    """Collects the clauses of one area in the order in which they are written."""

    def __init__(self, name: str, title: str) -> None:
        self.name = name
        self.title = title
        self.clauses: list[Clause] = []

    def clause(
        self, number: int, title: str, *, level: Level, why: str, source: str, fix: str
    ) -> Callable[[Check], Check]:
        """Make a clause of a check: `@area.clause(1, "…", level=…, why=…, source=…, fix=…)`."""

        def add(check: Check) -> Check:
            clause = Clause(f"{self.name}-{number:02}", title, level, why, source, fix, check)
            if any(known.id == clause.id for known in self.clauses):
                raise ValueError(f"two clauses are called {clause.id}")
            self.clauses.append(clause)
            return check

        return add


class Failed(Exception):
    """A clause does not hold."""

    def __init__(self, message: str, repro: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.repro = repro
        """Python that shows it without the kit: `llm` is the model; it ends with an exception."""


class Skipped(Exception):
    """Whether a clause holds cannot be told; the text says why."""
