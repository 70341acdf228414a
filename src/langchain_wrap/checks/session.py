"""A session: the clauses that are to be checked on one model, one result for each."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any

from langchain_core.language_models.llms import BaseLLM

from langchain_wrap.checks.clause import LEVELS, Clause, Failed, Skipped
from langchain_wrap.checks.clauses import CLAUSES
from langchain_wrap.checks.deadline import NoAnswer
from langchain_wrap.checks.result import CheckResult, Moment, Status
from langchain_wrap.checks.subject import Subject, describe_error
from langchain_wrap.errors import did_you_mean


def select(level: str = "production", only: str | Collection[str] | None = None) -> list[Clause]:
    """Return the clauses of a level (production contains contract), or those of `only`.

    Args:
        level: `contract` or `production`.
        only: Ids and areas, such as `STOP-05` and `BATCH`; None: all of the level.

    Raises:
        ValueError: A level, id or area does not exist.
    """
    if level not in LEVELS:
        raise ValueError(f"level={level!r} does not exist; it is one of {', '.join(LEVELS)}")
    chosen = [c for c in CLAUSES if level == "production" or c.level == "contract"]
    if only is None:
        return chosen
    wanted = {only} if isinstance(only, str) else set(only)
    known = {c.id for c in CLAUSES} | {c.area for c in CLAUSES}
    for name in sorted(wanted - known):
        raise ValueError(f"only names {name!r}, which is no clause and no area.{_nearest(name)}")
    return [c for c in chosen if c.id in wanted or c.area in wanted]


def expected(failures: Mapping[str, str] | None) -> dict[str, str]:
    """Return expected failures, by clause id, with their reasons.

    Raises:
        ValueError: An id does not exist, or a reason is empty.
    """
    known = {c.id for c in CLAUSES}
    for id_, reason in (failures or {}).items():
        if id_ not in known:
            raise ValueError(f"expected_failures names {id_!r}, which is no clause.{_nearest(id_)}")
        if not isinstance(reason, str) or not reason.strip():
            raise ValueError(f"expected_failures[{id_!r}] needs a reason, and has {reason!r}")
    return dict(failures or {})


def _nearest(name: str) -> str:
    return did_you_mean(name.upper(), [c.id for c in CLAUSES]) or (
        " `langchain-wrap check --list` shows them all"
    )


class Session:
    """The checks of one model; they share its answers, so they run one after another."""

    def __init__(
        self,
        target: BaseLLM | Callable[[], BaseLLM],
        *,
        level: str = "production",
        only: str | Collection[str] | None = None,
        expected_failures: Mapping[str, str] | None = None,
        deterministic: bool | None = None,
        timeout: float = 10.0,
    ) -> None:
        if not timeout > 0:
            raise ValueError(f"timeout={timeout!r} must be a number of seconds above 0")
        self.level = level
        self.clauses: Sequence[Clause] = select(level, only)
        self.expected = expected(expected_failures)
        self._target = target
        self._options: dict[str, Any] = {"deterministic": deterministic, "timeout": timeout}
        self._subject: Subject | None = None

    @property
    def subject(self) -> Subject:
        """The model; it is made at the first use."""
        if self._subject is None:
            self._subject = Subject(self._target, **self._options)
        return self._subject

    def run(self) -> Iterator[CheckResult]:
        """Check the clauses, in their order."""
        for clause in self.clauses:
            yield self.check(clause)

    def check(self, clause: Clause) -> CheckResult:
        """Check one clause."""
        subject = self.subject
        subject.clause = clause.id
        subject.timeline = None
        calls, began = subject.calls, time.perf_counter()
        status: Status = "passed"
        message, repro = "", ""
        try:
            message = clause.check(subject) or ""
        except Failed as failure:
            status, message, repro = "failed", failure.message, failure.repro
        except NoAnswer as late:
            status, message = "failed", str(late)
        except Skipped as reason:
            status, message = "skipped", str(reason)
        except Exception as error:  # of the model, where the check did not look for one
            status, message = "failed", describe_error(error)
        if clause.id in self.expected and status in ("passed", "failed"):
            status = "xfailed" if status == "failed" else "xpassed"
            message = f"{message} (expected: {self.expected[clause.id]})".strip()
        trace = subject.timeline
        moments = tuple(Moment(m.seconds, m.kind, m.text) for m in trace.marks) if trace else ()
        return CheckResult(
            id=clause.id,
            title=clause.title,
            level=clause.level,
            status=status,
            seconds=time.perf_counter() - began,
            message=message,
            why=clause.why,
            fix=clause.fix,
            repro=repro,
            calls=subject.calls - calls,
            timeline=moments,
        )
