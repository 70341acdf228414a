"""What came of one check."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from langchain_wrap.checks.clause import Level

Status = Literal["passed", "failed", "skipped", "xfailed", "xpassed"]

STATUSES: tuple[Status, ...] = ("passed", "failed", "skipped", "xfailed", "xpassed")


@dataclass(frozen=True)
class Moment:
    """One thing that happened in a streamed call."""

    seconds: float
    """Since the call began."""
    kind: str
    """`start`, `token`, `chunk`, `end` or `error`."""
    text: str = ""


@dataclass(frozen=True)
class CheckResult:
    """What came of the check of one clause."""

    id: str
    """The clause, such as `STOP-05`."""
    title: str
    """The clause in one sentence."""
    level: Level
    status: Status
    """`xfailed`: failed as expected; `xpassed`: expected to fail, and did not."""
    seconds: float
    """What the check took."""
    message: str = ""
    """What was seen, or why nothing could be."""
    why: str = ""
    """What goes wrong for the author's users where the clause does not hold."""
    fix: str = ""
    """How an author mends it."""
    source: str = ""
    """Where LangChain, or this project, says so."""
    repro: str = ""
    """Python that shows a failure without the kit, given `llm`."""
    calls: int = 0
    """How many prompts the model was given."""
    timeline: tuple[Moment, ...] = ()
    """The streamed call that the clause is about."""

    @property
    def area(self) -> str:
        """The part of the id before the number, such as `STOP`."""
        return self.id.rpartition("-")[0]

    @property
    def unexpected(self) -> bool:
        """Whether this counts against the model: failed, or passed though expected to fail."""
        return self.status in ("failed", "xpassed")
