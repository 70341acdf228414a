"""`check_llm` and `check_chat`: the contract, checked on one model."""

from __future__ import annotations

import platform
import time
import warnings
from collections.abc import Callable, Collection, Mapping
from importlib.metadata import version
from typing import Any, Literal

from langchain_core.language_models import BaseChatModel
from langchain_core.language_models.llms import BaseLLM

from langchain_wrap._version import __version__
from langchain_wrap.checks.clause import Level
from langchain_wrap.checks.report import Report
from langchain_wrap.checks.result import CheckResult
from langchain_wrap.checks.session import LLMS, Kit, Session


class ContractWarning(UserWarning):
    """A model does not hold the contract (`on_fail="warn"`)."""


def check_llm(
    llm_or_factory: BaseLLM | Callable[[], BaseLLM],
    *,
    level: Level = "production",
    only: str | Collection[str] | None = None,
    expected_failures: Mapping[str, str] | None = None,
    deterministic: bool | None = None,
    timeout: float = 10.0,
    on_fail: Literal["raise", "warn"] | None = None,
) -> Report:
    """Check every clause of the contract on a model: any `BaseLLM`, of this package or not.

    Args:
        llm_or_factory: The model, or a function or class that makes one without arguments.
        level: `contract`: what the author of any custom LLM owes; `production`: also what
            langchain-core's base class itself does not give.
        only: Ids of clauses and names of areas, such as `["STOP", "BATCH-05"]`. None: all.
        expected_failures: Ids of clauses that are known to fail, each with its reason.
        deterministic: Whether the model answers the same to the same prompt. None: found out.
        timeout: Seconds after which a single call is given up.
        on_fail: What to do if something fails that was not expected to: `"raise"` an
            AssertionError, `"warn"`, or (None) only report it.

    Returns:
        The report; it is true if nothing failed that was not expected to.

    Raises:
        AssertionError: Something failed, and `on_fail="raise"`.
        TypeError: There is no LLM to check.
        ValueError: A clause, area, level or mode does not exist, or a reason is empty.
    """
    return _check(
        LLMS, llm_or_factory, level=level, only=only, expected_failures=expected_failures,
        deterministic=deterministic, timeout=timeout, on_fail=on_fail,
    )  # fmt: skip


def check_chat(
    model_or_factory: BaseChatModel | Callable[[], BaseChatModel],
    *,
    level: Level = "production",
    only: str | Collection[str] | None = None,
    expected_failures: Mapping[str, str] | None = None,
    deterministic: bool | None = None,
    timeout: float = 10.0,
    on_fail: Literal["raise", "warn"] | None = None,
) -> Report:
    """Check every clause on a chat model: any `BaseChatModel`, of this package or not.

    Args:
        model_or_factory: The model, or a function or class that makes one without arguments.
        level: `contract`: what the author of any custom chat model owes; `production`: also what
            langchain-core's base class itself does not give.
        only: Ids of clauses and names of areas, such as `["CHAT-STOP", "CHAT-BATCH-05"]`. None:
            all.
        expected_failures: Ids of clauses that are known to fail, each with its reason.
        deterministic: Whether the model answers the same to the same messages. None: found out.
        timeout: Seconds after which a single call is given up.
        on_fail: What to do if something fails that was not expected to: `"raise"` an
            AssertionError, `"warn"`, or (None) only report it.

    Returns:
        The report; it is true if nothing failed that was not expected to.

    Raises:
        AssertionError: Something failed, and `on_fail="raise"`.
        TypeError: There is no chat model to check.
        ValueError: A clause, area, level or mode does not exist, or a reason is empty.
    """
    from langchain_wrap.checks.chat.kit import CHATS

    return _check(
        CHATS, model_or_factory, level=level, only=only, expected_failures=expected_failures,
        deterministic=deterministic, timeout=timeout, on_fail=on_fail,
    )  # fmt: skip


def _check(kit: Kit, target: Any, *, on_fail: str | None, **options: Any) -> Report:
    if on_fail not in (None, "raise", "warn"):
        raise ValueError(f"on_fail={on_fail!r} is none of None, 'raise' and 'warn'")
    session = Session(target, kit=kit, **options)
    began = time.perf_counter()
    results = tuple(session.run())
    report = report_of(session, results, time.perf_counter() - began)
    if on_fail and not report:
        if on_fail == "raise":
            raise AssertionError(str(report))
        warnings.warn(str(report), ContractWarning, stacklevel=3)
    return report


def report_of(session: Session, results: tuple[CheckResult, ...], seconds: float) -> Report:
    """Return the report of a session whose checks have been made."""
    return Report(
        model=session.subject.name,
        level=session.level,
        results=results,
        seconds=seconds,
        notes=session.subject.notes,
        versions={
            "langchain-wrap": __version__,
            "langchain-core": version("langchain-core"),
            "Python": platform.python_version(),
        },
    )
