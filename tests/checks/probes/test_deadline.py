"""Deadlines: whatever a model does, its caller is free in time."""

import asyncio
import contextvars
import subprocess
import sys
import threading
import time

import pytest
from scripted import eventually

from langchain_wrap.checks.probes import deadline

VARIABLE = contextvars.ContextVar("VARIABLE", default="nothing")


async def answer(value="answer"):
    await asyncio.sleep(0)
    return value


async def fails(error):
    raise error


async def stubborn(until):
    while not until.is_set():
        try:
            await asyncio.sleep(0.01)
        except asyncio.CancelledError:
            continue


def run_in_loop(function, seconds):
    return deadline.Loop().run(function, seconds)


ASYNC = [pytest.param(deadline.run_async, id="own loop"), pytest.param(run_in_loop, id="the loop")]


class TestSync:
    def test_gives_the_answer(self):
        assert deadline.run(lambda: 5, 10) == 5

    def test_gives_the_error(self):
        with pytest.raises(KeyError, match="x"):
            deadline.run(lambda: {}["x"], 10)

    @pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt()])
    def test_a_model_does_not_end_the_program(self, error):
        def ends():
            raise error

        with pytest.raises(deadline.Ended, match="would end the program"):
            deadline.run(ends, 10)

    def test_frees_the_caller_of_a_call_that_hangs(self):
        free = threading.Event()
        begin = time.monotonic()
        with pytest.raises(deadline.NoAnswer, match=r"^no answer in 0\.05 s$"):
            deadline.run(lambda: free.wait(60), 0.05)
        assert time.monotonic() - begin < 20
        free.set()

    def test_has_the_callers_context(self):
        VARIABLE.set("something")
        assert deadline.run(VARIABLE.get, 10) == "something"


@pytest.mark.parametrize("run_async", ASYNC)
class TestAsync:
    def test_gives_the_answer(self, run_async):
        assert run_async(answer, 10) == "answer"

    def test_gives_the_error(self, run_async):
        with pytest.raises(KeyError, match="x"):
            run_async(lambda: fails(KeyError("x")), 10)

    def test_has_the_callers_context(self, run_async):
        async def read():
            return VARIABLE.get()

        VARIABLE.set("something else")
        assert run_async(read, 10) == "something else"

    def test_a_call_that_hangs_is_cancelled(self, run_async):
        seen = threading.Event()

        async def hangs():
            try:
                await asyncio.sleep(60)
            finally:
                seen.set()

        with pytest.raises(deadline.NoAnswer, match=r"^no answer in 0\.05 s$"):
            run_async(hangs, 0.05)
        assert seen.wait(20)

    def test_frees_the_caller_of_a_call_that_cannot_be_cancelled(self, run_async):
        until = threading.Event()
        begin = time.monotonic()
        with pytest.raises(deadline.NoAnswer):
            run_async(lambda: stubborn(until), 0.05)
        assert time.monotonic() - begin < 20
        until.set()

    def test_frees_the_caller_of_a_call_that_blocks_the_loop(self, run_async):
        free = threading.Event()

        async def blocks():
            free.wait(60)

        with pytest.raises(deadline.NoAnswer):
            run_async(blocks, 0.05)
        free.set()

    def test_frees_the_caller_of_a_thread_of_asyncio_that_hangs(self, run_async):
        free = threading.Event()

        async def waits():
            await asyncio.get_running_loop().run_in_executor(None, free.wait, 60)

        begin = time.monotonic()
        with pytest.raises(deadline.NoAnswer):
            run_async(waits, 0.05)
        assert time.monotonic() - begin < 20
        free.set()


def test_no_thread_is_left_of_calls_that_answer():
    def checks():
        return [t for t in threading.enumerate() if t.name == "check"]

    before = len(checks())
    deadline.run(lambda: 5, 10)
    deadline.run_async(answer, 10)
    assert eventually(lambda: len(checks()) <= before)


class TestLoop:
    def test_is_one_for_all_calls(self):
        async def loop():
            return asyncio.get_running_loop()

        one = deadline.Loop()
        assert one.run(loop, 10) is one.run(loop, 10)

    def test_that_does_not_answer_any_more_is_replaced(self):
        until = threading.Event()
        loop = deadline.Loop()
        with pytest.raises(deadline.NoAnswer):
            loop.run(lambda: stubborn(until), 0.05)
        assert loop.run(answer, 10) == "answer"
        until.set()


@pytest.mark.parametrize(
    "hang",
    [
        "deadline.run(lambda: time.sleep(100), 0.05)",
        "deadline.run(lambda: in_executor(), 0.05)",
        "deadline.run_async(in_thread, 0.05)",
        "deadline.Loop().run(in_thread, 0.05)",
    ],
)
def test_python_ends_although_a_call_hangs(hang):
    code = f"""
import asyncio, time
from concurrent.futures import ThreadPoolExecutor
from langchain_wrap.checks.probes import deadline

async def in_thread():
    await asyncio.get_running_loop().run_in_executor(None, time.sleep, 100)

def in_executor():
    with ThreadPoolExecutor() as executor:
        executor.submit(time.sleep, 100).result()

try:
    {hang}
except deadline.NoAnswer as late:
    print(late)
"""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "no answer in 0.05 s\n", "")
