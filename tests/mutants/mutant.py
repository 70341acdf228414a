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


LOOKED: dict[Mutant, int] = {}
"""How many looks each mutant took; 0: it was not seen as it is owed."""
