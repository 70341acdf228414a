"""Everything that the documentation shows is run, and what it shows as output is compared.

In a page, the ```python blocks share one namespace and run in order; `await` is allowed. What
counts as shown output:

- a comment behind an expression: `llm.invoke("hi")  # 'HI'`, the value as `repr` shows it,
- a comment behind a one-line `print(...)`: what is printed,
- a ```text block that follows a python block: everything the block has printed.

In examples/, a script's docstring shows what it prints after a line `Prints:`.
"""

from __future__ import annotations

import ast
import asyncio
import contextlib
import inspect
import io
import os
import re
import subprocess
import sys
import textwrap
import tokenize
import types
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
GENERATED = {ROOT / "docs" / "benchmarks.md", ROOT / "docs" / "measured-chat.md"}
"""Made by `make bench`, so they need not be there."""
NEEDS = {
    "xllamacpp": re.compile(r"LlamaCpp|llama[-_]cpp"),
    "torch": re.compile(r"Transformers\b|torch"),
}
"""What the code of a page may need that is not installed everywhere."""

FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\((?!https?:|#|mailto:)([^)#\s]+)")


@dataclass
class Block:
    """A fenced block of a page."""

    language: str
    text: str
    line: int
    output: str | None = None
    """The ```text block behind it."""


def blocks(page: Path) -> list[Block]:
    source = page.read_text(encoding="utf-8")
    found: list[Block] = []
    end = 0
    for match in FENCE.finditer(source):
        language, text = match.groups()
        if language == "text" and found and not source[end : match.start()].strip():
            found[-1].output = text
        elif language == "python":
            found.append(Block(language, text, source[: match.start()].count("\n") + 1))
        end = match.end()
    return found


def comments(source: str) -> dict[int, str]:
    """Return what the comments of a source say, by line."""
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    return {
        token.start[0]: token.string.lstrip("#").strip()
        for token in tokens
        if token.type == tokenize.COMMENT
    }


def is_print(expression: ast.expr) -> bool:
    return (
        isinstance(expression, ast.Call)
        and isinstance(expression.func, ast.Name)
        and expression.func.id == "print"
    )


class Page:
    """A page being run."""

    def __init__(self, path: Path, runner: asyncio.Runner) -> None:
        self.path = path
        self.runner = runner
        self.module = types.ModuleType(f"page_{path.stem}")

    def run(self, block: Block) -> None:
        shown = comments(block.text)
        printed = io.StringIO()
        for statement in ast.parse(block.text).body:
            expected = shown.get(statement.end_lineno or 0)
            line = block.line + statement.lineno
            ast.increment_lineno(statement, block.line)
            before = printed.tell()
            with contextlib.redirect_stdout(printed):
                value = self.execute(statement)
            if expected is None or not isinstance(statement, ast.Expr):
                continue
            got = printed.getvalue()[before:].strip() if is_print(statement.value) else repr(value)
            assert got == expected, f"{self.path.name}, line {line}"
        if block.output is not None:
            lines = [line.rstrip() for line in printed.getvalue().splitlines()]
            assert lines == block.output.rstrip().splitlines(), (
                f"{self.path.name}, output of the block in line {block.line}"
            )

    def execute(self, statement: ast.stmt) -> object:
        is_value = isinstance(statement, ast.Expr)
        tree = ast.Expression(statement.value) if is_value else ast.Module([statement], [])
        code = compile(
            tree,
            str(self.path),
            "eval" if is_value else "exec",
            flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT,
        )
        value = eval(code, self.module.__dict__)
        if code.co_flags & inspect.CO_COROUTINE:
            return self.runner.run(value)
        return value


def skip_without(source: str) -> None:
    """Skip the test where a package is missing that a source needs."""
    for package, pattern in NEEDS.items():
        if pattern.search(source):
            pytest.importorskip(package)


@pytest.fixture
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as running:
        yield running


@pytest.mark.timeout(600)
@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_page(path, runner, tmp_path, monkeypatch):
    found = blocks(path)
    skip_without("\n".join(block.text for block in found))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    page = Page(path, runner)
    monkeypatch.setitem(sys.modules, page.module.__name__, page.module)
    for block in found:
        page.run(block)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_example(path, tmp_path):
    source = path.read_text(encoding="utf-8")
    skip_without(source)
    done = subprocess.run(
        [sys.executable, "-W", "error", str(path)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    docstring = ast.get_docstring(ast.parse(source)) or ""
    _, has_output, shown = docstring.partition("Prints:\n\n")
    if has_output:
        assert done.stdout.rstrip() == textwrap.dedent(shown).rstrip()


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_links_lead_somewhere(path):
    for target in LINK.findall(path.read_text(encoding="utf-8")):
        linked = path.parent / target
        assert linked.exists() or linked.resolve() in GENERATED, target


def test_every_page_is_linked_from_the_readme():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for path in PAGES[2:]:
        assert f"docs/{path.name}" in readme


def test_the_runner_notices_wrong_output(tmp_path, runner):
    page = Page(tmp_path / "page.md", runner)
    page.run(
        Block("python", "await __import__('asyncio').sleep(0)\n1 + 1  # 2\nprint(3)  # 3\n", 1)
    )
    with pytest.raises(AssertionError, match="line 2"):
        page.run(Block("python", "1 + 1  # 3\n", 1))
    with pytest.raises(AssertionError, match="line 1"):
        page.run(Block("python", "print(1)\nprint(2)\n", 1, output="1\n"))
