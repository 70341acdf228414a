"""The report: what came of all checks of one model."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from langchain_wrap.checks.result import STATUSES, CheckResult

if TYPE_CHECKING:
    from rich.console import RenderableType


@dataclass(frozen=True, repr=False)
class Report:
    """What came of all checks of one model; true if nothing failed that was not expected to.

    Iterating gives a `CheckResult` for each clause. `str(report)` is plain text, a notebook and
    rich show it as a table, and `to_html`, `to_json`, `to_junit` and `to_markdown` return it as
    text in their format, and write that to a file if they are given a path.
    """

    model: str
    """What the model is called: its class, and its name if it has one."""
    level: str
    """Up to which level was checked."""
    results: tuple[CheckResult, ...]
    seconds: float
    """What the checks took together."""
    notes: tuple[str, ...] = ()
    """What was found out about the model, such as whether it is deterministic."""
    versions: dict[str, str] = field(default_factory=dict)
    """Of this package, langchain-core and Python."""

    def __iter__(self) -> Iterator[CheckResult]:
        return iter(self.results)

    def __len__(self) -> int:
        return len(self.results)

    def __bool__(self) -> bool:
        return not self.unexpected

    def __repr__(self) -> str:
        failed = ", ".join(result.id for result in self.unexpected)
        return f"<Report of {self.model}: {f'{failed} failed' if failed else self.summary}>"

    def __str__(self) -> str:
        from langchain_wrap.checks.reports.text import render

        return render(self)

    def __rich__(self) -> RenderableType:
        from langchain_wrap.checks.reports.table import render

        return render(self)

    def _repr_html_(self) -> str:
        from langchain_wrap.checks.reports.notebook import render

        return render(self)

    @property
    def calls(self) -> int:
        """How many prompts the model was given."""
        return sum(result.calls for result in self.results)

    @property
    def unexpected(self) -> tuple[CheckResult, ...]:
        """What counts against the model: failed, or passed though expected to fail."""
        return tuple(result for result in self.results if result.unexpected)

    @property
    def summary(self) -> str:
        """How many checks came out in each way, such as `80 passed, 1 failed`."""
        return summary(self.counts()) or "nothing checked"

    def counts(self) -> dict[str, int]:
        """Return how many checks came out in each way."""
        return counts(self.results)

    def of(self, status: str) -> tuple[CheckResult, ...]:
        """Return the results of one status."""
        return tuple(result for result in self.results if result.status == status)

    def areas(self) -> dict[str, tuple[CheckResult, ...]]:
        """Return the results of each area."""
        found: dict[str, list[CheckResult]] = {}
        for result in self.results:
            found.setdefault(result.area, []).append(result)
        return {area: tuple(results) for area, results in found.items()}

    def dearest(self, count: int = 3) -> tuple[CheckResult, ...]:
        """Return the checks that took longest."""
        return tuple(sorted(self.results, key=lambda r: r.seconds, reverse=True)[:count])

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON values; `to_json` says which."""
        from langchain_wrap.checks.reports.data import values

        return values(self)

    def to_json(self, path: str | Path | None = None) -> str:
        """Return everything as one JSON object, in ASCII, with keys that stay as they are.

        - `schema`: 1; it changes if a key changes its meaning or goes
        - `model`, `level`: texts
        - `ok`: whether nothing failed that was not expected to
        - `seconds`, `calls`: what the checks took together
        - `counts`: an object of numbers, by status
        - `versions`: an object of texts, by name
        - `notes`: a list of texts
        - `results`: a list of objects in the order of the clauses, each with `id`, `area`,
          `title`, `level`, `status` (`passed`, `failed`, `skipped`, `xfailed` or `xpassed`),
          `unexpected`, `seconds`, `calls`, `message`, `why`, `fix`, `source`, `repro`, and
          `timeline`, a list of objects with `seconds`, `kind` (`start`, `token`, `chunk`, `end` or
          `error`) and `text`

        Args:
            path: A file to write it to as well.
        """
        from langchain_wrap.checks.reports.data import render

        return _written(render(self), path)

    def to_html(self, path: str | Path | None = None) -> str:
        """Return a page for a browser: one file that needs no network.

        Args:
            path: A file to write it to as well.
        """
        from langchain_wrap.checks.reports.html import render

        return _written(render(self), path)

    def to_junit(self, path: str | Path | None = None) -> str:
        """Return JUnit XML, as CI systems read it; an expected failure counts as skipped.

        Args:
            path: A file to write it to as well.
        """
        from langchain_wrap.checks.reports.junit import render

        return _written(render(self), path)

    def to_markdown(self, path: str | Path | None = None) -> str:
        """Return Markdown as GitHub and GitLab show it, such as for a comment.

        Args:
            path: A file to write it to as well.
        """
        from langchain_wrap.checks.reports.markdown import render

        return _written(render(self), path)


def counts(results: tuple[CheckResult, ...]) -> dict[str, int]:
    """Return how many results there are of each status."""
    return {s: sum(r.status == s for r in results) for s in STATUSES}


def summary(counted: dict[str, int]) -> str:
    """Return counts in words, without those that are 0."""
    return ", ".join(f"{number} {status}" for status, number in counted.items() if number)


def _written(text: str, path: str | Path | None) -> str:
    if path is not None:
        Path(path).write_text(text, encoding="utf-8", newline="\n")
    return text
