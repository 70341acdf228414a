"""Command: real programs as models, ended when they should be, and never left behind."""

from __future__ import annotations

import asyncio
import copy
import json
import os
import pickle
import sys
import time
from pathlib import Path

import pytest
from command_helpers import DEAF, READY, UPPER, alive, children, linux, python, serve, words
from scripted import PATHS, eventually, threads

from langchain_wrap import CommandError
from langchain_wrap.models import Command


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

        with pytest.raises(ValueError, match=r"stdin='.*no value for \{a\}: give it"):
            python(UPPER, stdin="{a} {prompt}").invoke("p")

    def test_none_is_no_value(self):
        llm = Command(
            [sys.executable, "-c", self.SHOW, ["--temp={temp}"], "{prompt}"], params={"temp": 1}
        )
        assert llm.invoke("p") == "['--temp=1', 'p']"
        assert llm.invoke("p", temp=None) == "['p']"
        with pytest.raises(ValueError, match=r"no value for \{a\}"):
            python(self.SHOW, "{a}").invoke("p", a=None)

    def test_an_unknown_parameter_is_an_error(self):
        with pytest.raises(TypeError, match=r"no parameter 'tmp'.*Did you mean 'temp'"):
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
        code = (
            "import sys; print('part'); sys.exit(print('x' * 9999 + ' why', file=sys.stderr) or 3)"
        )
        with pytest.raises(CommandError, match=r"exit code 3: .*why") as error:
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
        (tmp_path / "main").write_text("#!/no/such/interpreter\n")
        (tmp_path / "main").chmod(0o755)
        with pytest.raises(CommandError, match="interpreter that its first line names"):
            Command(["./main"], cwd=str(tmp_path)).invoke("p")
        with pytest.raises(CommandError, match="no folder"):
            words(cwd=str(tmp_path / "none")).invoke("p")
        file = tmp_path / "data"
        file.write_text("no program")
        with pytest.raises(CommandError, match=r"cannot be started: .*Permission denied"):
            Command([str(file)]).invoke("p")

    def test_a_prompt_too_large_for_an_argument_says_so(self):
        with pytest.raises(CommandError, match="fits on stdin only"):
            words().invoke("x" * 3_000_000)

    def test_a_nul_in_an_argument_says_so(self):
        with pytest.raises(ValueError, match="NUL"):
            words().invoke("a\0b")


class TestSecrets:
    def test_the_environment_reaches_the_program_and_nobody_else(self):
        llm = python("import os; print(os.environ['PLAIN'][::-1])", env={"PLAIN": "sk-very"})
        assert llm.invoke("p") == "yrev-ks\n"
        shown = repr(llm) + str(llm) + str(llm.asdict()) + llm.model_dump_json()
        assert "sk-very" not in shown

    def test_what_the_program_says_of_it_is_masked(self):
        code = "import os, sys; print('part'); sys.exit('bad key ' + os.environ['PLAIN'])"
        with pytest.raises(CommandError, match=r"bad key \*\*\*") as error:
            python(code, env={"PLAIN": "sk-very"}).invoke("p")
        assert "sk-very" not in error.value.stderr


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
        assert next(stream).startswith("ready")
        stream.close()
        assert eventually(lambda: children() <= before)
        assert eventually(lambda: not alive(int(note.read_text())))

    @linux
    def test_a_program_that_does_not_heed_is_forced(self):
        code = DEAF + READY + "import time; time.sleep(600)"
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


class TestDeclaring:
    def test_a_line_is_no_list(self):
        with pytest.raises(TypeError, match=r"since no shell splits it: shlex.split"):
            Command("./main --fast")

    def test_paths_are_taken(self, tmp_path):
        llm = Command(
            [Path(sys.executable), "-c", "import os; print(os.getcwd(), end='')"], cwd=tmp_path
        )
        assert llm.invoke("p") == str(tmp_path.resolve())

    @pytest.mark.parametrize(
        ("command", "fields", "says"),
        [
            ([["main", "{x}"]], {}, "the program, its first entry"),
            (["main", "{prompt}"], {"params": {"temp": 1}}, "params names 'temp'"),
            (["main", "{tempo}", "{prompt}"], {"params": {"temp": 1}}, "Did you mean 'tempo'"),
            (["main"], {"until": ""}, "at least 1 character"),
            (["main"], {"after": ""}, "at least 1 character"),
            (["main", "{prompt}"], {"persistent": True}, "lines of JSON"),
            (["main"], {"persistent": True, "until": "END"}, "until has no meaning"),
            (["main"], {"persistent": True, "strip_prompt": True}, "strip_prompt has no meaning"),
            (["main"], {"stdin": "nothing"}, "neither command nor stdin"),
            (["main"], {"grace": 0}, "greater than 0"),
            (["main"], {"timeout_": 0}, "no field 'timeout_'"),
            ([], {}, "at least 1"),
        ],
    )
    def test_what_cannot_work(self, command, fields, says):
        with pytest.raises(ValueError, match=says):
            Command(command, **fields)

    def test_a_lone_surrogate_is_named(self):
        with pytest.raises(ValueError, match="lone surrogate at position 1"):
            words().invoke("a\ud800")

    def test_concurrency(self):
        assert Command(["main"]).concurrency is None
        assert Command(["main"], persistent=True).concurrency == 1
        assert Command(["main"], persistent=True, concurrency=3).concurrency == 3


@pytest.mark.parametrize("made", [pickle.dumps, copy.copy, copy.deepcopy, Command.model_copy])
def test_copies_work_and_are_equal(made):
    llm = serve()
    llm.invoke("a")
    copied = made(llm)
    copied = pickle.loads(copied) if isinstance(copied, bytes) else copied
    assert copied == llm
    assert copied.invoke("a") == "a "
    assert copied._pool is not llm._pool
    assert json.loads(json.dumps(dict(llm._identifying_params)))["persistent"] is True
