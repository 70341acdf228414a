"""A report as rich draws it on a terminal; imported only where rich is."""

from __future__ import annotations

import re

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.panel import Panel
from rich.syntax import Syntax
from rich.table import Table
from rich.text import Text

from langchain_wrap.checks.report import Report
from langchain_wrap.checks.reports.characters import visible
from langchain_wrap.checks.reports.text import costs, verdict, versions
from langchain_wrap.checks.result import CheckResult

COLOURS = {
    "passed": "green",
    "failed": "bold red",
    "skipped": "yellow",
    "xfailed": "cyan",
    "xpassed": "bold red",
}


def render(report: Report) -> RenderableType:
    """Return a report as a table of the clauses, and a panel for each unexpected failure."""
    parts: list[RenderableType] = [
        Text(f"Contract of {visible(report.model)}, level {report.level}", style="bold"),
        Text(versions(report), style="dim"),
        _table(report),
        *(_panel(result) for result in report.unexpected),
        *(Text(f"Note: {visible(note)}") for note in report.notes),
        Text(costs(report), style="dim"),
        Text(verdict(report), style="bold green" if report else "bold red"),
    ]
    return Group(*parts)


def _table(report: Report) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("id", no_wrap=True)
    table.add_column("level", no_wrap=True)
    table.add_column("status", no_wrap=True)
    table.add_column("clause", ratio=1)
    table.add_column("calls", justify="right", no_wrap=True)
    table.add_column("seconds", justify="right", no_wrap=True)
    for results in report.areas().values():
        for result in results:
            table.add_row(*_row(result), end_section=result is results[-1])
    return table


def _row(result: CheckResult) -> tuple[RenderableType, ...]:
    clause = prose(result.title)
    if result.message:
        clause.append(f"\n{visible(result.message)}", style="dim")
    colour = COLOURS[result.status]
    return (
        Text(result.id, style=colour if result.unexpected else ""),
        Text(result.level, style="dim"),
        Text(result.status, style=colour),
        clause,
        Text(str(result.calls or ""), style="dim"),
        Text(f"{result.seconds:.2f}" if result.seconds >= 0.005 else "", style="dim"),
    )


def _panel(result: CheckResult) -> Panel:
    parts: list[RenderableType] = [Text(visible(result.message), style="red")]
    if result.status == "failed":
        parts += [
            Text.assemble((f"{name}: ", "bold"), prose(text))
            for name, text in (("Why", result.why), ("Fix", result.fix), ("Source", result.source))
            if text
        ]
        if result.repro:
            code = Syntax(
                visible(result.repro).rstrip(),
                "python",
                background_color="default",
                word_wrap=True,
            )
            parts += [
                Text("To reproduce it, given llm:", style="bold"),
                Padding(code, (0, 0, 0, 2)),
            ]
    title = Text(f"{result.id} ").append_text(prose(result.title))
    return Panel(Group(*parts), title=title, title_align="left", border_style="red")


def prose(text: str) -> Text:
    """Return text in which `code` between backticks is coloured."""
    shown = Text()
    for number, part in enumerate(re.split(r"`([^`]+)`", text)):
        shown.append(part, style="cyan" if number % 2 else "")
    return shown
