"""A report as a notebook shows it: compact, and in whatever colours the notebook has."""

from __future__ import annotations

from langchain_wrap.checks.report import Report
from langchain_wrap.checks.reports.html import areas, prose, text
from langchain_wrap.checks.reports.text import costs, verdict, versions
from langchain_wrap.checks.result import CheckResult

# Notebooks may take out <style>, and their theme is not known: so inline, and no background.
_RED, _GREEN, _SOFT = "color:#d1495b", "color:#3c9a63", "opacity:.7;font-size:90%"


def render(report: Report) -> str:
    """Return a report as a piece of HTML."""
    colour = _GREEN if report else _RED
    parts = [
        f'<div style="max-width:60rem"><p style="{colour}"><strong>{text(verdict(report))}</strong>'
        f'</p><p style="{_SOFT}">Level {text(report.level)}, {text(versions(report))}. '
        f"{text(costs(report))}.</p>",
        *(f"<p>Note: {text(note)}</p>" for note in report.notes),
        *(_failure(result) for result in report.unexpected),
        _reasons(report, "skipped"),
        _reasons(report, "xfailed"),
        f"<details><summary>areas</summary>{areas(report, linked=False)}</details></div>",
    ]
    return "\n".join(part for part in parts if part)


def _failure(result: CheckResult) -> str:
    named = (("Why", result.why), ("Fix", result.fix)) if result.status == "failed" else ()
    said = "".join(f"<p><strong>{name}:</strong> {prose(one)}</p>" for name, one in named if one)
    repro = ""
    if result.repro:
        repro = (
            "<details><summary>to reproduce it, given llm</summary>"
            f"<pre>{text(result.repro.rstrip())}</pre></details>"
        )
    return (
        f'<details open><summary><strong style="{_RED}">{result.status} {text(result.id)}</strong> '
        f'{prose(result.title)}</summary><div style="margin-left:1.5em">'
        f'<p style="white-space:pre-wrap;overflow-wrap:anywhere">{text(result.message)}</p>'
        f"{said}{repro}</div></details>"
    )


def _reasons(report: Report, status: str) -> str:
    chosen = report.of(status)
    if not chosen:
        return ""
    rows = "".join(f"<li>{text(r.id)}: {text(r.message)}</li>" for r in chosen)
    return f"<details><summary>{len(chosen)} {status}</summary><ul>{rows}</ul></details>"
