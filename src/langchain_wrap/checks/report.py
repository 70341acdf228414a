"""The report: what came of all checks of one model."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from langchain_wrap.checks.result import STATUSES, CheckResult


@dataclass(frozen=True)
class Report:
    """What came of all checks of one model; true if nothing failed that was not expected to."""

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
        return not any(result.unexpected for result in self.results)

    def counts(self) -> dict[str, int]:
        """Return how many checks came out in each way."""
        return {s: sum(r.status == s for r in self.results) for s in STATUSES}
