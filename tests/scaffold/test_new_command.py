"""`langchain-wrap new`."""

import pytest
from typer.testing import CliRunner

from langchain_wrap.commands import app
from langchain_wrap.scaffold.kinds import KINDS


@pytest.fixture
def new(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "300")
    return lambda *args: CliRunner().invoke(app, ["new", *args])


def test_a_function_by_default(new, tmp_path):
    out = new("my-model")
    assert out.exit_code == 0
    folder = tmp_path / "langchain-my-model"
    assert (folder / "src" / "langchain_my_model" / "model.py").is_file()
    assert out.stdout.splitlines()[-3:] == [
        "  cd langchain-my-model",
        "  pip install -e '.[test]'",
        "  pytest",
    ]


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_can_be_named(new, tmp_path, kind):
    assert new("my-model", "--kind", kind).exit_code == 0
    assert (tmp_path / "langchain-my-model/src/langchain_my_model" / KINDS[kind].yours).is_file()


def test_kind_and_path(new, tmp_path):
    out = new("my-model", "--kind", "http", "--path", "a folder")
    assert out.exit_code == 0
    assert (tmp_path / "a folder" / "tests" / "server.py").is_file()
    assert "  cd 'a folder'\n" in out.stdout


@pytest.mark.parametrize(
    ("args", "reason"),
    [
        (["7b"], "begins with a digit"),
        (["core"], "another package already"),
        (["my-model", "--kind", "grpc"], "'grpc'"),
        (["my-model", "--path", "full"], "full is not empty"),
        (["my-model", "--path", "full/file"], "full/file is a file"),
    ],
)
def test_a_wrong_use_is_said_and_writes_nothing(new, tmp_path, args, reason):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    out = new(*args)
    assert out.exit_code == 2
    assert reason in out.stderr
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["file", "full"]


def test_a_folder_that_cannot_be_written_is_one_line(new, tmp_path):
    (tmp_path / "file").touch()
    out = new("my-model", "--path", "file/below")
    assert out.exit_code == 1
    assert out.stderr.startswith("error: file/below cannot be written: ")
    assert len(out.stderr.splitlines()) == 1
