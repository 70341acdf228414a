"""What the package exports, and what importing it costs."""

import importlib
import subprocess
import sys

import pytest

import langchain_wrap

HEAVY = ("langchain_core", "pydantic", "xllamacpp", "typer", "rich", "asyncio")


def loaded_by(statement: str) -> set[str]:
    """Return the names of `HEAVY` that a statement imports in a fresh interpreter."""
    code = f"import sys; {statement}; print(*(n for n in {HEAVY!r} if n in sys.modules))"
    out = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    return set(out.stdout.split())


def test_every_name_in_all_is_there():
    for name in langchain_wrap.__all__:
        assert getattr(langchain_wrap, name) is not None


def test_all_is_sorted_and_has_no_duplicates():
    names = [name for name in langchain_wrap.__all__ if name != "__version__"]
    assert len(set(langchain_wrap.__all__)) == len(langchain_wrap.__all__)
    assert names == sorted(names, key=lambda name: (not name.isupper(), name.islower(), name))


def test_dir_equals_all():
    assert dir(langchain_wrap) == sorted(langchain_wrap.__all__)


def test_every_lazy_name_is_public_and_lives_where_it_is_said_to():
    assert set(langchain_wrap._HOMES) == set(langchain_wrap.__all__) - {"__version__"}
    for name, home in langchain_wrap._HOMES.items():
        module = importlib.import_module(f"langchain_wrap.{home}")
        value = getattr(module, name)
        assert value is getattr(langchain_wrap, name)
        assert value.__module__ == module.__name__


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="'langchain_wrap' has no attribute 'Nope'"):
        _ = langchain_wrap.Nope


def test_version_is_that_of_the_distribution():
    from importlib.metadata import PackageNotFoundError, version

    try:
        installed = version("langchain-wrap")
    except PackageNotFoundError:
        pytest.skip("runs from a source tree that is not installed")
    assert langchain_wrap.__version__ == installed


def test_importing_the_package_imports_nothing_heavy():
    assert loaded_by("import langchain_wrap") == set()


def test_importing_the_command_line_does_not_import_langchain():
    assert not loaded_by("import langchain_wrap.cli") & {"typer", "rich", "langchain_core"}
    assert not loaded_by("import langchain_wrap.commands") & {"langchain_core", "xllamacpp"}


def test_importing_llm_does_not_import_extras():
    loaded = loaded_by("from langchain_wrap import LLM, wrap")
    assert not loaded & {"xllamacpp", "typer", "rich"}
    assert "langchain_core" in loaded


def test_the_package_is_marked_as_typed():
    from pathlib import Path

    assert (Path(langchain_wrap.__file__).parent / "py.typed").exists()
