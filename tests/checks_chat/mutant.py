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
LOOKED: dict[Mutant, int] = {}
"""How many looks each mutant took; 0: it was not seen as it is owed."""


def mutant(clause: str, *also: str, right: Callable[[], BaseChatModel] = Core):
    """Note that a class has a mistake."""

    def add(wrong):
        MUTANTS.append(Mutant(f"CHAT-{clause}", wrong, right, frozenset(f"CHAT-{a}" for a in also)))
        return wrong

    return add
