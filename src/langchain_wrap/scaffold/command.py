"""`langchain-wrap new`: the command."""

from __future__ import annotations

import os
import shlex
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from langchain_wrap.arguments import checked
from langchain_wrap.scaffold.kinds import KINDS
from langchain_wrap.scaffold.names import Names
from langchain_wrap.scaffold.writing import FolderRefusedError, write


class _Kind(StrEnum):
    function = "function"
    http = "http"
    command = "command"
    batch = "batch"


def new(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME",
            show_default=False,
            help="The model's name, such as my-model; the package becomes langchain-my-model.",
        ),
    ],
    kind: Annotated[
        _Kind,
        typer.Option(
            "--kind", help="; ".join(f"{name}: {kind.about}" for name, kind in KINDS.items()) + "."
        ),
    ] = _Kind.function,
    path: Annotated[
        Path | None,
        typer.Option(
            "--path",
            metavar="DIR",
            show_default=False,
            help="The package's folder, new or empty. Without it: langchain-NAME, here.",
        ),
    ] = None,
) -> None:
    """Write a package for a model of your own, with tests and CI, ready to be published."""
    names = checked("NAME", Names.of, name)
    folder = path or Path(names.distribution)
    try:
        written = write(names, kind, folder)
    except FolderRefusedError as error:
        raise typer.BadParameter(str(error), param_hint="--path") from None
    except OSError as error:
        typer.echo(f"error: {folder} cannot be written: {error.strerror}", err=True)
        raise typer.Exit(1) from None
    for file in written:
        typer.echo(f"  {file}")
    yours = folder / "src" / names.module / KINDS[kind].yours
    typer.echo(f"\n{names.distribution} works as it is; your model goes into {yours}\n")
    for line in (
        f"cd {shlex.quote(os.fspath(folder))}",
        "pip install -e '.[test]'",
        "pytest",
    ):
        typer.echo(f"  {line}")
