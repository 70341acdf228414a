"""Command: real programs as models, ended when they should be, and never left behind."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import pickle
import signal
import sys
import time
from pathlib import Path

import pytest
from scripted import PATHS, eventually, threads

from langchain_wrap import CommandError
from langchain_wrap.models import Command

WORDS = """\
import sys, time
for word in sys.argv[1].split():
    print(word, end=" ", flush=True)
    time.sleep(float(sys.argv[2]) if len(sys.argv) > 2 else 0)
"""
UPPER = "import sys; sys.stdout.write(sys.stdin.read().upper())"
SERVE = """\
import json, os, sys
for line in sys.stdin:
    request = json.loads(line)
    prompt = request["prompt"]
    if prompt == "die":
        sys.exit("I am dying")
    if prompt == "bad":
        print(json.dumps({"error": "no such thing"}), flush=True)
        continue
    if prompt == "babble":
        print("hello", flush=True)
        continue
    for word in prompt.split():
        print(json.dumps({"text": word + " "}), flush=True)
    facts = {"pid": os.getpid(), "params": request["params"], "stops": request["stop"]}
    print(json.dumps({"done": True, "finish_reason": "stop", **facts}), flush=True)
"""


def python(code, *arguments, **fields):
    return Command([sys.executable, "-c", code, *arguments], **fields)


def words(*arguments, **fields):
    return python(WORDS, "{prompt}", *arguments, **fields)


def serve(**fields):
    return python(SERVE, persistent=True, **fields)


def children() -> set[int]:
    """The child processes of this one, zombies included."""
    found = set()
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(stat.read_text().rpartition(")")[2].split()[1])
        except (OSError, ValueError):
            continue
        if parent == os.getpid():
            found.add(int(stat.parent.name))
    return found


linux = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads /proc")


@pytest.mark.parametrize("path", PATHS)
def test_every_path_gives_what_the_program_prints(path):
    assert PATHS[path](words(), "a b c", None) == "a b c "


def test_output_is_streamed_as_it_comes():
    stream = words("0.2").stream("a b c")
    first = next(stream)
    assert "c" not in first
    assert first + "".join(stream) == "a b c "


def test_the_prompt_goes_to_stdin_where_no_argument_names_it():
    assert python(UPPER).invoke("héllo {x}\n") == "HÉLLO {X}\n"


def test_stdin_has_a_template_of_its_own():
    assert python(UPPER, stdin="<{prompt}> {{prompt}}").invoke("a") == "<A> {PROMPT}"


def test_a_large_prompt_and_a_large_answer_do_not_wait_for_each_other():
    prompt = "x" * 2_000_000
    assert python(UPPER).invoke(prompt) == prompt.upper()


@pytest.mark.parametrize("prompt", ["$HOME `ls` ; rm -rf", "\"quoted\" 'too'", "-h", "", "a\nb"])
def test_there_is_no_shell(prompt):
    assert python("import sys; print(sys.argv[1:])", "{prompt}").invoke(prompt) == f"{[prompt]}\n"


@pytest.mark.parametrize("cuts", [1, 2, 3])
def test_characters_cut_between_two_writes_arrive_whole(cuts):
    code = (
        "import sys, time\n"
        "for i in range(0, len(d := 'aé😀z'.encode()), %d):\n"
        "    sys.stdout.buffer.write(d[i:i+%d]); sys.stdout.buffer.flush(); time.sleep(0.02)"
    )
    chunks = list(python(code % (cuts, cuts)).stream("p"))
    assert "".join(chunks) == "aé😀z"
    assert all("\ufffd" not in chunk for chunk in chunks)


class TestParameters:
    SHOW = "import sys; print(sys.argv[1:], end='')"

    def test_typed_values_become_text(self):
        llm = python(self.SHOW, "{a}", "--b={b}", params={"a": 1, "b": True})
        assert llm.invoke("p") == "['1', '--b=true']"
        assert llm.invoke("p", a=0.5, b=["x"]) == """['0.5', '--b=["x"]']"""

    def test_a_list_of_arguments_is_left_out_as_a_whole(self):
        llm = Command([sys.executable, "-c", self.SHOW, ["--temp", "{temp}"], "{prompt}"])
        assert llm.invoke("p") == "['p']"
        assert llm.invoke("p", temp=0) == "['--temp', '0', 'p']"

    def test_a_missing_value_is_an_error_that_says_how_to_leave_it_out(self):
        with pytest.raises(ValueError, match=r"no value for \{a\}.*list of its own"):
            python(self.SHOW, "{a}").invoke("p")

    def test_an_unknown_parameter_is_an_error(self):
        with pytest.raises(TypeError, match="no parameter 'tmp'.*Did you mean 'temp'"):
            Command(["x", ["{temp}"]]).invoke("p", tmp=1)

    def test_stops_can_be_handed_over(self):
        show = "import json, sys; print([len(one) for one in json.loads(sys.argv[1])], end='')"
        assert python(show, "{stop}").invoke("p", stop=["§§", "x"]) == "[2, 1]"


class TestOutput:
    def test_banner_echo_and_end_marker(self):
        code = "import sys; print('banner\\n>>> ' + sys.argv[1] + ' one two END more')"
        llm = python(code, "{prompt}", after=">>>", strip_prompt=True, until="END")
        assert llm.invoke("the prompt") == " one two "

    def test_a_banner_that_does_not_end_is_an_error(self):
        with pytest.raises(CommandError, match="does not contain '>>>'"):
            words(after=">>>").invoke("a b")


class TestErrors:
    def test_an_exit_code_is_an_error_with_the_tail_of_stderr(self):
        code = "import sys; print('part'); print('x' * 9999 + ' the reason', file=sys.stderr); sys.exit(3)"
        with pytest.raises(CommandError, match="exit code 3: .*the reason") as error:
            python(code).invoke("p")
        assert (error.value.returncode, error.value.partial_text) == (3, "part\n")
        assert len(error.value.stderr) <= 4096

    def test_a_signal_is_named(self):
        with pytest.raises(CommandError, match="SIGKILL"):
            python("import os; os.kill(os.getpid(), 9)").invoke("p")

    def test_codes_that_are_no_error(self):
        assert (
            python("import sys; print(1); sys.exit(3)", success_codes=[0, 3]).invoke("p") == "1\n"
        )

    def test_what_cannot_be_started(self, tmp_path):
        with pytest.raises(
            CommandError, match="'no-such-program' cannot be started: no such program"
        ):
            Command(["no-such-program"]).invoke("p")
        with pytest.raises(CommandError, match="no folder"):
            words(cwd=str(tmp_path / "none")).invoke("p")
        file = tmp_path / "data"
        file.write_text("no program")
        with pytest.raises(CommandError, match="cannot be started: .*Permission denied"):
            Command([str(file)]).invoke("p")

    def test_a_prompt_too_large_for_an_argument_says_so(self):
        with pytest.raises(CommandError, match="fits on stdin only"):
            words().invoke("x" * 3_000_000)

    def test_a_nul_in_an_argument_says_so(self):
        with pytest.raises(ValueError, match="NUL"):
            words().invoke("a\0b")

    def test_templates_that_cannot_work(self):
        with pytest.raises(ValueError, match="lines of JSON"):
            words(persistent=True)
        with pytest.raises(ValueError, match="neither command nor stdin"):
            python(UPPER, stdin="nothing")
        with pytest.raises(ValueError, match="at least 1"):
            Command([])


class TestSecrets:
    def test_the_environment_reaches_the_program_and_nobody_else(self):
        llm = python("import os; print(os.environ['API_KEY'][::-1])", env={"API_KEY": "sk-very"})
        assert llm.invoke("p") == "yrev-ks\n"
        assert "sk-very" not in repr(llm) + str(llm) + str(llm.asdict())


class TestEnding:
    @linux
    def test_a_stop_ends_the_program(self):
        before = children()
        assert words("0.01").invoke("a b " + "c " * 10_000, stop=["c"]) == "a b "
        assert eventually(lambda: children() <= before)

    @linux
    def test_leaving_a_stream_ends_the_program_and_what_it_has_started(self, tmp_path):
        note = tmp_path / "pid"
        code = (
            "import subprocess, sys, time\n"
            "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
            f"open({str(note)!r}, 'w').write(str(child.pid))\n"
            "print('ready', flush=True); time.sleep(600)"
        )
        before = children()
        stream = python(code).stream("p")
        assert next(stream) == "ready\n"
        stream.close()
        assert eventually(lambda: children() <= before)
        assert eventually(lambda: not alive(int(note.read_text())))

    @linux
    def test_a_program_that_does_not_heed_is_forced(self):
        code = (
            "import signal, time\n"
            "signal.signal(signal.SIGTERM, signal.SIG_IGN); print('ready', flush=True); time.sleep(600)"
        )
        before = children()
        stream = python(code, grace=0.2).stream("p")
        next(stream)
        began = time.monotonic()
        stream.close()
        assert time.monotonic() - began < 5  # nobody waits for the grace, let alone the program
        assert eventually(lambda: children() <= before)

    @linux
    async def test_a_cancelled_task_ends_the_program(self):
        before = children()
        task = asyncio.create_task(words("600").ainvoke("a b"))
        while children() <= before:
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert eventually(lambda: children() <= before)

    @linux
    def test_nothing_is_left_of_many_abandoned_runs(self):
        before, files = children(), len(os.listdir("/proc/self/fd"))
        llm = words("5")

        def leave(count):
            for _ in range(count):
                next(stream := llm.stream("a b"))
                stream.close()

        with threads(*[lambda: leave(25)] * 4):
            pass
        assert eventually(lambda: children() <= before)
        assert eventually(lambda: len(os.listdir("/proc/self/fd")) <= files + 3)

    def test_a_timeout_ends_the_program(self):
        from langchain_core.exceptions import ModelTimeoutError

        with pytest.raises(ModelTimeoutError):
            words("600", timeout=0.5).invoke("a b")


def alive(pid: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False


class TestPersistent:
    def facts(self, llm, prompt, **kwargs):
        return llm.generate([prompt], **kwargs).generations[0][0].generation_info

    def test_one_process_answers_prompt_after_prompt(self):
        llm = serve()
        first = self.facts(llm, "a b", stop=["x"], temperature=0)
        assert (first["params"], first["stops"]) == ({"temperature": 0}, ["x"])
        assert self.facts(llm, "c")["pid"] == first["pid"]
        assert llm.batch(["a", "b c", "d"]) == ["a ", "b c ", "d "]

    @pytest.mark.parametrize("path", PATHS)
    def test_every_path(self, path):
        assert PATHS[path](serve(), "a b", None) == "a b "

    def test_one_process_for_each_call_at_once(self):
        llm = serve(concurrency=3)
        assert llm.batch([f"p{i}" for i in range(30)]) == [f"p{i} " for i in range(30)]
        assert len(llm._pool._idle) <= 3

    def test_it_is_started_again_when_it_has_died(self):
        llm = serve()
        pid = self.facts(llm, "a")["pid"]
        with pytest.raises(CommandError, match="exit code 1 in the middle.*I am dying"):
            llm.invoke("die")
        assert self.facts(llm, "b")["pid"] != pid
        os.kill(self.facts(llm, "c")["pid"], signal.SIGKILL)
        time.sleep(0.1)
        assert llm.invoke("d") == "d "

    def test_errors_are_the_programs_own_words(self):
        llm = serve()
        with pytest.raises(CommandError, match="no such thing"):
            llm.invoke("bad")
        with pytest.raises(CommandError, match="lines of JSON, and wrote 'hello'"):
            llm.invoke("babble")
        assert llm.invoke("a") == "a "

    def test_leaving_a_stream_does_not_mix_up_the_next(self):
        llm = serve()
        for chunk in llm.stream("a b c d"):
            assert chunk == "a "
            break
        assert llm.invoke("e") == "e "

    @linux
    def test_the_process_ends_with_the_object(self):
        before = children()
        llm = serve()
        llm.invoke("a")
        assert children() > before
        del llm
        assert eventually(lambda: gc.collect() >= 0 and children() <= before)


def test_a_pickle_works_elsewhere():
    llm = pickle.loads(pickle.dumps(serve()))
    assert llm.invoke("a") == "a "
    assert json.loads(json.dumps(dict(llm._identifying_params)))["persistent"] is True
