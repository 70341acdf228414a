"""A report as plain text."""

from __future__ import annotations

import textwrap

from langchain_wrap.checks.report import Report, counts, summary
from langchain_wrap.checks.reports.characters import visible
from langchain_wrap.checks.result import CheckResult

_WIDTH = 100


def render(report: Report) -> str:
    """Return a report as text for a terminal without colour, or a log."""
    parts = [_head(report), _areas(report)]
    parts += [_failure(result) for result in report.unexpected]
    parts += [_reasons(report, "skipped"), _reasons(report, "xfailed"), _passed_notes(report)]
    parts += [_notes(report), costs(report), verdict(report)]
    return "\n\n".join(part for part in parts if part)


def verdict(report: Report) -> str:
    """Return in a sentence whether the contract is held."""
    if not report.results:
        return "Nothing was checked."
    holds = "holds" if report else "does not hold"
    return visible(f"{report.model} {holds} what was checked: {report.summary}.")


def costs(report: Report) -> str:
    """Return what the checks cost in calls and seconds, and which cost most."""
    dearest = ", ".join(f"{r.id} {r.seconds:.1f} s" for r in report.dearest() if r.seconds >= 0.05)
    total = f"Cost: {report.calls} calls, {report.seconds:.1f} s"
    return f"{total}; the longest: {dearest}" if dearest else total


def versions(report: Report) -> str:
    """Return the versions that were at work, in a line."""
    return ", ".join(f"{name} {version}" for name, version in report.versions.items())


def _head(report: Report) -> str:
    lines = [f"Contract of {visible(report.model)}, level {report.level}", versions(report)]
    return "\n".join(line for line in lines if line)


def _areas(report: Report) -> str:
    width = max((len(area) for area in report.areas()), default=0)
    return "\n".join(
        f"{area:<{width}}  {summary(counts(results))}" for area, results in report.areas().items()
    )


def _failure(result: CheckResult) -> str:
    word = "FAILED" if result.status == "failed" else "PASSED, THOUGH EXPECTED TO FAIL"
    lines = [f"{word} {result.id} ({result.level})  {result.title}"]
    lines.append(textwrap.indent(visible(result.message), "    "))
    if result.status == "failed":
        lines += explained(result, "    ")
    return "\n".join(line for line in lines if line.strip())


def explained(result: CheckResult, indent: str = "") -> list[str]:
    """Return why a failure matters, how it is mended, and what reproduces it, as lines."""
    lines = [
        textwrap.fill(
            f"{name}: {text}",
            _WIDTH,
            initial_indent=indent,
            subsequent_indent=f"{indent}{' ' * (len(name) + 2)}",
            break_long_words=False,
            break_on_hyphens=False,
        )
        for name, text in (("Why", result.why), ("Fix", result.fix), ("Source", result.source))
        if text
    ]
    if result.repro:
        code = textwrap.indent(visible(result.repro).rstrip(), f"{indent}    ")
        lines += [f"{indent}To reproduce it, given llm:", code]
    return lines


def _reasons(report: Report, status: str) -> str:
    return _listed(f"{status.capitalize()}:", report.of(status))


def _passed_notes(report: Report) -> str:
    return _listed("Passed, with a note:", tuple(r for r in report.of("passed") if r.message))


def _listed(head: str, results: tuple[CheckResult, ...]) -> str:
    lines = [f"  {result.id}  {' '.join(visible(result.message).split())}" for result in results]
    return "\n".join([head, *lines]) if lines else ""


def _notes(report: Report) -> str:
    return "\n".join(f"Note: {visible(note)}" for note in report.notes)
