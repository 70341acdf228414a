"""The command `check`: the contract, checked on one model: an LLM or a chat model.

langchain-core and the kit are imported only when the arguments make sense so far, so that `--help`
answers at once.
"""

from __future__ import annotations

import io
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from langchain_wrap.arguments import Params, checked, parameter, reported
from langchain_wrap.spec import SpecError, load, split_spec

if TYPE_CHECKING:
    from langchain_wrap.checks.clause import Clause
    from langchain_wrap.checks.report import Report
    from langchain_wrap.checks.session import Kit, Session

STDOUT = "-"


class Level(StrEnum):
    """`checks.clause.Level`, as typer takes it."""

    contract = "contract"
    production = "production"


_Spec = Annotated[
    str | None,
    typer.Argument(
        metavar="SPEC",
        show_default=False,
        help="llama-cpp:PATH (a .gguf file, or smollm2), or pkg.module:object: an LLM, a chat "
        "model, a class of these, or a function of a prompt.",
    ),
]
_Only = Annotated[
    list[str] | None,
    typer.Option(
        "--only", metavar="ID_OR_AREA", help="Check this clause or area only; may be repeated."
    ),
]
_Level = Annotated[
    Level,
    typer.Option(
        "--level",
        help="contract: what every custom LLM owes. production: also what langchain-core's base "
        "class itself does not give.",
    ),
]
_Expected = Annotated[
    list[str] | None,
    typer.Option(
        "--expected-failure",
        metavar="ID=REASON",
        help="A clause that is known to fail, and why; may be repeated.",
    ),
]
_Deterministic = Annotated[
    bool | None,
    typer.Option(
        "--deterministic/--varying",
        show_default=False,
        help="Whether the model answers the same to the same prompt; found out if not given.",
    ),
]
_Timeout = Annotated[
    float, typer.Option("--timeout", metavar="SECONDS", help="When a single call is given up.")
]
_List = Annotated[bool, typer.Option("--list", help="Show the clauses, and check nothing.")]


def _file(option: str, what: str) -> Any:
    return typer.Option(option, metavar="FILE", help=f"Write {what}; - writes to stdout.")


_Html = Annotated[str | None, _file("--html", "the report as a page for a browser")]
_Json = Annotated[str | None, _file("--json", "the report as JSON")]
_Junit = Annotated[str | None, _file("--junit", "the report as JUnit XML, for CI")]
_Markdown = Annotated[str | None, _file("--markdown", "the report as Markdown, for a comment")]


def check(
    spec: _Spec = None,
    level: _Level = Level.production,
    only: _Only = None,
    expected_failure: _Expected = None,
    deterministic: _Deterministic = None,
    timeout: _Timeout = 10.0,
    param: Params = None,
    html: _Html = None,
    json: _Json = None,
    junit: _Junit = None,
    markdown: _Markdown = None,
    show_list: _List = False,
) -> None:
    """Check a model against the contract of a custom LLM, and report what does not hold."""
    given = {"html": html, "json": json, "junit": junit, "markdown": markdown}
    files = {form: name for form, name in given.items() if name is not None}
    named = None if spec is None else checked("SPEC", split_spec, spec)
    parameters = dict(checked("--param", parameter, one) for one in param or ())
    failures = dict(checked("--expected-failure", _reason, one) for one in expected_failure or ())
    if not timeout > 0:
        raise typer.BadParameter(
            f"{timeout:g} is not a number of seconds above 0", param_hint="--timeout"
        )
    with reported(2):
        clauses = _selected(level.value, only, failures, _kit_named([*(only or ()), *failures]))
        _show_anything()
        if show_list:
            for clause in clauses:
                print(f"{clause.id:<11} {clause.level:<10} {clause.title}")
            return
        if named is None:
            raise typer.BadParameter("a model is needed to be checked", param_hint="SPEC")
        _ensure_writable(files)
        from langchain_wrap.checks.session import Session

        model = _load(*named, parameters)
        kit = _kit_of(model)
        _selected(level.value, only, failures, kit)
        session = Session(
            model,
            kit=kit,
            level=level.value,
            only=only or None,
            expected_failures=failures,
            deterministic=deterministic,
            timeout=timeout,
        )
        report, finished = _checked(session)
        if session.subject.missing is not None:
            raise session.subject.missing
        _show(report, files if finished else {})
    if not finished:
        raise typer.Exit(130)
    raise typer.Exit(0 if report else 1)


def _reason(text: str) -> tuple[str, str]:
    """Read `ID=REASON`."""
    id_, equals, reason = text.partition("=")
    if not equals or not reason.strip():
        raise ValueError(f"{text!r} is not of the form ID=REASON, such as STOP-05='not yet'")
    return id_, reason


def _kit_named(names: list[str]) -> Kit:
    """Return the kit whose clauses are named: that for LLMs, unless the first is of a chat's."""
    from langchain_wrap.checks.chat.kit import CHATS
    from langchain_wrap.checks.session import LLMS

    return CHATS if names and names[0].upper().startswith("CHAT-") else LLMS


def _kit_of(model: Any) -> Kit:
    from langchain_core.language_models import BaseChatModel

    from langchain_wrap.checks.chat.kit import CHATS
    from langchain_wrap.checks.session import LLMS

    return CHATS if isinstance(model, BaseChatModel) else LLMS


def _selected(
    level: str, only: list[str] | None, failures: Mapping[str, str], kit: Kit
) -> list[Clause]:
    from langchain_wrap.checks.session import expected, select

    try:
        expected(failures, kit)
        return select(level, only or None, kit)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


def _load(kind: str, target: str, parameters: Mapping[str, Any]) -> Any:
    llm, rest = load(kind, target, parameters, chat=True)
    for name in rest:
        from langchain_wrap.errors import did_you_mean

        raise SpecError(
            f"--param {name}: {kind}:{target} has no field of this name that can be set when it "
            f"is made.{did_you_mean(name, type(llm).model_fields)}"
        )
    return llm


def _ensure_writable(files: Mapping[str, str]) -> None:
    """Find out before the checks that a file cannot be written, not after them."""
    seen: set[str] = set()
    for option, name in files.items():
        if name in seen:
            raise typer.BadParameter(
                f"{name} is to be written by another option too", param_hint=f"--{option}"
            )
        seen.add(name)
        if name == STDOUT:
            continue
        path = Path(name)
        existed = path.exists()
        try:
            path.open("a").close()
            if not existed:
                path.unlink()
        except OSError as error:
            raise typer.BadParameter(
                f"{name} cannot be written: {error.strerror or error}", param_hint=f"--{option}"
            ) from None


def _checked(session: Session) -> tuple[Report, bool]:
    """Make the checks; after Ctrl-C, return what is known so far, and that it is not all."""
    from langchain_wrap.checks.check import report_of

    results = []
    began = time.perf_counter()
    finished = False
    try:
        with _progress(len(session.clauses)) as step:
            for clause in session.clauses:
                step(clause)
                results.append(session.check(clause))
        finished = True
    except KeyboardInterrupt:
        if not results:
            raise
    report = report_of(session, tuple(results), time.perf_counter() - began)
    if not finished:
        note = f"Interrupted: {len(results)} of {len(session.clauses)} clauses were checked."
        report = replace(report, notes=(*report.notes, note))
    return report, finished


@contextmanager
def _progress(total: int) -> Iterator[Callable[[Clause], None]]:
    """Show on a terminal which clause is being checked; nothing where stderr is piped."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda clause: None
        return
    with Progress(
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TextColumn("{task.description}", markup=False),
        console=console,
        transient=True,
        redirect_stdout=sys.stdout.isatty(),
    ) as progress:
        task = progress.add_task("", total=total)
        done = iter(range(total))
        yield lambda clause: progress.update(
            task, completed=next(done), description=f"{clause.id} {clause.title}"
        )


def _show(report: Report, files: Mapping[str, str]) -> None:
    for form, name in files.items():
        write: Callable[[str | None], str] = getattr(report, f"to_{form}")
        if name == STDOUT:
            sys.stdout.write(write(None))
        else:
            write(name)
    if STDOUT in files.values():
        return
    from rich.console import Console

    console = Console(highlight=False)
    if console.is_terminal:
        console.print(report)
    else:
        print(report)


def _show_anything() -> None:
    """Escape what stdout's encoding does not have, rather than end in the middle of a report."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
