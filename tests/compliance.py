"""`python tests/compliance.py`: check every model and write docs/compliance.md."""

from __future__ import annotations

import argparse
import platform
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from built_in import built_in, smollm2
from checks.test_third_party import SHOWN
from checks_chat import openai_server
from checks_chat import right as chat_right
from family import WRAPPED
from langchain_core.language_models import BaseChatModel, FakeListChatModel
from langchain_core.language_models.llms import BaseLLM
from langchain_openai import ChatOpenAI
from mutants.right import Core, Ours
from others import SeedOnOurs, others

from langchain_wrap.checks import Report, check_chat, check_llm
from langchain_wrap.checks.clause import Area
from langchain_wrap.checks.clauses import AREAS
from langchain_wrap.checks.clauses.chat import AREAS as CHAT_AREAS
from langchain_wrap.checks.reports.markdown import text
from langchain_wrap.checks.result import CheckResult
from langchain_wrap.models import HTTPEndpoint

PAGE = Path(__file__).parent.parent / "docs" / "compliance.md"

HEAD = """# Compliance

What the [conformance kit](checks.md) says of the models of this package and of other people's.
Written by `make check-models`.

A cell shows how many clauses of an area hold, of those that could be told, and which do not.
"""

PACKAGES = ("langchain-core", "langchain-openai", "langchain-ollama", "xllamacpp", "transformers")

Makers = dict[str, Callable[[], BaseLLM]]
ChatMakers = dict[str, Callable[[], BaseChatModel]]


@contextmanager
def models() -> Iterator[Makers]:
    """Every model of the table, ours first."""
    made: Makers = {"`LLM`, a class of the tests": Ours}
    made |= {f"`wrap` of {name}": make for name, make in WRAPPED.items()}
    made["the seed's example on `langchain_wrap.LLM`"] = lambda: SeedOnOurs(n=5)
    with others() as found, built_in() as ours, smollm2() as real:
        if len(real) < 2:
            print(
                "not all models that run weights are installed: make check-models", file=sys.stderr
            )
        made |= {f"`{name}`": make for name, make in ours.items()}
        made |= {f"`{name}`, SmolLM2-135M": make for name, make in real.items()}
        made["the seed's example on langchain-core's `LLM`"] = found.pop("SeedOnCore")
        made["a class of the tests on langchain-core's `LLM`"] = Core
        yield made | {f"`{name}`": make for name, make in found.items()}


@contextmanager
def chats() -> Iterator[ChatMakers]:
    """Every chat model of the table, ours first."""
    with openai_server.serving() as url, smollm2() as real:
        made: ChatMakers = {
            "`ChatModel`, a class of the tests": chat_right.Ours,
            "`as_chat()` of a generator function": chat_right.as_chat,
            "`as_chat()` of `HTTPEndpoint.openai`": lambda: HTTPEndpoint.openai(
                url, "m", api_key="sk-0123456789"
            ).as_chat(),
        }
        made |= {f"`as_chat()` of `{n}`, SmolLM2-135M": _chat_of(make) for n, make in real.items()}
        yield made | {
            "a class of the tests on langchain-core's `BaseChatModel`": chat_right.Core,
            "`FakeListChatModel`": lambda: FakeListChatModel(responses=["one two three."]),
            "`ChatOpenAI`": lambda: ChatOpenAI(
                base_url=url, api_key="sk-0123456789", model="m", stream_usage=True
            ),
        }


def _chat_of(make: Callable[[], Any]) -> Callable[[], BaseChatModel]:
    return lambda: make().as_chat()


def shown_by(model: str, clause: str) -> str:
    """The test that shows a failure without the kit, in words."""
    name = "SeedOnCore" if model.startswith("the seed's example on langchain") else model.strip("`")
    test = SHOWN.get((name, clause))
    return f" Shown by `{test}`." if test else ""


def cell(results: list[CheckResult]) -> str:
    failed = [r.id for r in results if r.status == "failed"]
    skipped = sum(r.status == "skipped" for r in results)
    told = len(results) - skipped
    parts = [f"{told - len(failed)}/{told}"]
    if failed:
        parts.append(f"({', '.join(failed)})")
    if skipped:
        parts.append(f"{skipped} skipped")
    return " ".join(parts)


def row(name: str, report: Report, areas: Sequence[Area]) -> str:
    cells = [cell([r for r in report if r.area == area.name]) for area in areas]
    return f"| {name} | {' | '.join(cells)} |"


def lists(name: str, report: Report) -> list[str]:
    """What does not hold, and what could not be told, a line each."""
    lines = [f"### {name}", ""]
    for result in report:
        if result.status == "failed":
            said = f"{result.title.rstrip('.')}: {text(result.message).rstrip('.')}."
            lines.append(f"- **{result.id}** ({result.level}) {said}{shown_by(name, result.id)}")
    lines += [f"- {r.id} skipped: {text(r.message)}" for r in report if r.status == "skipped"]
    return [*lines, ""] if len(lines) > 2 else []


def versions() -> str:
    found = []
    for package in PACKAGES:
        try:
            found.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            continue
    return f"{date.today():%Y-%m-%d}, Python {platform.python_version()}, {', '.join(found)}."


def checked(
    makers: Mapping[str, Callable[[], Any]],
    check: Callable[..., Report],
    areas: Sequence[Area],
    only: str | None,
) -> tuple[list[str], list[str]]:
    """Check models; return the lines of their table, and those that tell the details."""
    table = [f"| model | {' | '.join(a.name for a in areas)} |", f"| --- |{' --- |' * len(areas)}"]
    details: list[str] = []
    chosen = {name: make for name, make in makers.items() if not only or only in name}
    for number, (name, make) in enumerate(chosen.items(), 1):
        began = time.perf_counter()
        # On a busy machine a real model takes its time.
        report = check(make, timeout=60 if "SmolLM2" in name else 10)
        took = time.perf_counter() - began
        table.append(row(name, report, areas))
        details += lists(name, report)
        print(f"{number}/{len(chosen)} ({took:.1f} s) {table[-1]}", flush=True)
    return table, details


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", help="check the models whose names contain this; write nothing")
    only = parser.parse_args().only
    with chats() as makers:
        chat, of_chats = checked(makers, check_chat, CHAT_AREAS, only)
    with models() as made:
        table, details = checked(made, check_llm, AREAS, only)
    parts = [HEAD, "## LLMs", "", *table, "", "## Chat models", "", *chat, "", versions(), ""]
    page = "\n".join([*parts, "## In detail", "", *details, *of_chats])
    if only:
        print(page)
    else:
        PAGE.write_text(page.rstrip() + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
