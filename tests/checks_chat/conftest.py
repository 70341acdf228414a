"""After the tests: which clauses each mutant of a chat model has failed."""

from __future__ import annotations

from checks_chat.mutant import FAILED, table


def pytest_terminal_summary(terminalreporter):
    if FAILED:
        terminalreporter.section("chat: clause, mutant, verdict, what it failed")
        for line in table():
            terminalreporter.write_line(line)
