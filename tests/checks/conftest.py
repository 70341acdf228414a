"""After the tests: which clauses each mutant has failed."""

from __future__ import annotations

from looks import table
from mutants.mutant import LOOKED


def pytest_terminal_summary(terminalreporter):
    if LOOKED:
        terminalreporter.section("clause, mutant, verdict, what it fails")
        for line in table(LOOKED):
            terminalreporter.write_line(line)
