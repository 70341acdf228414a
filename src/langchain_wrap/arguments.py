"""What the commands share: arguments, how they are read, and how mistakes are shown."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated, Any, TypeVar

import typer

from langchain_wrap.spec import one_line

_T = TypeVar("_T")

Spec = Annotated[
    str,
    typer.Argument(
        metavar="SPEC",
        show_default=False,
        help="provider:model, such as llama-cpp:smollm2, ollama:llama3, "
        "http+openai:http://host/v1#name or command:./main; or pkg.module:object: an LLM, a "
        "class of LLMs, or a function of a prompt.",
    ),
]
Params = Annotated[
    list[str] | None,
    typer.Option(
        "--param",
        metavar="NAME=VALUE",
        help="A parameter, such as temperature=0.2; may be repeated. VALUE is JSON, or else text.",
    ),
]


@contextmanager
def reported(code: int = 1) -> Iterator[None]:
    """End with one clear line on stderr and an exit code, never with a traceback."""
    try:
        yield
    except KeyboardInterrupt:
        raise typer.Exit(130) from None
    except (typer.BadParameter, BrokenPipeError):
        raise  # typer shows the first, and ends quietly after the second: our reader has gone
    except Exception as error:
        print(f"error: {one_line(error)}", file=sys.stderr)
        raise typer.Exit(code) from None


def checked(name: str, read: Callable[[str], _T], value: str) -> _T:
    """Read an argument; a mistake in it is shown as a mistake in the use of the command."""
    try:
        return read(value)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint=name) from None


def parameter(text: str) -> tuple[str, Any]:
    """Read `name=value`; the value is JSON, else the text as it stands."""
    name, equals, value = text.partition("=")
    if not equals or not name.isidentifier():
        raise ValueError(f"{text!r} is not of the form name=value, such as temperature=0.2")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value
