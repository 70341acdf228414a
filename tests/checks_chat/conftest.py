"""After the tests: which clauses each mutant of a chat model has failed."""

from __future__ import annotations

from looks import table

from checks_chat.mutant import LOOKED


def pytest_terminal_summary(terminalreporter):
    if LOOKED:
        terminalreporter.section("chat: clause, mutant, verdict, what it fails")
        for line in table(LOOKED):
            terminalreporter.write_line(line)
