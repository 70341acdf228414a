"""Writing: templates become the files of a package."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path, PurePosixPath
from string import Template

from langchain_wrap.scaffold.kinds import KINDS
from langchain_wrap.scaffold.names import Names

_SUFFIX = ".tmpl"


class FolderRefusedError(ValueError):
    """The package cannot be written there; the message says why."""


def render(names: Names, kind: str) -> dict[str, str]:
    """Return the files of a package: their paths in it, and what they say."""
    values = _values(names, kind)
    templates = files("langchain_wrap.scaffold") / "templates"
    found = {**dict(_walk(templates / "common")), **dict(_walk(templates / kind))}
    values["usage"] = Template(found.pop("usage.md")).substitute(values).strip()
    return {
        path.replace("MODULE", names.module): Template(text).substitute(values)
        for path, text in sorted(found.items())
    }


def write(names: Names, kind: str, folder: Path) -> list[Path]:
    """Write a package into a folder that is new or empty; return the files.

    Raises:
        FolderRefusedError: The folder holds something, or is none.
    """
    if folder.exists() and not folder.is_dir():
        raise FolderRefusedError(f"{folder} is a file; name a folder with --path")
    # A repository that has just been made or cloned counts as empty.
    if folder.is_dir() and any(one.name != ".git" for one in folder.iterdir()):
        raise FolderRefusedError(
            f"{folder} is not empty, and nothing in it is overwritten; name another folder "
            "with --path"
        )
    written = []
    for path, text in render(names, kind).items():
        file = folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8", newline="\n")
        written.append(file)
    return written


def _values(names: Names, kind: str) -> dict[str, str]:
    return {
        "slug": names.slug,
        "distribution": names.distribution,
        "module": names.module,
        "cls": names.cls,
        "env": names.env,
        "about": KINDS[kind].about,
        "needs": "\n".join(f'  "{need}",' for need in KINDS[kind].needs),
        "params": KINDS[kind].params,
    }


def _walk(folder: Traversable, above: PurePosixPath | None = None) -> Iterator[tuple[str, str]]:
    """Yield the templates below a folder: path without the suffix, and text."""
    above = above or PurePosixPath()
    for entry in folder.iterdir():
        if entry.is_dir():
            yield from _walk(entry, above / entry.name)
        elif entry.name.endswith(_SUFFIX):
            path = above / entry.name.removesuffix(_SUFFIX)
            yield str(path), entry.read_text(encoding="utf-8")
