"""The six ways to call, and the Python that stands for them."""

import asyncio
import time

import pytest
from mutants.right import Core, answer, pieces
from scripted import aeventually

from langchain_wrap.checks.probes import deadline, paths
from langchain_wrap.checks.probes.paths import Expression, code, script

PROMPT = "hi you"


class Hung(Core):
    def _call(self, prompt, stop=None, run_manager=None, **kwargs):
        time.sleep(60)

    def _stream(self, prompt, stop=None, run_manager=None, **kwargs):
        time.sleep(60)
        yield

    async def _acall(self, prompt, stop=None, run_manager=None, **kwargs):
        await aeventually(lambda: False, 60)

    async def _astream(self, prompt, stop=None, run_manager=None, **kwargs):
        await aeventually(lambda: False, 60)
        yield


class Fails(Core):
    def text(self, prompt, stop):
        raise KeyError(prompt)


@pytest.mark.parametrize("path", paths.PATHS)
class TestCall:
    def test_gives_the_trace(self, path):
        trace = paths.call(Core(), path, [PROMPT], seconds=10)
        assert (trace.path, trace.prompts, trace.error) == (path, [PROMPT], None)
        assert trace.texts == [answer(PROMPT)]
        assert trace.text == answer(PROMPT)
        assert trace.seconds > 0
        kinds = [kind for kind in trace.kinds if kind != "chunk"]
        if path in paths.STREAMS:
            assert trace.chunks == pieces(answer(PROMPT))
            assert kinds == ["start", *["token"] * len(trace.chunks), "end"]
        else:
            assert kinds == ["start", "end"]

    def test_has_the_error_in_the_trace(self, path):
        trace = paths.call(Fails(), path, [PROMPT], seconds=10)
        assert repr(trace.error) == repr(KeyError(PROMPT))
        assert (trace.text, trace.kinds) == (None, ["start", "error"])

    def test_parameters_go_with_the_call(self, path):
        assert paths.call(Core(), path, [PROMPT], seconds=10, stop=["HI"]).text == "So: "

    def test_config_goes_with_the_call_beside_our_own_handler(self, path):
        trace = paths.call(Core(), path, [PROMPT], seconds=10, config={"tags": ["mine"]})
        (start,) = trace.of("start")
        assert "mine" in start.details["tags"]

    def test_does_not_hang(self, path):
        begin = time.monotonic()
        with pytest.raises(deadline.NoAnswer, match=r"no answer in 0\.1 s"):
            paths.call(Hung(), path, [PROMPT], seconds=0.1)
        assert time.monotonic() - begin < 30

    def test_code_does_the_same(self, path):
        text = script(f"got = {code(path, [PROMPT], stop=['YOU'])}")
        space = {"llm": Core()}
        exec(compile(text, "script", "exec"), space)
        assert space["got"] in ("So: HI ", ["So: HI "])


@pytest.mark.parametrize("path", sorted(paths.BATCHES))
def test_a_batch_has_many_prompts(path):
    trace = paths.call(Core(), path, ["a", "b"], seconds=10)
    assert trace.texts == [answer("a"), answer("b")]
    assert len(trace.runs) == 2


def test_ctrl_c_is_not_held_for_an_error_of_the_model(monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(deadline, "run", interrupted)
    with pytest.raises(KeyboardInterrupt):
        paths.call(Core(), "invoke", [PROMPT], seconds=10)


class TestScript:
    def test_imports_what_it_needs_once(self):
        assert script("json.dumps(1)", "time.sleep(0)").splitlines() == [
            "import json", "import time", "", "json.dumps(1)", "time.sleep(0)",
        ]  # fmt: skip
        assert script("import time", "", "time.sleep(0)").count("import time") == 1
        assert script("1 + 1") == "1 + 1\n"

    def test_defines_read_only_where_it_is_used(self):
        text = script(f"got = {code('astream', ['x'])}")
        assert text.startswith("import asyncio\n\nasync def read(stream):\n")
        assert "read" not in script(f"got = {code('stream', ['x'])}")

    def test_an_expression_stands_for_itself(self):
        assert code("invoke", ["x"], stop=Expression("stops")) == "llm.invoke('x', stop=stops)"

    def test_async_lines_can_be_run(self):
        exec(script("asyncio.run(asyncio.sleep(0))"), {})
        assert asyncio
