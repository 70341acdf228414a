"""After the tests: which clauses each mutant has failed."""

from __future__ import annotations

from mutants.mutant import FAILED, table


def pytest_terminal_summary(terminalreporter):
    if FAILED:
        terminalreporter.section("clause, mutant, verdict, what it failed")
        for line in table():
            terminalreporter.write_line(line)
