"""The contract as a page: `python -m langchain_wrap.checks.reports.document FILE` writes it."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from pathlib import Path

from langchain_wrap.checks.clause import Area, Clause
from langchain_wrap.checks.clauses import AREAS
from langchain_wrap.checks.clauses.chat import AREAS as CHAT_AREAS

_HEAD = """\
# The contract of a custom LLM

What LangChain, and everyone who builds on it, may count on in a model, clause by clause. Each has a
stable id. [The kit](checks.md) checks them on any `BaseLLM`: `check_llm(llm)`.

There are two levels:

- **contract**: what the author of any custom LLM owes, by langchain-core's own documents.
- **production**: what langchain-core's base class itself does not give, and users of a service in
  production need all the same. `langchain_wrap.LLM` gives it.

This page is made from the checks themselves, by `make contract`.
"""

_CHAT_HEAD = """\
# The contract of a custom chat model

What holds of any `BaseChatModel` besides: `check_chat(model)` checks it, and repeats nothing of
langchain-tests.
"""

_CHAT_LEVEL = 4
"""The level of the headings of the areas on chat models: the first part has 2 and 3 for itself."""


def render() -> str:
    """Return the contract as Markdown."""
    areas = [area for area in AREAS if area.clauses]
    parts = [_HEAD, _overview(areas), *(_section(area) for area in areas), _CHAT_HEAD]
    parts.append(_overview(CHAT_AREAS, linked=False))
    return "\n".join([*parts, *(_section(area, _CHAT_LEVEL) for area in CHAT_AREAS)])


def _overview(areas: Sequence[Area], *, linked: bool = True) -> str:
    rows = ["| area | about | contract | production |", "| --- | --- | ---: | ---: |"]
    total = {"contract": 0, "production": 0}
    for area in areas:
        levels = [clause.level for clause in area.clauses]
        counted = {level: levels.count(level) for level in ("contract", "production")}
        total = {level: total[level] + number for level, number in counted.items()}
        link = f"[{area.name}](#{_anchor(_heading(area))})" if linked else area.name
        numbers = " | ".join(str(number or "") for number in counted.values())
        rows.append(f"| {link} | {area.title} | {numbers} |")
    rows.append(f"| | together | {total['contract']} | {total['production']} |")
    return "\n".join(rows) + "\n"


def _section(area: Area, level: int = 2) -> str:
    head = f"{'#' * level} {_heading(area)}\n"
    return "\n".join([head, *(_clause(clause, level + 1) for clause in area.clauses)])


def _heading(area: Area) -> str:
    return f"{area.name}: {area.title}"


def _clause(clause: Clause, level: int) -> str:
    return (
        f"{'#' * level} {clause.id}\n\n"
        f"**{_prose(clause.title)}** ({clause.level})\n\n"
        f"- Why: {_prose(clause.why)}\n"
        f"- Fix: {_prose(clause.fix)}\n"
        f"- Source: {_prose(clause.source)}\n"
    )


def _prose(text: str) -> str:
    """Return text as Markdown; what stands outside of backticks is escaped."""
    from langchain_wrap.checks.reports.markdown import prose

    return prose(text)


def _anchor(heading: str) -> str:
    """Return the fragment that GitHub gives a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(render(), encoding="utf-8", newline="\n")
