"""A report as Markdown, as GitHub and GitLab show it."""

from __future__ import annotations

import re

from langchain_wrap.checks.report import Report, counts
from langchain_wrap.checks.reports.characters import visible
from langchain_wrap.checks.reports.text import costs, versions
from langchain_wrap.checks.result import CheckResult

_SIGNS = {"passed": "✅", "failed": "❌", "skipped": "⏭️", "xfailed": "🟦", "xpassed": "❌"}


def render(report: Report) -> str:
    """Return a report as Markdown: a table of the areas, then what did not pass."""
    holds = "holds" if report else "does not hold"
    sign = _SIGNS["passed" if report else "failed"]
    parts = [
        f"## {sign} {code(report.model)} {holds} the contract (level {report.level})",
        f"{report.summary}.",
        _areas(report),
        *(_failure(result) for result in report.unexpected),
        _reasons(report, "skipped"),
        _reasons(report, "xfailed"),
        "\n".join(f"> {text(note)}" for note in report.notes),
        f"<sub>{text(costs(report))}. {text(versions(report))}.</sub>",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _areas(report: Report) -> str:
    shown = [status for status, number in report.counts().items() if number]
    rows = [
        ["area", *(f"{_SIGNS[status]} {status}" for status in shown)],
        ["---", *("---:" for _ in shown)],
    ]
    for area, results in report.areas().items():
        counted = counts(results)
        rows.append([area, *(str(counted[status] or "") for status in shown)])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _failure(result: CheckResult) -> str:
    head = f"### {_SIGNS[result.status]} {result.id}: {prose(result.title)}"
    parts = [head, fenced(result.message, "text")]
    if result.status == "failed":
        named = (("Why", result.why), ("Fix", result.fix), ("Source", result.source))
        parts += [f"**{name}:** {prose(said)}" for name, said in named if said]
        if result.repro:
            script = fenced(result.repro, "python")
            parts.append(
                f"<details><summary>To reproduce it, given llm</summary>\n\n{script}\n\n</details>"
            )
    return "\n\n".join(parts)


def _reasons(report: Report, status: str) -> str:
    chosen = report.of(status)
    if not chosen:
        return ""
    lines = "\n".join(f"- {r.id}: {text(r.message)}" for r in chosen)
    summary = f"{_SIGNS[status]} {len(chosen)} {status}"
    return f"<details><summary>{summary}</summary>\n\n{lines}\n\n</details>"


def text(raw: str) -> str:
    """Return text in a line, with what Markdown and HTML would take as theirs escaped."""
    line = re.sub(r"\s+", " ", visible(raw))
    escaped = line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    # Inside of a word an underscore is nothing but that.
    escaped = re.sub(r"([\\`*\[\]#~$]|(?<!\w)_|_(?!\w))", r"\\\1", escaped)
    return escaped.replace("@", "@\N{ZERO WIDTH SPACE}")  # mentions nobody


def prose(ours: str) -> str:
    """Return text of a clause, in which `code` stands between backticks."""
    parts = re.split(r"`([^`]+)`", ours)
    return "".join(code(p) if number % 2 else text(p) for number, p in enumerate(parts))


def code(raw: str) -> str:
    """Return text in a line as code."""
    line = " ".join(visible(raw).split())
    fence = _fence(line, 1)
    pad = " " if "`" in line else ""
    return f"{fence}{pad}{line}{pad}{fence}"


def fenced(raw: str, language: str) -> str:
    """Return text as a block of code, behind a fence that is longer than any in it."""
    block = visible(raw).rstrip()
    fence = _fence(block, 3)
    return f"{fence}{language}\n{block}\n{fence}"


def _fence(inside: str, least: int) -> str:
    longest = max((len(run) for run in re.findall("`+", inside)), default=0)
    return "`" * max(least, longest + 1)
