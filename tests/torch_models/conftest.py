"""Tests of what needs torch: `make test-transformers`. Without torch this folder has none."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

if importlib.util.find_spec("torch") is None or importlib.util.find_spec("transformers") is None:
    collect_ignore_glob = ["test_*.py"]
else:
    import torch
    from torch_tiny import tiny

    from langchain_wrap.models import Transformers

    torch.set_num_threads(1)  # two of them on busy cores wait for each other

    @pytest.fixture(scope="session")
    def smollm() -> Transformers:
        """The real model: loaded once, since dequantising it takes half a minute."""
        llm = Transformers(model="smollm2", temperature=0, max_new_tokens=16)
        llm._engine()
        return llm

    @pytest.fixture(scope="session")
    def llm() -> Transformers:
        """A tiny model with random weights, exact to the last bit that matters."""
        model, tokenizer = tiny()
        return Transformers(model=model, tokenizer=tokenizer, temperature=0, max_new_tokens=12)

    @pytest.fixture(scope="session")
    def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
        """The tiny model, saved."""
        path = tmp_path_factory.mktemp("tiny")
        model, tokenizer = tiny()
        model.save_pretrained(path)
        tokenizer.save_pretrained(path)
        return path


@pytest.fixture
def run_python() -> Callable[[str], subprocess.CompletedProcess[str]]:
    """Run code in a new interpreter, where the tests' helpers can be imported."""
    here = Path(__file__).parent

    def run(code: str) -> subprocess.CompletedProcess[str]:
        source = here.parents[1] / "src"
        return subprocess.run(
            [sys.executable, "-W", "error::ResourceWarning", "-c", code],
            env={**os.environ, "PYTHONPATH": os.pathsep.join([str(source), str(here)])},
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )

    return run
