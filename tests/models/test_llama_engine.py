"""The engine: sharing, cancelling, forks, exits; in processes of their own where need be."""

from __future__ import annotations

import gc
import os
import stat
import threading
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from llama_helpers import ENGINE, Run, eventually

from langchain_wrap import CancelToken
from langchain_wrap.models import llama_engine
from langchain_wrap.models.llama_cpp import LlamaCpp
from langchain_wrap.models.llama_engine import Engine
from langchain_wrap.models.llama_generation import generate

ENDLESS: dict[str, Any] = {"max_tokens": 900, "temperature": 0, "ignore_eos": True}
LONG = "The quick brown fox jumps over the lazy dog. " * 80


@pytest.fixture(scope="module")
def engine(llm: LlamaCpp) -> Engine:
    return llm._engine()


def endless(
    engine: Engine, prompt: str = "Once", cancel: CancelToken | None = None
) -> Iterator[dict[str, Any]]:
    return generate(engine, {"prompt": prompt, **ENDLESS}, reuse=False, cancel=cancel)


def until_token(messages: Iterator[dict[str, Any]]) -> None:
    next(message for message in messages if "prompt_progress" not in message)


def idle(engine: Engine) -> bool:
    return not any(slot["is_processing"] for slot in engine.slots()) and not engine.core.live


def test_closing_frees_the_slot(engine: Engine) -> None:
    messages = endless(engine)
    until_token(messages)
    assert not idle(engine)
    messages.close()
    assert eventually(lambda: idle(engine))
    assert all(
        slot.get("n_prompt_tokens", 0) < 500 for slot in engine.slots()
    )  # prompt and completion


def test_cancelling_while_decoding_frees_reader_and_slot(engine: Engine) -> None:
    cancel = CancelToken()
    messages = endless(engine, cancel=cancel)
    until_token(messages)
    threading.Timer(0.1, cancel.cancel).start()
    assert sum(1 for _ in messages) < 800
    assert eventually(lambda: idle(engine))


def test_cancelling_in_the_prompt_frees_reader_and_slot(engine: Engine) -> None:
    cancel = CancelToken()
    messages = endless(engine, LONG, cancel)
    assert "prompt_progress" in next(messages)
    cancel.cancel()
    rest = list(messages)
    assert all("prompt_progress" in message for message in rest)
    assert eventually(lambda: idle(engine))


def test_cancelling_in_the_queue(engine: Engine) -> None:
    running = [endless(engine, str(i)) for i in range(4)]
    for messages in running:
        until_token(messages)
    cancel, seen = CancelToken(), []
    waiting = threading.Thread(target=lambda: seen.extend(endless(engine, "9", cancel)))
    waiting.start()
    assert eventually(lambda: len(engine.core.live) == 5)
    cancel.cancel()
    waiting.join(30)
    assert not waiting.is_alive()
    assert seen == []
    assert len(engine.core.live) == 4
    for messages in running:
        messages.close()
    assert eventually(lambda: idle(engine))


def test_cancelled_before_it_began(engine: Engine) -> None:
    cancel = CancelToken()
    cancel.cancel()
    assert list(endless(engine, cancel=cancel)) == []
    assert eventually(lambda: idle(engine))


def test_a_slot_that_was_freed_is_used_again(engine: Engine) -> None:
    for _ in range(12):
        messages = endless(engine)
        until_token(messages)
        messages.close()
    assert eventually(lambda: idle(engine))


def test_no_thread_is_left_behind(engine: Engine) -> None:
    assert eventually(lambda: idle(engine))
    before = threading.active_count()
    for _ in range(3):
        messages = [endless(engine, str(i)) for i in range(4)]
        for one in messages:
            until_token(one)
        for one in messages:
            one.close()
    assert eventually(lambda: threading.active_count() <= before)


def test_equal_settings_share_one_engine_and_others_do_not(llm: LlamaCpp) -> None:
    other = LlamaCpp(temperature=1, max_tokens=2, cache_prompt=False, **ENGINE)
    assert other._engine() is llm._engine()
    assert LlamaCpp(**{**ENGINE, "n_parallel": 1})._engine() is not llm._engine()


def test_simultaneous_first_uses_load_once(model_file: Path) -> None:
    settings = {**ENGINE, "n_parallel": 2}
    models = [LlamaCpp(model_path=str(model_file), max_tokens=1, **settings) for _ in range(8)]
    before = set(llama_engine._cores)
    threads = [threading.Thread(target=model.invoke, args=("Hi",)) for model in models]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({id(model._engine()) for model in models}) == 1
    assert len(llama_engine._cores - before) == 1


def test_the_engine_is_freed_with_its_last_user() -> None:
    model = LlamaCpp(max_tokens=1, **{**ENGINE, "n_parallel": 3})
    twin = LlamaCpp(max_tokens=2, **{**ENGINE, "n_parallel": 3})
    model.invoke("Hi")
    assert twin._engine() is model._engine()
    engine, folder = weakref.ref(model._engine()), model._engine().core.address.folder
    assert stat.S_IMODE(os.stat(folder).st_mode) == 0o700
    del model
    gc.collect()
    assert engine() is not None
    del twin
    gc.collect()
    assert engine() is None
    assert not os.path.exists(folder)


def test_no_network_port_is_opened(engine: Engine) -> None:
    proc = Path("/proc/self")
    if not proc.exists():
        pytest.skip("needs /proc")
    mine = {
        os.readlink(link) for link in (proc / "fd").iterdir() if os.path.islink(link)
    }  # socket:[inode]
    for table in ("tcp", "tcp6"):
        for line in (proc / "net" / table).read_text().splitlines()[1:]:
            fields = line.split()
            listening = fields[3] == "0A"
            assert not (listening and f"socket:[{fields[9]}]" in mine)


def test_the_socket_asks_for_the_key(engine: Engine) -> None:
    address = engine.core.address
    key, address.key = address.key, "guess"
    try:
        with pytest.raises(OSError, match="401"):
            engine.tokenize("Hi")
    finally:
        address.key = key


HEAD = f"""
import os, signal, sys, threading, time
from langchain_wrap.models.llama_cpp import LlamaCpp
llm = LlamaCpp(temperature=0, max_tokens=900, ignore_eos=True, **{ENGINE!r})
print(repr(llm.invoke("The capital of France is", max_tokens=1)), flush=True)
def stream():
    for _ in llm.stream("Once"): pass
"""
EXITS = {
    "idle": "",
    "loaded but never used": "del llm; LlamaCpp(n_threads=1, n_parallel=1)._engine()",
    "stream left open": "s = llm.stream('Once'); next(s)",
    "streams in daemon threads": """
for _ in range(6): threading.Thread(target=stream, daemon=True).start()
time.sleep(1)""",
    "invoke in a daemon thread": """
threading.Thread(target=llm.invoke, args=("Once",), daemon=True).start()
time.sleep(1)""",
    "use at exit": "import atexit; atexit.register(llm.invoke, 'Hi', max_tokens=1)",
}


@pytest.mark.parametrize("name", EXITS)
def test_exit_is_clean(name: str, run_python: Run, tmp_path: Path) -> None:
    done = run_python(HEAD + EXITS[name])
    assert (done.returncode, done.stdout, done.stderr) == (0, "' Paris'\n", "")
    assert list((tmp_path / "t").iterdir()) == []  # the socket's folder


@pytest.mark.parametrize("call", ["stream()", "llm.invoke('Once')", "llm.batch(['a', 'b'] * 4)"])
def test_ctrl_c(call: str, run_python: Run, tmp_path: Path) -> None:
    done = run_python(
        HEAD
        + f"""
threading.Timer(1, os.kill, (os.getpid(), signal.SIGINT)).start()
try:
    {call}
except KeyboardInterrupt:
    print("interrupted", repr(llm.invoke("The capital of France is", max_tokens=1)))
"""
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "' Paris'\ninterrupted ' Paris'\n"
    assert list((tmp_path / "t").iterdir()) == []


@pytest.mark.parametrize("level", ["INFO", "DEBUG"])
def test_the_log_can_be_turned_on(level: str, run_python: Run) -> None:
    done = run_python(
        f"import logging; logging.basicConfig(format='OURS %(message)s', level={level!r})\n" + HEAD
    )
    assert done.returncode == 0
    assert "OURS loaded" in done.stderr
    assert "n_ctx" in done.stderr.replace("OURS", "")  # the engine's own words


FORKS = {
    "child loads its own": "print(repr(llm.invoke('The capital of France is', max_tokens=1)))",
    "child does nothing": "print(\"' Paris'\")",
    "child drops it": "import gc; del llm; gc.collect(); print(\"' Paris'\")",
}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
@pytest.mark.parametrize("name", FORKS)
def test_fork(name: str, run_python: Run, tmp_path: Path) -> None:
    done = run_python(
        HEAD
        + f"""
s = llm.stream("Once"); next(s)
child = os.fork()
if child == 0:
    {FORKS[name]}
    sys.exit(7)
status = os.waitpid(child, 0)[1]
print(os.waitstatus_to_exitcode(status), next(s) != "", flush=True)
"""
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "' Paris'\n' Paris'\n7 True\n"
    assert list((tmp_path / "t").iterdir()) == []


def test_what_a_killed_process_left_is_deleted(run_python: Run, tmp_path: Path) -> None:
    done = run_python(HEAD + "os.kill(os.getpid(), signal.SIGKILL)")
    assert done.returncode == -9
    assert len(list((tmp_path / "t").iterdir())) == 1
    run_python(HEAD)
    assert list((tmp_path / "t").iterdir()) == []


def test_a_model_that_is_dropped_while_it_generates_does_not_crash_the_exit(
    run_python: Run,
) -> None:
    for _ in range(3):
        done = run_python(
            HEAD + "stream = llm.stream('Once', max_tokens=500)\nnext(stream)\ndel llm, stream\n"
        )
        assert (done.returncode, done.stderr) == (0, "")
