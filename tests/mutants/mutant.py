"""What a mutant is: a wrong model for a clause, next to its right counterpart."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from langchain_core.language_models.llms import BaseLLM


@dataclass(frozen=True)
class Mutant:
    """A model with one mistake in it."""

    clause: str
    """The clause that it must fail."""
    wrong: Callable[[], BaseLLM]
    right: Callable[[], BaseLLM]
    """The same model without the mistake."""
    also: frozenset[str] = frozenset()
    """Other clauses that the same mistake cannot but break."""

    @property
    def owed(self) -> set[str]:
        """All clauses that it must fail; no other may."""
        return {self.clause, *self.also}

    @property
    def name(self) -> str:
        return getattr(self.wrong, "__name__", repr(self.wrong))


FAILED: dict[Mutant, set[str]] = {}
"""What each mutant that was checked has failed."""


def table() -> list[str]:
    """The mutants that were checked, a line each, and the score."""
    lines = []
    for mutant, failed in sorted(FAILED.items(), key=lambda item: item[0].clause):
        verdict = "found" if failed == mutant.owed else f"{sorted(mutant.owed)} expected"
        lines.append(f"{mutant.clause:12} {mutant.name:40} {verdict:6} {' '.join(sorted(failed))}")
    found = sum(failed == mutant.owed for mutant, failed in FAILED.items())
    clauses = {mutant.clause for mutant in FAILED}
    return [*lines, f"{found} of {len(FAILED)} mutants found, of {len(clauses)} clauses"]
