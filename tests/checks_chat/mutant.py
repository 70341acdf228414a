"""What a mutant is: a chat model with one mistake in it, next to its right counterpart."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from langchain_core.language_models import BaseChatModel

from checks_chat.right import Core


@dataclass(frozen=True)
class Mutant:
    """A model with one mistake in it."""

    clause: str
    """The clause that it must fail."""
    wrong: Callable[[], BaseChatModel]
    right: Callable[[], BaseChatModel]
    also: frozenset[str]
    """Other clauses that the same mistake cannot but break."""

    @property
    def owed(self) -> set[str]:
        """All clauses that it must fail, besides those that its right counterpart fails."""
        return {self.clause, *self.also}

    @property
    def name(self) -> str:
        return self.wrong.__name__


MUTANTS: list[Mutant] = []
FAILED: dict[Mutant, set[str]] = {}
"""What each mutant that was checked has failed."""


def mutant(clause: str, *also: str, right: Callable[[], BaseChatModel] = Core):
    """Note that a class has a mistake."""

    def add(wrong):
        MUTANTS.append(Mutant(f"CHAT-{clause}", wrong, right, frozenset(f"CHAT-{a}" for a in also)))
        return wrong

    return add


def table() -> list[str]:
    """The mutants that were checked, a line each, and the score."""
    lines = []
    for one, failed in sorted(FAILED.items(), key=lambda item: item[0].clause):
        verdict = "found" if failed == one.owed else f"{sorted(one.owed)} expected"
        lines.append(f"{one.clause:17} {one.name:28} {verdict:6} {' '.join(sorted(failed))}")
    found = sum(failed == one.owed for one, failed in FAILED.items())
    clauses = {one.clause for one in FAILED}
    return [*lines, f"{found} of {len(FAILED)} mutants found, of {len(clauses)} clauses"]
