"""The real model, one engine for most tests, and a way to run code in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from llama_helpers import ENGINE, Run

from langchain_wrap.models import weights

pytest.importorskip("xllamacpp")

from langchain_wrap.models.llama_cpp import LlamaCpp


@pytest.fixture(scope="session")
def model_file() -> Path:
    return weights.resolve(weights.DEFAULT)


@pytest.fixture(scope="session")
def llm(model_file: Path) -> LlamaCpp:
    return LlamaCpp(temperature=0, max_tokens=16, **ENGINE)


@pytest.fixture
def run_python(tmp_path: Path, model_file: Path) -> Run:
    """Run code in a new interpreter, in which temporary files are in `tmp_path / "t"`."""
    folder = tmp_path / "t"
    folder.mkdir()

    def run(code: str, *, cache: Path | None = None) -> subprocess.CompletedProcess[str]:
        env = {**os.environ, "TMPDIR": str(folder), "LANGCHAIN_WRAP_CACHE": str(model_file.parent)}
        if cache is not None:
            env["LANGCHAIN_WRAP_CACHE"] = str(cache)
        source = Path(__file__).parents[2] / "src"
        env["PYTHONPATH"] = os.pathsep.join([str(source), env.get("PYTHONPATH", "")])
        return subprocess.run(
            [sys.executable, "-W", "error::ResourceWarning", "-c", code],
            env=env,
            capture_output=True,
            text=True,
            timeout=90,
            check=False,
        )

    return run
