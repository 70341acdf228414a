"""The command line, in real processes."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src"
MAIN = "from langchain_wrap.cli import main; main()"
MODELS = """
import asyncio
import time
from langchain_core.language_models.llms import LLM as CoreLLM
from langchain_core.language_models.fake_chat_models import ParrotFakeChatModel
from langchain_core.outputs import GenerationChunk
from langchain_wrap import LLM, wrap

def shout(prompt):
    for word in prompt.split():
        yield word.upper() + " "

def answer(prompt, **parameters):
    return repr(parameters)

def cold(prompt, temperature=0):
    return prompt

@wrap(name="counter")
def counter(prompt):
    yield "one "
    info = {"finish_reason": "length", "model_name": "abacus",
            "token_usage": {"prompt_tokens": 1, "completion_tokens": 2}}
    yield GenerationChunk(text="two", generation_info=info)

class First(LLM):
    n: int
    def _call(self, prompt, suffix=""):
        return prompt[: self.n] + suffix

class Old(CoreLLM):
    @property
    def _llm_type(self):
        return "old"
    def _call(self, prompt, stop=None, run_manager=None, **kwargs):
        return "old " + prompt

class holder:
    five = First(n=5)

old = Old()
chat = ParrotFakeChatModel()
number = 5

def fails(prompt):
    yield "some "
    raise RuntimeError("the model\\nis broken")

def slow(prompt):
    open("started", "w").close()
    for number in range(1000):
        yield f"{number} "
        time.sleep(0.02)

async def slow_async(prompt):
    open("started", "w").close()
    for number in range(1000):
        yield f"{number} "
        await asyncio.sleep(0.02)

def stuck(prompt):
    open("started", "w").close()
    time.sleep(60)
    return ""
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "models.py").write_text(MODELS)
    (tmp_path / "broken.py").write_text("import no_such_package\n")
    (tmp_path / "raises.py").write_text("raise ValueError('not today')\n")
    return tmp_path


def command(*args: str, code: str = MAIN) -> list[str]:
    return [sys.executable, "-c", code, *args]


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(SOURCE), "COLUMNS": "100", "NO_COLOR": "1"}


@pytest.fixture
def cli(folder):
    """Run the command in a folder with some models; return the finished process."""

    def run(*args: str, code: str = MAIN, **options):
        return subprocess.run(
            command(*args, code=code),
            cwd=folder,
            env=environment(),
            capture_output=True,
            text=True,
            timeout=60,
            **options,
        )

    return run


def wait_for(path: Path) -> None:
    deadline = time.monotonic() + 30
    while not path.exists():
        assert time.monotonic() < deadline, f"{path} did not appear"
        time.sleep(0.02)


def error_of(process) -> str:
    """Return the one line of a failed command's stderr."""
    assert process.returncode == 1, process
    lines = process.stderr.splitlines()
    assert len(lines) == 1, process.stderr
    assert lines[0].startswith("error: ")
    return lines[0]


class TestHelp:
    def test_names_the_commands(self, cli):
        out = cli("--help")
        assert out.returncode == 0
        assert "run" in out.stdout
        assert "demo" in out.stdout

    def test_loads_nothing_heavy(self):
        code = (
            "import sys\n"
            "from langchain_wrap.cli import main\n"
            "sys.argv = ['langchain-wrap', '--help']\n"
            "try:\n"
            "    main()\n"
            "finally:\n"
            "    heavy = {'langchain_core', 'pydantic', 'langchain_wrap.llm'} & set(sys.modules)\n"
            "    print(sorted(heavy), file=sys.stderr)"
        )
        out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        assert (out.returncode, out.stderr.strip()) == (0, "[]")

    def test_version(self, cli):
        from langchain_wrap import __version__

        assert cli("--version").stdout.strip() == __version__


class TestRun:
    def test_a_function(self, cli):
        out = cli("run", "models:shout", "hello world")
        assert (out.returncode, out.stdout, out.stderr) == (0, "HELLO WORLD \n", "")

    def test_an_object_by_a_dotted_path(self, cli):
        assert cli("run", "models:holder.five", "abcdefgh").stdout == "abcde\n"

    def test_a_class_is_given_its_fields_and_the_call_the_rest(self, cli):
        args = ("--param", "n=2", "--param", "suffix=!")
        assert cli("run", "models:First", "abcdefgh", *args).stdout == "ab!\n"

    def test_an_llm_of_langchain_core(self, cli):
        assert cli("run", "models:old", "friend").stdout == "old friend\n"

    def test_parameters_are_json_or_text(self, cli):
        texts = {"a": "0.2", "b": "true", "c": "[1]", "d": "warm", "e": '"1"', "f": "x=y"}
        args = [arg for name, text in texts.items() for arg in ("--param", f"{name}={text}")]
        values = {"a": 0.2, "b": True, "c": [1], "d": "warm", "e": "1", "f": "x=y"}
        assert cli("run", "models:answer", "p", *args).stdout == f"{values!r}\n"

    def test_stops(self, cli):
        out = cli("run", "models:shout", "a b c d", "--stop", "D", "--stop", "B C")
        assert out.stdout == "A \n"

    def test_the_prompt_comes_from_stdin(self, cli):
        assert cli("run", "models:shout", "-", input="from stdin").stdout == "FROM STDIN \n"

    def test_chunks_are_written_when_they_come(self, folder):
        with subprocess.Popen(
            command("run", "models:slow", "x"),
            cwd=folder,
            env=environment(),
            stdout=subprocess.PIPE,
        ) as process:
            assert process.stdout.read(4) == b"0 1 "
            assert process.poll() is None
            process.kill()

    def test_a_reader_that_goes_away_is_no_traceback(self, folder):
        with subprocess.Popen(
            command("run", "models:slow", "x"),
            cwd=folder,
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        ) as process:
            process.stdout.read(4)
            process.stdout.close()
            assert process.wait(20) == 1
            assert process.stderr.read() == b""


class TestJson:
    def test_facts(self, cli):
        out = cli("run", "models:counter", "p", "--json")
        assert json.loads(out.stdout) == {
            "text": "one two",
            "finish_reason": "length",
            "usage": {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3},
            "model": "abacus",
        }

    def test_no_facts(self, cli):
        out = cli("run", "models:shout", "a b", "--stop", "B", "--json")
        assert json.loads(out.stdout) == {
            "text": "A ",
            "finish_reason": "stop",
            "usage": None,
            "model": "shout",
        }


class TestEvents:
    def test_lines(self, cli):
        out = cli("run", "models:shout", "a b", "--events")
        assert [line.split(maxsplit=1) for line in out.stdout.splitlines()] == [
            ["on_llm_start", "'a b'"],
            ["on_llm_stream", "'A '"],
            ["on_llm_stream", "'B '"],
            ["on_llm_end", "'A B '"],
        ]

    def test_json(self, cli):
        out = cli("run", "models:shout", "a b", "--events", "--json")
        events = [json.loads(line) for line in out.stdout.splitlines()]
        assert [event["event"] for event in events] == [
            "on_llm_start",
            "on_llm_stream",
            "on_llm_stream",
            "on_llm_end",
        ]
        assert events[1]["data"]["chunk"] == "A "


class TestErrors:
    @pytest.mark.parametrize(
        ("spec", "says"),
        [
            ("nowhere:x", "no module 'nowhere'"),
            ("models.deeper:x", "no module 'models.deeper'"),
            ("models:Shout", "models has no 'Shout'. Did you mean 'shout'?"),
            ("models:holder.six", "models:holder has no 'six'"),
            ("models:number", "models:number is no model: cannot wrap 5"),
            ("models:chat", "is a ParrotFakeChatModel, which is no LLM"),
            ("broken:x", "importing broken failed: No module named 'no_such_package'"),
            ("raises:x", "importing raises failed: ValueError: not today"),
            ("models:First", "n: Field required"),
        ],
    )
    def test_spec_that_leads_nowhere(self, cli, spec, says):
        assert says in error_of(cli("run", spec, "p"))

    @pytest.mark.parametrize("spec", ["models", ":x", "models:"])
    def test_spec_of_the_wrong_form_is_wrong_use(self, cli, spec):
        out = cli("run", spec, "p")
        assert out.returncode == 2
        assert "names no model" in out.stderr

    @pytest.mark.parametrize("text", ["n", "=1", "a b=1"])
    def test_param_of_the_wrong_form_is_wrong_use(self, cli, text):
        out = cli("run", "models:First", "p", "--param", text)
        assert out.returncode == 2
        assert "name=value" in out.stderr

    def test_missing_prompt_is_wrong_use(self, cli):
        assert cli("run", "models:shout").returncode == 2

    def test_model_that_fails(self, cli):
        out = cli("run", "models:fails", "p")
        assert error_of(out) == "error: RuntimeError: the model is broken"
        assert out.stdout == "some \n"

    def test_parameter_that_the_model_does_not_take(self, cli):
        assert "'warmth'" in error_of(cli("run", "models:cold", "p", "--param", "warmth=1"))

    def test_empty_stop(self, cli):
        assert "stop" in error_of(cli("run", "models:shout", "p", "--stop", ""))

    def test_missing_model_file(self, cli):
        pytest.importorskip("xllamacpp")
        assert "nowhere.gguf" in error_of(cli("run", "llama-cpp:nowhere.gguf", "p"))


@pytest.mark.skipif(sys.platform == "win32", reason="has no SIGINT to send")
class TestInterrupt:
    @pytest.mark.parametrize("options", [(), ("--json",), ("--events",)])
    @pytest.mark.parametrize("model", ["slow", "slow_async", "stuck"])
    def test_ends_at_once_and_quietly(self, folder, model, options):
        with subprocess.Popen(
            command("run", f"models:{model}", "x", *options),
            cwd=folder,
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            wait_for(folder / "started")
            begin = time.monotonic()
            process.send_signal(signal.SIGINT)
            try:
                _, errors = process.communicate(timeout=20)
            finally:
                process.kill()
            assert process.returncode == 130
            assert errors == ""
            assert time.monotonic() - begin < 10


class TestExtra:
    @pytest.mark.parametrize("missing", ["typer", "rich"])
    def test_missing_packages_are_said_with_the_command_that_installs_them(self, cli, missing):
        code = textwrap.dedent(f"""
            import sys

            class Block:
                def find_spec(self, name, path=None, target=None):
                    if name.partition(".")[0] == {missing!r}:
                        raise ModuleNotFoundError(f"No module named {{name!r}}", name={missing!r})

            sys.meta_path.insert(0, Block())
            {MAIN}
        """)
        assert "pip install 'langchain-wrap[cli]'" in error_of(cli("--help", code=code))


class TestRealModel:
    """A few runs of the default model; they need the extra `llama-cpp`."""

    @pytest.fixture(autouse=True)
    def engine(self):
        pytest.importorskip("xllamacpp")

    def test_json(self, cli):
        params = ("--param", "temperature=0", "--param", "max_tokens=4")
        out = cli("run", "llama-cpp:smollm2", "The capital of France is", "--json", *params)
        answer = json.loads(out.stdout)
        assert "Paris" in answer["text"]
        assert answer["finish_reason"] == "length"
        assert answer["usage"]["completion_tokens"] == 4
        assert answer["model"].startswith("SmolLM2-135M-Instruct")

    @pytest.mark.skipif(sys.platform == "win32", reason="has no SIGINT to send")
    def test_interrupt(self, folder):
        with subprocess.Popen(
            command("run", "llama-cpp:smollm2", "Once", "--param", "max_tokens=1500"),
            cwd=folder,
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        ) as process:
            process.stdout.read(5)
            process.send_signal(signal.SIGINT)
            try:
                _, errors = process.communicate(timeout=20)
            finally:
                process.kill()
        assert (process.returncode, errors) == (130, b"")

    @pytest.mark.timeout(300)
    def test_demo(self, folder):
        done = subprocess.run(
            command("demo"),
            cwd=folder,
            env=environment(),
            capture_output=True,
            text=True,
            timeout=280,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, "")
        assert "\x1b" not in done.stdout
        assert "exactly the text before the stop: yes" in done.stdout
        for part in ("streamed", "invoke, in a loop", "on_llm_end", "LlamaCpp"):
            assert part in done.stdout


def test_the_demo_finds_a_stop_across_two_tokens():
    from langchain_wrap.demo import find_stop

    pieces = ["The", " cat", " sat", " on", " the", " mat", "."]
    stop, index = find_stop(pieces)
    text = "".join(pieces)
    assert text.index(stop) == len("".join(pieces[: index + 1])) - 2
    assert not any(stop in piece for piece in pieces)
    assert find_stop(["a", "b", "c"]) is None
    assert find_stop([]) is None
