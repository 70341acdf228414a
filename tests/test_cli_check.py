"""`langchain-wrap check`, in real processes."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

SOURCE = Path(__file__).parents[1] / "src"
MAIN = "from langchain_wrap.cli import main; main()"
MODELS = """
import sys
import threading
import time
from langchain_core.language_models.llms import LLM

class Echo(LLM):
    n: int = 50

    @property
    def _llm_type(self):
        return "echo"

    def _call(self, prompt, stop=None, run_manager=None, **kwargs):
        return prompt[: self.n]

class Shouts(Echo):
    async def _acall(self, prompt, stop=None, run_manager=None, **kwargs):
        return prompt.upper()

class HangsInThreads(Echo):
    def _call(self, prompt, stop=None, run_manager=None, **kwargs):
        if threading.current_thread().name.startswith("asyncio"):
            open("started", "w").close()
            time.sleep(100)
        return prompt

class Exits(Echo):
    def _call(self, prompt, stop=None, run_manager=None, **kwargs):
        sys.exit("enough")

class Needs(Echo):
    key: str

echo = Echo(n=50)

def function(prompt):
    return "you said " + prompt

def not_yet(prompt):
    raise RuntimeError("\\x1b[31m \\ud800")
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "models.py").write_text(MODELS)
    (tmp_path / "leaves.py").write_text("import sys\nsys.exit(0)\n")
    return tmp_path


def command(*args: str) -> list[str]:
    return [sys.executable, "-W", "error", "-c", MAIN, "check", *args]


def environment(**more: str) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(SOURCE), "COLUMNS": "150", "NO_COLOR": "1", **more}


@pytest.fixture
def cli(folder):
    """Run the command in a folder with some models; return the finished process."""

    def run(*args: str, **more: str):
        return subprocess.run(
            command(*args),
            cwd=folder,
            env=environment(**more),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    return run


CALLS = ("--only", "CALL-01", "--only", "CALL-02")


class TestOutcome:
    @pytest.mark.parametrize("spec", ["models:echo", "models:Echo", "models:function"])
    def test_0_when_it_holds(self, cli, spec):
        done = cli(spec, *CALLS)
        assert (done.returncode, done.stderr) == (0, "")
        assert "CALL  2 passed" in done.stdout
        assert "\x1b" not in done.stdout

    def test_1_when_something_fails(self, cli):
        done = cli("models:Shouts", *CALLS)
        assert (done.returncode, done.stderr) == (1, "")
        assert "FAILED CALL-02 (contract)  `ainvoke` returns what `invoke` returns." in done.stdout
        assert "assert got == want" in done.stdout

    def test_expected_failures(self, cli):
        known = ("--expected-failure", "CALL-02=not = yet")
        done = cli("models:Shouts", *CALLS, *known)
        assert done.returncode == 0
        assert "(expected: not = yet)" in done.stdout
        done = cli("models:Echo", *CALLS, *known)
        assert done.returncode == 1
        assert "passed, though expected to fail: not = yet" in done.stdout

    def test_a_model_of_the_current_directory_that_was_edited_is_found(self, cli, folder):
        code = MODELS.replace("prompt.upper()", "prompt[: self.n]")
        (folder / "models.py").write_text(code)
        assert cli("models:Shouts", *CALLS).returncode == 0

    def test_fields(self, cli):
        params = ("--param", "n=3", "--param", "key=x", "--json", "-", "--only", "CALL-01")
        assert json.loads(cli("models:Needs", *params).stdout)["model"] == "Needs"

    def test_what_is_known_of_the_model_can_be_said(self, cli):
        assert "Note" not in cli("models:echo", *CALLS, "--deterministic").stdout
        assert "answers to one prompt vary" in cli("models:echo", *CALLS, "--varying").stdout

    @pytest.mark.parametrize("model", ["Exits", "not_yet"])
    def test_a_model_that_ends_the_program_or_fails_is_reported(self, cli, model):
        done = cli(f"models:{model}", "--only", "CALL-01", PYTHONIOENCODING="ascii")
        assert (done.returncode, done.stderr) == (1, "")
        assert "FAILED CALL-01" in done.stdout


class TestFiles:
    def test_all_forms(self, cli, folder):
        names = {form: f"report.{form}" for form in ("html", "json", "junit", "markdown")}
        options = [part for form, name in names.items() for part in (f"--{form}", name)]
        done = cli("models:Shouts", *CALLS, *options)
        assert done.returncode == 1
        assert "FAILED CALL-02" in done.stdout
        texts = {form: (folder / name).read_text("utf-8") for form, name in names.items()}
        assert json.loads(texts["json"])["counts"]["failed"] == 1
        assert ET.fromstring(texts["junit"]).get("failures") == "1"
        assert texts["html"].startswith("<!DOCTYPE html>")
        assert texts["markdown"].startswith("## ❌ ")

    def test_to_stdout_in_place_of_the_text(self, cli):
        done = cli("models:echo", *CALLS, "--json", "-")
        assert json.loads(done.stdout)["ok"] is True

    @pytest.mark.parametrize("name", ["nowhere/report.html", "."])
    def test_that_cannot_be_written_are_an_error_before_the_checks(self, cli, name):
        done = cli("models:Exits", "--html", name)
        assert (done.returncode, done.stdout) == (2, "")
        assert f"{name} cannot be written" in done.stderr
        assert "--html" in done.stderr

    def test_that_are_tried_are_left_as_they_were(self, cli, folder):
        (folder / "old.html").write_text("old")
        args = ("--html", "old.html", "--json", "new.json")
        assert cli("models:nothing", *args).returncode == 2
        assert (folder / "old.html").read_text() == "old"
        assert not (folder / "new.json").exists()

    def test_are_for_one_option_each(self, cli):
        done = cli("models:echo", "--html", "x", "--json", "x")
        assert done.returncode == 2
        assert "another option" in done.stderr


class TestMistakes:
    @pytest.mark.parametrize(
        ("args", "says"),
        [
            ((), "a model is needed"),
            (("models",), "names no model"),
            (("models:ech",), "error: module models has no 'ech'. Did you mean 'echo'?"),
            (("nowhere:x",), "error: there is no provider and no module 'nowhere'"),
            (("leaves:x",), "error: importing leaves failed: SystemExit: 0"),
            (("models:Needs",), "error: ValidationError: key: Field required"),
            (("models:echo", "--param", "n=1"), "error: --param n: models:echo has no field"),
            (("models:Echo", "--param", "m=1"), "error: --param m: models:Echo has no field"),
            (("models:Echo", "--param", "n"), "name=value"),
            (("llama-cpp:/nowhere/x.gguf",), "there is no such file"),
            (("models:echo", "--only", "CALL-0x"), "Did you mean 'CALL-"),
            (("models:echo", "--only", "CALS"), "Did you mean 'CALL'?"),
            (("models:echo", "--level", "high"), "--level"),
            (("models:echo", "--timeout", "0"), "--timeout"),
            (("models:echo", "--expected-failure", "CALL-01"), "ID=REASON"),
            (("models:echo", "--expected-failure", "CALL-01= "), "ID=REASON"),
            (("models:echo", "--expected-failure", "CALLS-01=x"), "Did you mean 'CALL-01'?"),
        ],
    )
    def test_2_and_what_is_wrong(self, cli, args, says):
        done = cli(*args)
        assert (done.returncode, done.stdout) == (2, "")
        words = re.sub(r"[│\s]+", " ", done.stderr)
        assert says in words
        assert "Traceback" not in done.stderr
        if says.startswith("error: "):
            assert len(done.stderr.splitlines()) == 1


class TestList:
    def test_shows_all_clauses(self, cli):
        from langchain_wrap.checks.clauses import CLAUSES

        done = cli("--list")
        assert (done.returncode, done.stderr) == (0, "")
        rows = [line.split(maxsplit=2) for line in done.stdout.splitlines()]
        assert rows == [[clause.id, clause.level, clause.title] for clause in CLAUSES]

    def test_can_be_narrowed(self, cli):
        lines = cli("--list", "--only", "CALL-02", "--level", "contract").stdout.splitlines()
        assert [line.split()[0] for line in lines] == ["CALL-02"]


class TestHanging:
    def test_costs_its_seconds_and_does_not_hang_the_end(self, cli):
        begin = time.monotonic()
        done = cli("models:HangsInThreads", *CALLS, "--timeout", "0.3")
        assert time.monotonic() - begin < 40
        assert done.returncode == 1
        assert "ainvoke: no answer in 0.3 s" in done.stdout

    @pytest.mark.skipif(sys.platform == "win32", reason="has no SIGINT to send")
    def test_ctrl_c_shows_what_is_known_and_writes_no_file(self, folder):
        with subprocess.Popen(
            command("models:HangsInThreads", *CALLS, "--timeout", "90", "--json", "x.json"),
            cwd=folder,
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            begin = time.monotonic()
            while not (folder / "started").exists():
                assert time.monotonic() - begin < 30
                time.sleep(0.02)
            begin = time.monotonic()
            process.send_signal(signal.SIGINT)
            try:
                out, errors = process.communicate(timeout=30)
            finally:
                process.kill()
        assert (process.returncode, errors) == (130, "")
        assert "CALL  1 passed" in out
        assert "Note: Interrupted: 1 of 2 clauses were checked." in out
        assert not (folder / "x.json").exists()


@pytest.mark.skipif(sys.platform == "win32", reason="has no pseudo-terminals")
def test_on_a_terminal_there_is_progress_and_colour(folder):
    import pty

    main, side = pty.openpty()
    env = {**environment(TERM="xterm"), "FORCE_COLOR": "1"}
    env.pop("NO_COLOR")
    with subprocess.Popen(
        command("models:Shouts", *CALLS), cwd=folder, env=env, stdout=subprocess.PIPE, stderr=side
    ) as process:
        os.close(side)
        shown = b""
        while True:
            try:
                part = os.read(main, 10_000)
            except OSError:
                break
            if not part:
                break
            shown += part
        report = process.stdout.read().decode()
    os.close(main)
    assert process.returncode == 1
    assert "CALL-02" in shown.decode()
    assert "\x1b[" in report
    assert "returns what" in report
