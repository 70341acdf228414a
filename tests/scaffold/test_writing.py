"""A package is written: all of it, in good form, and over nothing."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from langchain_wrap.scaffold.kinds import KINDS
from langchain_wrap.scaffold.names import Names
from langchain_wrap.scaffold.writing import FolderRefusedError, render, write

ROOT = Path(__file__).parents[2]
NAMES = Names.of("my-model")
RULES = "E,F,I,N,UP,B,C4,PERF,PIE,PT,RET,RUF,SIM102,SIM105,TID"
IN_ALL = {
    ".github/workflows/test.yml",
    ".gitignore",
    "README.md",
    "pyproject.toml",
    "src/langchain_my_model/__init__.py",
    "src/langchain_my_model/llm.py",
    "src/langchain_my_model/py.typed",
    "tests/test_contract.py",
    "tests/test_llm.py",
}


def ruff(folder, *args):
    return subprocess.run(
        [sys.executable, "-m", "ruff", *args, "."],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("kind", KINDS)
class TestEachKind:
    def test_has_all_its_files(self, kind):
        found = render(NAMES, kind)
        assert set(found) >= IN_ALL
        assert f"src/langchain_my_model/{KINDS[kind].yours}" in found
        for path, text in found.items():
            assert "MODULE" not in path
            assert not re.search(r"\$(?!\{\{ matrix|HOME|\")", text), path
            assert text.endswith("\n") or path.endswith("py.typed"), path

    @pytest.mark.parametrize("name", ["a", "my-model", "quite-a-long-name"])
    def test_is_in_good_form(self, kind, name, tmp_path):
        write(Names.of(name), kind, tmp_path)
        style = ("--isolated", "--line-length", "100")
        checked = ruff(tmp_path, "check", *style, "--select", RULES, "--no-cache")
        assert checked.returncode == 0, checked.stdout
        if name == "my-model":
            documented = ruff(
                *(tmp_path / "src", "check", *style, "--select", "D", "--no-cache"),
                *("--config", 'lint.pydocstyle.convention="google"'),
            )
            assert documented.returncode == 0, documented.stdout
            formatted = ruff(tmp_path, "format", *style, "--diff", "--no-cache")
            assert formatted.returncode == 0, formatted.stdout

    def test_pyproject(self, kind):
        project = tomllib.loads(render(NAMES, kind)["pyproject.toml"])["project"]
        assert project["name"] == "langchain-my-model"
        ours = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
        for need in project["dependencies"]:
            if need.startswith(("langchain-core", "pydantic")):
                assert need in ours["dependencies"]
        assert any(need.startswith("langchain-wrap>=") for need in project["dependencies"])
        assert project["requires-python"] == ours["requires-python"]


class TestFolder:
    def test_what_is_written_is_what_was_rendered(self, tmp_path):
        folder = tmp_path / "new" / "folder"
        written = write(NAMES, "http", folder)
        texts = {str(f.relative_to(folder)): f.read_text("utf-8") for f in written}
        assert texts == render(NAMES, "http")
        assert {f for f in folder.rglob("*") if f.is_file()} == set(written)

    def test_a_new_repository_counts_as_empty(self, tmp_path):
        (tmp_path / ".git").mkdir()
        assert write(NAMES, "function", tmp_path)

    def test_nothing_is_overwritten(self, tmp_path):
        (tmp_path / "README.md").write_text("mine")
        with pytest.raises(FolderRefusedError, match="not empty"):
            write(NAMES, "function", tmp_path)
        assert [f.name for f in tmp_path.iterdir()] == ["README.md"]

    def test_a_file_is_no_folder(self, tmp_path):
        file = tmp_path / "file"
        file.touch()
        with pytest.raises(FolderRefusedError, match="is a file"):
            write(NAMES, "function", file)


def test_the_page_shows_the_files():
    page = (ROOT / "docs" / "new.md").read_text("utf-8")
    shown = re.search(r"^```\nlangchain-my-model/\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    paths = [line.split()[0] for line in shown[1].splitlines()]
    assert sorted(paths) == sorted(render(NAMES, "http"))
