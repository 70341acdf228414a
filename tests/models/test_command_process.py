"""Programs that misbehave: none hangs its caller, fills the memory, or outlives its call."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest
from command_helpers import DEAF, READY, UPPER, alive, children, linux, python, words
from langchain_core.exceptions import ModelTimeoutError
from scripted import eventually, threads

from langchain_wrap import CommandError
from langchain_wrap.models.command_process import Program

SOURCE = Path(__file__).parents[2] / "src"
POSIX = pytest.mark.skipif(sys.platform == "win32", reason="signals and process groups")


def run(code: str) -> subprocess.CompletedProcess[str]:
    """Run code in an interpreter of its own, in which every warning is shown."""
    return subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error", "-c", textwrap.dedent(code)],
        env={**os.environ, "PYTHONPATH": str(SOURCE)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def helpers() -> set[threading.Thread]:
    """The threads beside programs."""
    return {t for t in threading.enumerate() if t.name.startswith("command-")}


class TestStdin:
    @pytest.mark.parametrize("size", [10, 1_000_000])
    def test_a_program_that_does_not_read(self, size):
        assert python("print('done', end='')").invoke("x" * size) == "done"

    def test_a_program_that_closes_stdin_early(self):
        code = "import os, sys; os.close(0); sys.stdout.write('done')"
        assert python(code).invoke("x" * 1_000_000) == "done"

    def test_a_program_that_reads_a_part(self):
        code = "import os, sys; sys.stdout.write(str(len(os.read(0, 5))))"
        assert python(code).invoke("x" * 1_000_000) == "5"

    @linux
    def test_leaving_while_stdin_is_still_written(self):
        before, count, beside = children(), len(os.listdir("/proc/self/fd")), helpers()
        stream = python(READY + "import time; time.sleep(600)").stream("x" * 5_000_000)
        next(stream)
        stream.close()
        assert eventually(lambda: children() <= before)
        assert eventually(lambda: len(os.listdir("/proc/self/fd")) <= count)
        assert eventually(lambda: helpers() <= beside)


class TestOutput:
    def test_a_flood_on_stderr_neither_blocks_nor_stays(self):
        code = (
            "import os, sys\nfor _ in range(1600): os.write(2, b'x' * 65536)\nprint('done', end='')"
        )
        program = Program([sys.executable, "-c", code], env={}, cwd=None, grace=2)
        program.send(b"", last=True)
        assert b"".join(program.output()) == b"done"
        assert program.wait() == 0
        assert program.stderr == "x" * 4096
        assert len(program._tail) == 4096
        program.close()

    def test_rubbish_is_text_with_marks(self):
        code = "import os, sys; sys.stdout.buffer.write(bytes(range(256)) * 40)"
        text = python(code).invoke("p")
        assert len(text) == 256 * 40
        assert text.count("\ufffd") == 128 * 40

    def test_a_character_that_is_cut_off_at_the_end(self):
        assert (
            python("import sys; sys.stdout.buffer.write(b'a\\xf0\\x9f')").invoke("p") == "a\ufffd"
        )

    @POSIX
    def test_a_program_that_closes_stdout_and_goes_on_is_waited_for(self):
        code = (
            "import os, sys, time; os.write(1, b'text'); os.close(1); time.sleep(0.3); sys.exit({})"
        )
        assert python(code.format(0)).invoke("p") == "text"
        with pytest.raises(CommandError, match="exit code 7"):
            python(code.format("7")).invoke("p")
        with pytest.raises(ModelTimeoutError):
            python(code.replace("0.3", "600"), timeout=0.5).invoke("p")

    @linux
    def test_what_a_program_leaves_running_does_not_hold_its_answer(self):
        code = (
            "import subprocess, sys\n"
            "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
            "sys.stdout.write(str(child.pid))"
        )
        pid = int(python(code).invoke("p"))
        assert eventually(lambda: not alive(pid))

    @linux
    def test_what_has_left_the_group_is_not_ended_and_not_waited_for(self):
        code = (
            "import subprocess, sys\n"
            "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'],"
            " start_new_session=True)\n"
            "sys.stdout.write(str(child.pid))"
        )
        beside = helpers()
        pid = int(python(code).invoke("p"))
        assert alive(pid)
        assert eventually(lambda: helpers() <= beside)
        os.kill(pid, 9)

    def test_programs_that_end_at_once(self):
        assert python("", concurrency=8).batch(["p"] * 40) == [""] * 40


class TestEnding:
    @POSIX
    def test_end_blocks_nobody(self):
        code = DEAF + READY + "import time; time.sleep(600)"
        program = Program([sys.executable, "-c", code], env={}, cwd=None, grace=0.5)
        next(program.output())
        began = time.monotonic()
        program.end()
        program.end()
        assert time.monotonic() - began < 0.4
        assert program.alive
        assert program.wait() == -9
        program.close()

    @linux
    def test_a_grandchild_that_does_not_heed_is_forced(self, tmp_path):
        note = tmp_path / "pid"
        deaf = DEAF + f"import os, time; open({str(note)!r}, 'w').write(str(os.getpid()))\n"
        code = (
            f"import os, subprocess, sys, time\n"
            f"subprocess.Popen([sys.executable, '-c', {deaf + 'time.sleep(600)'!r}])\n"
            f"while not os.path.exists({str(note)!r}) or not os.path.getsize({str(note)!r}):\n"
            f"    time.sleep(0.01)\n" + READY + "time.sleep(600)"
        )
        stream = python(code).stream("p")
        next(stream)
        stream.close()
        assert eventually(lambda: not alive(int(note.read_text())))

    @linux
    def test_threads_and_descriptors_go_with_the_programs(self):
        count, beside = len(os.listdir("/proc/self/fd")), helpers()

        def leave():
            for _ in range(5):
                next(stream := words("5").stream("a b"))
                stream.close()

        with threads(*[leave] * 4):
            pass
        assert eventually(lambda: helpers() <= beside)
        gc.collect()
        assert eventually(lambda: len(os.listdir("/proc/self/fd")) <= count)


class TestStarting:
    @POSIX
    def test_no_descriptors_left_is_a_retryable_error(self):
        done = run("""
            import os, resource, sys
            from langchain_wrap import CommandError
            from langchain_wrap.models import Command

            llm = Command([sys.executable, "-c", "print('fine', end='')"])
            llm.invoke("warm up")
            used = len(os.listdir("/dev/fd"))
            limits = resource.getrlimit(resource.RLIMIT_NOFILE)
            resource.setrlimit(resource.RLIMIT_NOFILE, (used + 3, limits[1]))
            try:
                llm.invoke("p")
            except CommandError as error:
                print(error.is_retryable, error)
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
            print(llm.invoke("p"))
        """)
        assert done.stderr == ""
        assert done.stdout.startswith("True ")
        assert "cannot be started: [Errno 24]" in done.stdout
        assert done.stdout.endswith("fine\n")

    @POSIX
    def test_no_processes_left_is_a_retryable_error(self, monkeypatch):
        def fails(*_, **__):
            raise BlockingIOError(11, "Resource temporarily unavailable")

        monkeypatch.setattr(subprocess, "Popen", fails)
        with pytest.raises(CommandError, match="temporarily unavailable") as error:
            words().invoke("a")
        assert error.value.is_retryable

    @linux
    def test_no_thread_left_leaves_no_program(self, monkeypatch):
        before = children()

        def fails(_):
            raise RuntimeError("can't start new thread")

        monkeypatch.setattr(threading.Thread, "start", fails)
        with pytest.raises(RuntimeError, match="new thread"):
            Program([sys.executable, "-c", "input()"], env={}, cwd=None, grace=1)
        assert children() <= before

    @POSIX
    def test_a_missing_interpreter_is_told_from_a_missing_program(self, tmp_path):
        from langchain_wrap.models import Command

        script = tmp_path / "script"
        script.write_text("#!/no/such/interpreter\n")
        script.chmod(0o755)
        with pytest.raises(CommandError, match="the interpreter that its first line names"):
            Command([script]).invoke("p")


class TestExit:
    """What an interpreter leaves behind when it exits: nothing, without a word."""

    @linux
    @pytest.mark.parametrize(
        "rest",
        [
            "stream = llm.stream('p'); next(stream)",
            "stream = llm.stream('p'); next(stream); stream.close()",
            "import contextlib, pathlib, threading, time\n"
            "def call():\n    with contextlib.suppress(Exception): llm.invoke('p')\n"
            "threading.Thread(target=call, daemon=True).start()\n"
            "while not pathlib.Path({note!r}).exists(): time.sleep(0.01)",
        ],
        ids=["open", "left", "in a thread"],
    )
    def test_a_program_that_does_not_heed(self, tmp_path, rest):
        note = tmp_path / "pid"
        code = DEAF + f"import os, time; open({str(note)!r}, 'w').write(str(os.getpid()))\n"
        code += READY + "time.sleep(600)"
        done = run(
            "import sys\nfrom langchain_wrap.models import Command\n"
            f"llm = Command([sys.executable, '-c', {code!r}])\n"
            + rest.replace("{note!r}", repr(str(note)))
        )
        assert (done.returncode, done.stderr) == (0, "")
        pid = note.read_text()
        assert not pid or eventually(lambda: not alive(int(pid)))

    def test_a_persistent_program(self):
        done = run("""
            import sys
            from langchain_wrap.models import Command

            code = "import json\\nwhile input(): print(json.dumps({'done': True}), flush=True)"
            llm = Command([sys.executable, "-c", code], persistent=True)
            print(repr(llm.invoke("p")))
        """)
        assert (done.returncode, done.stdout, done.stderr) == (0, "''\n", "")

    @linux
    def test_a_forked_child_does_not_end_its_parents_programs(self):
        done = run("""
            import os, sys, warnings
            from langchain_wrap.models import Command

            warnings.simplefilter("ignore", DeprecationWarning)  # fork in a process with threads
            code = "import sys, time; sys.stdout.write('a'); sys.stdout.flush(); time.sleep(1); " \\
                   "sys.stdout.write('b')"
            stream = Command([sys.executable, "-c", code]).stream("p")
            print(next(stream), flush=True)
            child = os.fork()
            if not child:
                stream.close()
                sys.exit(5)
            assert os.waitpid(child, 0)[1] == 5 * 256
            print("".join(stream))
        """)
        assert (done.stdout, done.stderr) == ("a\nb\n", "")


def test_a_large_prompt_and_a_large_answer_do_not_wait_for_each_other():
    prompt = "x" * 5_000_000
    assert python(UPPER).invoke(prompt) == prompt.upper()
