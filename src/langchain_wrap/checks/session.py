"""A session: the clauses that are to be checked on one model, one result for each."""

from __future__ import annotations

import asyncio
import contextvars
import time
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from langchain_core.runnables.config import var_child_runnable_config
from langsmith import tracing_context

from langchain_wrap.checks.clause import LEVELS, Check, Clause, Failed, Skipped
from langchain_wrap.checks.clauses import CLAUSES
from langchain_wrap.checks.probes.deadline import NoAnswer
from langchain_wrap.checks.result import CheckResult, Moment, Status
from langchain_wrap.checks.shared import Shared, describe_error
from langchain_wrap.checks.subject import Subject
from langchain_wrap.errors import did_you_mean


@dataclass(frozen=True)
class Kit:
    """What is checked of one kind of model."""

    subject: Callable[..., Shared]
    """Makes the subject of a model, or of what makes one."""
    clauses: Callable[[], Sequence[Clause]]
    function: str
    """Checks a model of this kind."""


LLMS = Kit(Subject, lambda: CLAUSES, "check_llm")
"""The kit for LLMs."""


def select(
    level: str = "production", only: str | Collection[str] | None = None, kit: Kit = LLMS
) -> list[Clause]:
    """Return the clauses of a level (production contains contract), or those of `only`.

    Args:
        level: `contract` or `production`.
        only: Ids and areas, such as `STOP-05` and `BATCH`; None: all of the level.
        kit: Whose clauses.

    Raises:
        ValueError: A level, id or area does not exist.
    """
    if level not in LEVELS:
        raise ValueError(f"level={level!r} does not exist; it is one of {', '.join(LEVELS)}")
    clauses = kit.clauses()
    chosen = [c for c in clauses if level == "production" or c.level == "contract"]
    if only is None:
        return chosen
    wanted = {only} if isinstance(only, str) else set(only)
    known = [*dict.fromkeys(c.area for c in clauses), *(c.id for c in clauses)]
    for name in sorted(wanted.difference(known)):
        raise ValueError(
            f"only names {name!r}, which is no clause and no area.{_nearest(name, known)}"
        )
    chosen = [c for c in chosen if c.id in wanted or c.area in wanted]
    if not chosen:
        raise ValueError(f"only={only!r} names no clause of the level {level!r}")
    return chosen


def expected(failures: Mapping[str, str] | None, kit: Kit = LLMS) -> dict[str, str]:
    """Return expected failures, by clause id, with their reasons.

    Raises:
        ValueError: An id does not exist, or a reason is empty.
    """
    known = [c.id for c in kit.clauses()]
    for id_, reason in (failures or {}).items():
        if id_ not in known:
            nearest = _nearest(id_, known)
            raise ValueError(f"expected_failures names {id_!r}, which is no clause.{nearest}")
        if not isinstance(reason, str) or not reason.strip():
            raise ValueError(f"expected_failures[{id_!r}] needs a reason, and has {reason!r}")
    return dict(failures or {})


def _nearest(name: str, known: list[str]) -> str:
    return did_you_mean(name.upper(), known) or " `langchain-wrap check --list` shows them all"


class Session:
    """The checks of one model; they share its answers, so they run one after another."""

    def __init__(
        self,
        target: Any,
        *,
        kit: Kit = LLMS,
        level: str = "production",
        only: str | Collection[str] | None = None,
        expected_failures: Mapping[str, str] | None = None,
        deterministic: bool | None = None,
        timeout: float = 10.0,
    ) -> None:
        if not timeout > 0:
            raise ValueError(f"timeout={timeout!r} must be a number of seconds above 0")
        self.level = level
        self.clauses: Sequence[Clause] = select(level, only, kit)
        self.expected = expected(expected_failures, kit)
        self._target = target
        self._kit = kit
        self._options: dict[str, Any] = {"deterministic": deterministic, "timeout": timeout}
        self._subject: Shared | None = None
        self._unmade: Exception | None = None

    @property
    def subject(self) -> Shared:
        """The model; it is made at the first use, and where that fails, not tried again."""
        if self._unmade is not None:
            raise self._unmade.with_traceback(None)
        if self._subject is None:
            try:
                self._subject = self._kit.subject(self._target, **self._options)
            except Exception as error:
                self._unmade = error
                raise
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
            with warnings.catch_warnings():
                # A callback that is not awaited is reported; Python must not say so besides.
                warnings.filterwarnings("ignore", "coroutine .* never awaited", RuntimeWarning)
                message = _outside_of_runs(clause.check, subject) or ""
        except Failed as failure:
            status, message, repro = "failed", failure.message, failure.repro
        except NoAnswer as late:
            status, message = "failed", str(late)
        except Skipped as reason:
            status, message = "skipped", str(reason)
        except (Exception, asyncio.CancelledError) as error:
            # Of the model, where the check did not look for one.
            status, message = "failed", describe_error(error)
        subject.outcomes[clause.id] = status
        if clause.id in self.expected and status in ("passed", "failed"):
            known = self.expected[clause.id]
            if status == "failed":
                status, message = "xfailed", f"{message} (expected: {known})"
            else:
                status, message = "xpassed", f"passed, though expected to fail: {known}"
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
            source=clause.source,
            repro=repro,
            calls=subject.calls - calls,
            timeline=moments,
        )


def _outside_of_runs(check: Check, subject: Shared) -> str | None:
    """Check as if no runnable were running: its callbacks would hear the calls as their own.

    LangSmith is told nothing, even where the environment turns it on.
    """
    context = contextvars.copy_context()
    context.run(var_child_runnable_config.set, None)
    return context.run(_untraced, check, subject)


def _untraced(check: Check, subject: Shared) -> str | None:
    with tracing_context(enabled=False):
        return check(subject)
