"""A report as a page for a browser: one file that needs no network."""

from __future__ import annotations

import re
from html import escape

from langchain_wrap.checks.report import Report, counts
from langchain_wrap.checks.reports.characters import visible
from langchain_wrap.checks.reports.style import CSS, JS
from langchain_wrap.checks.reports.text import costs, versions
from langchain_wrap.checks.reports.timeline import describe, draw
from langchain_wrap.checks.result import CheckResult

_POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'"


def render(report: Report) -> str:
    """Return a report as a page that can be filtered, with a drawing of each streamed call."""
    title = f"Contract of {report.model}"
    return "\n".join(
        (
            "<!DOCTYPE html>",
            '<html lang="en">',
            "<head>",
            '<meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{text(title)}</title>",
            f"<style>\n{CSS}</style>",
            "</head>",
            "<body>",
            "<main>",
            _header(report, title),
            areas(report, linked=True),
            _form(report),
            *(_section(area, results) for area, results in report.areas().items()),
            f'<footer class="soft"><p>{text(costs(report))}.</p></footer>',
            "</main>",
            f"<script>\n{JS}</script>",
            "</body>",
            "</html>",
            "",
        )
    )


def text(raw: str) -> str:
    """Return any text as HTML that shows it."""
    return escape(visible(raw))


def prose(ours: str) -> str:
    """Return text of a clause as HTML, in which `code` stands between backticks."""
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", text(ours))


def area_title(name: str) -> str:
    """Return what an area is about; its name if that is not known."""
    from langchain_wrap.checks.clauses import AREAS

    return next((area.title for area in AREAS if area.name == name), name)


def _header(report: Report, title: str) -> str:
    counted = report.counts()
    bars = "".join(
        f'<span class="{status}" style="flex:{number}"></span>'
        for status, number in counted.items()
        if number
    )
    broken, said = ("", "Holds") if report else (" broken", "Does not hold")
    notes = "".join(f'<p class="note">{text(note)}</p>' for note in report.notes)
    return (
        f"<header>\n<h1>{text(title)}</h1>\n"
        f'<p class="soft">Level {text(report.level)} · {text(versions(report))}</p>\n'
        f'<p class="verdict{broken}"><strong>{said}</strong> what was checked: '
        f"{report.summary}.</p>\n"
        f'<div class="bar" aria-hidden="true">{bars}</div>\n{notes}</header>'
    )


def areas(report: Report, *, linked: bool) -> str:
    """Return the counts of the areas as a table; its cells have no colour without our style."""
    shown = [status for status, number in report.counts().items() if number]
    heads = "".join(f'<th scope="col">{status}</th>' for status in shown)
    rows = []
    for area, results in report.areas().items():
        counted = counts(results)
        cells = "".join(
            f'<td class="some {status}">{counted[status]}</td>' if counted[status] else "<td></td>"
            for status in shown
        )
        seconds = sum(result.seconds for result in results)
        name = f"{text(area)} · {text(area_title(area))}"
        if linked:
            name = f'<a href="#{text(area)}">{text(area)}</a> · {text(area_title(area))}'
        rows.append(f'<tr><th scope="row">{name}</th>{cells}<td>{seconds:.2f} s</td></tr>')
    return (
        '<div class="wide"><table>\n<caption class="away">What came of each area</caption>\n'
        f'<thead><tr><th scope="col">area</th>{heads}<th scope="col">time</th></tr></thead>\n'
        f"<tbody>\n{chr(10).join(rows)}\n</tbody>\n</table></div>"
    )


def _form(report: Report) -> str:
    """Return the filter; hidden, as it is of no use without the script that shows it."""
    boxes = "".join(
        f'<label><input type="checkbox" name="status" value="{status}" checked>'
        f"{status} ({number})</label>"
        for status, number in report.counts().items()
        if number
    )
    options = "".join(f"<option>{text(area)}</option>" for area in report.areas())
    return (
        f"<form hidden>\n<fieldset><legend>Status</legend>{boxes}</fieldset>\n"
        f'<label>area <select name="area"><option value="">all</option>{options}</select></label>\n'
        '<output class="soft"></output>\n</form>'
    )


def _section(area: str, results: tuple[CheckResult, ...]) -> str:
    clauses = "\n".join(_clause(result) for result in results)
    return (
        f'<section id="{text(area)}" data-area="{text(area)}">\n'
        f"<h2>{text(area)}<small>{text(area_title(area))}</small></h2>\n{clauses}\n</section>"
    )


def _clause(result: CheckResult) -> str:
    name = text(result.id)
    calls = f"{result.calls} call{'' if result.calls == 1 else 's'} · " if result.calls else ""
    return (
        f'<details id="{name}" class="{result.status}" data-status="{result.status}"'
        f"{' open' if result.unexpected else ''}>\n"
        f'<summary><span class="status">{result.status}</span>'
        f'<h3><span class="id">{name}</span> {prose(result.title)}</h3>'
        f'<span class="cost">{calls}{result.seconds:.2f} s</span></summary>\n'
        f'<div class="body">\n{body(result)}{_figure(result)}</div>\n</details>'
    )


def body(result: CheckResult) -> str:
    """Return what there is to say of a result."""
    message = f'<p class="message">{text(result.message)}</p>\n' if result.message else ""
    named = (
        ("Why", result.why),
        ("Fix", result.fix),
        ("Source", result.source),
        ("Level", result.level),
    )
    rows = "".join(f"<dt>{name}</dt><dd>{prose(said)}</dd>" for name, said in named if said)
    repro = ""
    if result.repro:
        repro = (
            f"<p>To reproduce it, given <code>llm</code>:</p>\n"
            f"<pre><code>{text(result.repro.rstrip())}</code></pre>\n"
        )
    return f"{message}<dl>{rows}</dl>\n{repro}"


def _figure(result: CheckResult) -> str:
    if not result.timeline:
        return ""
    return (
        f"<figure>\n{draw(result.timeline, result.id)}\n"
        f"<figcaption>One streamed call: {text(describe(result.timeline))}.</figcaption>\n"
        "</figure>\n"
    )
