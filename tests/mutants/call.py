"""Mutants of CALL."""

from __future__ import annotations

from mutants.mutant import Mutant
from mutants.right import Core


class ReturnsBytes(Core):
    def _call(self, prompt, stop=None, run_manager=None, **kwargs):
        return self.text(prompt, stop).encode()


class AnswersOtherwiseInAsync(Core):
    async def _acall(self, prompt, stop=None, run_manager=None, **kwargs):
        return self.text(prompt, stop).lower()


MUTANTS = [
    Mutant("CALL-01", ReturnsBytes, Core),
    Mutant("CALL-02", AnswersOtherwiseInAsync, Core),
]
