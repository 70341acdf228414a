"""Persistent programs: one answers many prompts, and nothing of one answer gets into another."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import signal
import sys

import pytest
from command_helpers import SERVE, alive, children, linux, python, serve
from langchain_core.exceptions import ModelTimeoutError
from pydantic import SecretStr
from scripted import PATHS, Peak, eventually, threads

from langchain_wrap import CancelToken, CommandError
from langchain_wrap.models.command_pool import Pool, Worker
from langchain_wrap.models.command_process import Program


def facts(llm, prompt, **kwargs):
    return llm.generate([prompt], **kwargs).generations[0][0].generation_info


def start() -> Program:
    return Program([sys.executable, "-c", SERVE], env={}, cwd=None, grace=1)


def test_one_process_answers_prompt_after_prompt():
    llm = serve()
    first = facts(llm, "a b", stop=["x"], temperature=0)
    assert (first["params"], first["stops"]) == ({"temperature": 0}, ["x"])
    assert facts(llm, "c")["pid"] == first["pid"]
    assert llm.batch(["a", "b c", "d"]) == ["a ", "b c ", "d "]


ONE_ANSWER = """
import json, sys
json.loads(sys.stdin.readline())
print(json.dumps({"text": "ok", "done": True}), flush=True)
"""


def test_a_program_that_ends_after_its_answer_is_started_again():
    llm = python(ONE_ANSWER, persistent=True)
    assert [llm.invoke("p") for _ in range(10)] == ["ok"] * 10
    assert llm.batch(["p"] * 10) == ["ok"] * 10


def test_a_program_that_never_answers_is_not_started_again_and_again(tmp_path):
    code = f"open({str(tmp_path / 'starts')!r}, 'a').write('x')"
    with pytest.raises(CommandError, match="exit code 0 in the middle"):
        python(code, persistent=True).invoke("p")
    assert (tmp_path / "starts").read_text() == "x"


def test_an_error_that_is_null_is_none():
    code = ONE_ANSWER.replace('"done"', '"error": None, "done"')
    assert python(code, persistent=True).invoke("p") == "ok"


def test_a_parameter_with_a_surrogate_does_not_end_the_program():
    llm = serve()
    before = facts(llm, "a")["pid"]
    found = facts(llm, "b", name="\ud800")
    assert (found["pid"], found["params"]) == (before, {"name": "\ud800"})


@pytest.mark.parametrize("path", PATHS)
def test_every_path(path):
    assert PATHS[path](serve(), "a b", None) == "a b "


def test_parameters_of_the_object_and_of_the_call():
    llm = serve(params={"temperature": 1, "n": 2})
    assert facts(llm, "a", temperature=0)["params"] == {"temperature": 0, "n": 2}


def test_one_process_for_each_call_at_once():
    llm = serve(concurrency=3)
    assert llm.batch([f"p{i}" for i in range(30)]) == [f"p{i} " for i in range(30)]
    assert len(llm._pool._idle.workers) <= 3


@linux
def test_64_threads_share_the_processes_of_a_pool():
    llm = serve(concurrency=4)
    before, pids, peak = children(), set(), Peak()

    def ask(number):
        for turn in range(5):
            prompt = f"{number}-{turn}"
            found = llm.generate([prompt]).generations[0][0]
            assert found.text == prompt + " "
            pids.add(found.generation_info["pid"])
        with peak:
            assert len(children() - before) <= 4

    with threads(*[lambda i=i: ask(i) for i in range(64)]):
        pass
    assert len(pids) <= 4


class TestRestart:
    def test_it_is_started_again_when_it_has_died(self):
        llm = serve()
        pid = facts(llm, "a")["pid"]
        with pytest.raises(CommandError, match=r"exit code 1 in the middle.*I am dying") as error:
            llm.invoke("die")
        assert (error.value.returncode, error.value.stderr) == (1, "I am dying")
        assert error.value.is_retryable
        assert facts(llm, "b")["pid"] != pid

    @linux
    def test_it_may_have_died_between_two_calls(self):
        llm = serve()
        for how in ("kill", "leaves"):
            pid = facts(llm, "leaves" if how == "leaves" else "a")["pid"]
            if how == "kill":
                os.kill(pid, signal.SIGKILL)
            assert eventually(lambda pid=pid: not alive(pid))
            assert facts(llm, "b")["pid"] != pid

    def test_it_is_started_again_when_the_fields_have_changed(self):
        llm = serve()
        pid = facts(llm, "a")["pid"]
        llm.env = {"SOME": "thing"}
        second = facts(llm, "b")["pid"]
        llm.env = {"SOME": SecretStr("other")}
        assert len({pid, second, facts(llm, "b")["pid"]}) == 3

    def test_a_retry_asks_another(self, tmp_path):
        note = tmp_path / "been"
        code = (
            f"import os, sys\nif not os.path.exists({str(note)!r}):\n"
            f"    open({str(note)!r}, 'w').close(); input(); sys.exit(3)\n" + SERVE
        )
        assert python(code, persistent=True, max_retries=1).invoke("a") == "a "


class TestErrors:
    def test_the_programs_own_words(self):
        llm = serve()
        pid = facts(llm, "a")["pid"]
        with pytest.raises(CommandError, match=r"python\S*: no such thing"):
            llm.invoke("bad")
        assert facts(llm, "b")["pid"] == pid

    @pytest.mark.parametrize(
        "line",
        ["hello", "[]", '"x"', '{"text": 5}', "[" * 100_000, "\udcff{"],
        ids=["text", "list", "string", "number", "deep", "bytes"],
    )
    def test_a_line_that_is_not_of_the_protocol(self, line):
        gc.collect()  # what earlier tests have left must not come up in the depth of the JSON
        code = f"import os\ninput()\nos.write(1, {os.fsencode(line)!r} + b'\\n')\ninput()"
        with pytest.raises(CommandError, match=r"must answer in lines of JSON.*and wrote"):
            python(code, persistent=True).invoke("a")

    def test_a_line_without_end(self, monkeypatch):
        monkeypatch.setattr("langchain_wrap.models.command_pool._LONGEST", 200_000)
        code = "import os\ninput()\nwhile True: os.write(1, b'x' * 4096)"
        with pytest.raises(CommandError, match="without ending a line"):
            python(code, persistent=True).invoke("a")

    def test_the_text_so_far_is_on_the_error(self):
        with pytest.raises(CommandError, match="closed its output in the middle") as error:
            serve().invoke("closes")
        assert error.value.partial_text == "some "

    def test_what_is_no_json_cannot_be_asked(self):
        llm = serve()
        with pytest.raises(ValueError, match="not JSON compliant"):
            llm.invoke("a", temperature=float("nan"))
        assert llm.invoke("a") == "a "

    def test_half_a_line_and_then_nothing(self):
        llm = serve(timeout=1.5)
        with pytest.raises(ModelTimeoutError):
            llm.invoke("half")
        assert llm.invoke("a") == "a "


class TestLeaving:
    def test_the_next_answer_is_its_own(self):
        llm = serve()
        for chunk in llm.stream("a b c d"):
            assert chunk == "a "
            break
        assert llm.invoke("e") == "e "

    def test_so_it_is_after_a_stop(self):
        llm = serve()
        assert llm.invoke("a b c d", stop=["c"]) == "a b "
        assert llm.invoke("e") == "e "

    @linux
    async def test_a_cancelled_task_ends_its_program_and_no_other(self):
        llm = serve(concurrency=2)
        before = children()
        task = asyncio.create_task(llm.ainvoke("half"))
        while not children() - before:
            await asyncio.sleep(0.01)
        busy = children() - before
        assert await llm.ainvoke("a") == "a "
        other = children() - before - busy
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert eventually(lambda: not busy & children())
        assert other <= children()
        assert await llm.ainvoke("b") == "b "

    @pytest.mark.parametrize("prompt", ["chatter", "blank", "late"])
    def test_what_is_said_after_the_end_belongs_to_no_answer(self, prompt):
        llm = serve()
        pid = facts(llm, prompt)["pid"]
        with llm._pool._idle.lock:
            (worker,) = llm._pool._idle.workers
        assert prompt != "late" or eventually(lambda: worker.program.has_output)
        after = facts(llm, "a")
        assert (after["pid"] == pid) is (prompt == "blank")
        assert llm.invoke("b") == "b "

    @linux
    def test_the_process_ends_with_the_object(self):
        before = children()
        llm = serve()
        llm.invoke("a")
        assert children() - before
        del llm
        assert eventually(lambda: gc.collect() >= 0 and children() <= before)


class TestPool:
    def test_a_worker_goes_back_only_when_it_is_done(self):
        pool, cancel = Pool(), CancelToken()
        with pool.worker(1, start, cancel) as worker:
            assert [a.get("text") for a in worker.ask(request("a b"))] == ["a ", "b ", None]
        with pool.worker(1, start, cancel) as again:
            assert again is worker
            next(again.ask(request("a b")))
        with pool.worker(1, start, cancel) as third:
            assert third is not worker
        with pool.worker(2, start, cancel) as fourth:
            assert fourth is not third
        assert not third.program.alive
        fourth.program.close()

    def test_a_cancelled_call_ends_the_program(self):
        pool, cancel = Pool(), CancelToken()
        with pool.worker(1, start, cancel) as worker:
            cancel.cancel()
            assert worker.program.wait() == -signal.SIGTERM
        assert not pool._idle.workers

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="has no fork")
    @pytest.mark.filterwarnings("ignore::DeprecationWarning")
    def test_a_forked_child_starts_its_own(self):
        llm = serve()
        pid = facts(llm, "a")["pid"]
        reading, writing = os.pipe()
        child = os.fork()
        if not child:
            code = 1
            try:
                os.write(writing, str(facts(llm, "b")["pid"]).encode())
                llm._pool._idle.workers[0].program.close()
                code = 0
            finally:
                os._exit(code)
        os.close(writing)
        assert os.waitpid(child, 0)[1] == 0
        with open(reading) as pipe:
            assert pipe.read() not in ("", str(pid))
        assert facts(llm, "c")["pid"] == pid


def request(prompt):
    return {"prompt": prompt, "stop": [], "params": {}}


def test_a_large_request_and_a_large_answer():
    code = (
        "import json, sys\nprint(' ' * 200_000)\nfor line in sys.stdin:\n"
        "    print(json.dumps({'text': json.loads(line)['prompt'], 'done': True}), flush=True)"
    )
    llm = python(code, persistent=True)
    for size in (3_000_000, 5, 200_000):
        assert llm.invoke("x" * size) == "x" * size


def test_lines_are_read_however_they_are_cut():
    code = (
        "import os, time\ninput()\n"
        'data = b\'{"text": "a\\xc3\\xa9"}\\r\\n\\n  \\n{"done": true, "n": 1}\\n\'\n'
        "for i in range(len(data)): os.write(1, data[i:i+1]); time.sleep(0.001)\ninput()"
    )
    worker = Worker(Program([sys.executable, "-c", code], env={}, cwd=None, grace=1), None)
    assert list(worker.ask(request("a"))) == [{"text": "aé"}, {"done": True, "n": 1}]
    assert worker.usable
    worker.program.close()
    assert not worker.usable


def test_an_identity_is_json():
    assert json.loads(json.dumps(dict(serve()._identifying_params)))["persistent"] is True
