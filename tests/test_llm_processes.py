"""Copies, pickles and other processes: what is live is made anew on first use."""

from __future__ import annotations

import asyncio
import copy
import multiprocessing
import os
import pickle
import subprocess
import sys
import threading
import warnings

import pytest
from langchain_core.rate_limiters import InMemoryRateLimiter
from langchain_core.runnables import ConfigurableField
from pydantic import SecretStr
from scripted import KINDS, LONG, PATHS, ByAStream, ByStream, eventually, read, threads

from langchain_wrap import LLM, Timeout

DIRECT = [path for path in PATHS if path != "astream_events"]
COPIES = {
    "pickle": lambda llm: pickle.loads(pickle.dumps(llm)),
    "deepcopy": copy.deepcopy,
    "copy": copy.copy,
    "model_copy": lambda llm: llm.model_copy(),
    "model_copy_deep": lambda llm: llm.model_copy(deep=True),
}


class Keyed(ByStream):
    api_key: SecretStr
    size: int = 3


@pytest.mark.parametrize("way", COPIES)
@pytest.mark.parametrize("kind", KINDS)
def test_a_copy_made_after_use_works_in_every_path(kind, way):
    llm = KINDS[kind](stop=["zz"], concurrency=2, timeout=Timeout(total=LONG))
    for path in DIRECT:
        PATHS[path](llm, "abc", None)
    twin = COPIES[way](llm)
    assert twin == llm
    for path in DIRECT:
        assert PATHS[path](twin, "abczzd", None) == "abc"


@pytest.mark.parametrize("way", COPIES)
def test_a_copy_made_during_use_does_not_share_what_is_live(way):
    llm = ByStream(concurrency=1)
    stream = llm.stream("abcd")
    next(stream)
    twin = COPIES[way](llm)
    assert twin.invoke("xy") == "xy"
    assert list(stream) == ["cd"]


def test_fields_and_keys_travel():
    llm = Keyed(api_key="sk-secret", size=5)
    twin = pickle.loads(pickle.dumps(llm))
    assert twin.size == 5
    assert twin.api_key.get_secret_value() == "sk-secret"


def test_a_chain_can_be_pickled():
    chain = ByStream() | ByAStream()
    assert pickle.loads(pickle.dumps(chain)).invoke("abc") == "abc"


def _use(llm, prompt):
    texts = {PATHS[path](llm, prompt, None) for path in DIRECT}
    return texts == {prompt}


@pytest.mark.parametrize("kind", KINDS)
def test_a_spawned_process_can_use_it(kind):
    llm = KINDS[kind](concurrency=1)
    llm.invoke("warm up")
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.apply_async(_use, (llm, "abc")).get(LONG * 3)


def in_a_fork(check, seconds=LONG) -> bool:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of forking beside threads
        pid = os.fork()
    if pid == 0:
        code = 1
        try:
            code = 0 if check() else 2
        finally:
            os._exit(code)
    ended = []

    def poll():
        done, status = os.waitpid(pid, os.WNOHANG)
        ended.append(status) if done else None
        return done

    if not eventually(poll, seconds):
        os.kill(pid, 9)
        os.waitpid(pid, 0)
        return False
    return ended == [0]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("kind", KINDS)
class TestAfterAFork:
    def test_the_child_can_use_it(self, kind):
        llm = KINDS[kind](concurrency=1)
        assert _use(llm, "warm")
        assert in_a_fork(lambda: _use(llm, "abc"))
        assert _use(llm, "after")

    def test_a_place_taken_in_the_parent_is_free_in_the_child(self, kind):
        llm = KINDS[kind](concurrency=1)
        gate = llm._wrap_live.gate(1, None)
        gate._inside = 1  # as if a call were under way
        assert in_a_fork(lambda: llm.invoke("abc") == "abc")
        gate._inside = 0

    def test_a_fork_during_calls_of_other_threads_works(self, kind):
        llm = KINDS[kind]()
        stop = threading.Event()

        def keep_busy():
            while not stop.is_set():
                llm.invoke("x")
                llm.batch(["x", "y"])

        with threads(*[keep_busy] * 3):
            results = [in_a_fork(lambda: _use(llm, "abc")) for _ in range(3)]
            stop.set()
        assert results == [True] * 3


INNER_CALLS = {
    "invoke": lambda inner: inner.invoke("a"),
    "stream": lambda inner: "".join(inner.stream("a")),
    "batch": lambda inner: inner.batch(["a", "b"])[0],
    "generate": lambda inner: inner.generate(["a", "b"]).generations[0][0].text,
}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("call", INNER_CALLS)
@pytest.mark.parametrize("kind", KINDS)
def test_a_sync_call_inside_an_async_model_called_from_sync_code_works(kind, call):
    inner = KINDS[kind]()

    class Outer(LLM):
        async def _acall(self, prompt):
            return INNER_CALLS[call](inner)

    # A hang would take the loop thread with it, so it is tried in a process of its own.
    assert in_a_fork(lambda: Outer().invoke("p") == "a", 5)


SCRIPT = """
import asyncio, threading, time
from langchain_wrap import LLM

class Hanging(LLM):
    def _stream(self, prompt):
        yield "a"
        time.sleep(60)
        yield "b"

class AHanging(LLM):
    async def _astream(self, prompt):
        yield "a"
        await asyncio.sleep(60)
        yield "b"

async def main():
    stream = Hanging().astream("p")
    print(await anext(stream))
    await stream.aclose()

asyncio.run(main())
stream = AHanging().stream("p")
print(next(stream))
stream.close()
keep = AHanging().stream("p")
print(next(keep))
"""


def test_a_hanging_model_does_not_keep_the_interpreter_from_exiting():
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", SCRIPT],
        capture_output=True,
        text=True,
        timeout=50,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert (done.returncode, done.stdout.split(), done.stderr) == (0, ["a", "a", "a"], "")


# --- runnables made of a model ----------------------------------------------------------------


class Sized(LLM):
    size: int = 1

    def _call(self, prompt, stop=None, **kwargs):
        return prompt * self.size


def test_configurable_fields_take_effect_on_every_path():
    llm = Sized().configurable_fields(size=ConfigurableField(id="size"))
    config = {"configurable": {"size": 3}}
    for path in DIRECT:
        assert PATHS[path](llm, "ab", config) == "ababab"
        assert PATHS[path](llm, "ab", None) == "ab"


def test_configurable_alternatives_switch_the_model():
    llm = Sized().configurable_alternatives(ConfigurableField(id="llm"), other=ByStream())
    assert llm.with_config(configurable={"llm": "other"}).invoke("ab") == "ab"
    assert list(llm.with_config(configurable={"llm": "other"}).stream("abcd")) == ["ab", "cd"]


def test_bind_passes_stops_and_parameters():
    class Parametric(LLM):
        def _call(self, prompt, stop=None, temperature=0):
            return f"{prompt} {temperature} end"

    bound = Parametric().bind(stop=["end"], temperature=2)
    for path in DIRECT:
        assert PATHS[path](bound, "p", None) == "p 2 "


def test_with_config_reaches_the_callbacks():
    from scripted import Recorder

    recorder = Recorder()
    ByStream().with_config(callbacks=[recorder], tags=["t"]).invoke("ab")
    assert recorder.names == ["start", "token", "end"]
    assert recorder.payloads[0][2]["tags"] == ["t"]


def test_a_rate_limiter_of_langchain_works():
    limiter = InMemoryRateLimiter(requests_per_second=1000, check_every_n_seconds=0.001)
    llm = ByStream(rate_limiter=limiter)
    assert llm.batch(["ab", "cd"]) == ["ab", "cd"]
    assert asyncio.run(read(llm.astream("ab"))) == ["ab"]


def test_fields_can_be_changed_between_calls():
    llm = Sized()
    assert llm.invoke("a") == "a"
    llm.size = 2
    llm.stop = ["b"]
    assert llm.invoke("ab") == "a"


def test_two_equal_models_are_equal():
    assert Sized(size=2) == Sized(size=2)
    assert Sized(size=2) != Sized(size=3)
    used = Sized(size=2)
    used.invoke("p")
    assert used == Sized(size=2)


def test_the_class_says_what_it_is():
    from langchain_core.language_models import BaseLLM
    from langchain_core.language_models.llms import LLM as CoreLLM

    assert isinstance(Sized(), BaseLLM)
    assert issubclass(LLM, CoreLLM)
    assert Sized().get_input_schema() is not None
    assert Sized().get_name() == "Sized"
