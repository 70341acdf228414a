"""`init_llm`: models by their names, and configured as LangChain users know it."""

from __future__ import annotations

import os
import subprocess
import sys
import typing
from pathlib import Path

import pytest
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import PromptTemplate
from langchain_core.runnables import ConfigurableField
from scripted import PATHS

from langchain_wrap import LLM, init_llm
from langchain_wrap.models import Command, HTTPEndpoint, LlamaCpp

sys.path.append(str(Path(__file__).parent / "models"))

from test_providers import acme, install  # noqa: F401

MODELS = """
from langchain_core.language_models.llms import LLM as CoreLLM
from langchain_core.runnables import RunnableLambda
from langchain_wrap import LLM

class Echo(LLM):
    suffix: str = ""
    times: int = 1
    def _call(self, prompt, mark="."):
        return (prompt + self.suffix) * self.times + mark

class Old(CoreLLM):
    suffix: str = ""
    @property
    def _llm_type(self):
        return "old"
    def _call(self, prompt, stop=None, run_manager=None, **kwargs):
        return prompt + self.suffix

echo, old = Echo(suffix="!"), Old(suffix="?")
chain = RunnableLambda(str.upper)

def shout(prompt):
    return prompt.upper()
"""


@pytest.fixture(autouse=True)
def models(tmp_path, monkeypatch):
    folder = tmp_path / "models"
    folder.mkdir()
    (folder / "some_models.py").write_text(MODELS)
    (folder / "broken_models.py").write_text("import no_such_package\n")
    monkeypatch.syspath_prepend(folder)
    yield
    sys.modules.pop("some_models", None)


class TestNames:
    @pytest.mark.parametrize(
        ("name", "cls"),
        [
            ("llama-cpp:smollm2", LlamaCpp),
            ("command:cat", Command),
            ("http:http://host/x", HTTPEndpoint),
            ("http+openai:http://host/v1#m", HTTPEndpoint),
            ("ollama:llama3", HTTPEndpoint),
        ],
    )
    def test_of_providers(self, name, cls):
        assert type(init_llm(name, concurrency=2)) is cls
        assert init_llm(name, concurrency=2).concurrency == 2

    def test_of_a_package(self, acme):  # noqa: F811
        assert init_llm("acme:m1").invoke("hi") == "m1: hi"
        assert init_llm("acme-typed:m1", shout=True).invoke("hi", times=2) == "M1: HIM1: HI"

    def test_of_objects(self):
        assert init_llm("some_models:Echo", suffix="-").invoke("a") == "a-."
        assert init_llm("some_models:echo").invoke("a") == "a!."
        assert init_llm("some_models:shout").invoke("a") == "A"
        assert init_llm("some_models:shout", concurrency=3).concurrency == 3

    def test_an_object_is_not_changed_by_fields(self):
        assert init_llm("some_models:echo", suffix="-").invoke("a") == "a-."
        assert init_llm("some_models:echo").invoke("a") == "a!."
        assert init_llm("some_models:old", suffix="-").invoke("a") == "a-"
        assert init_llm("some_models:old").invoke("a") == "a?"

    def test_sys_path_is_left_alone(self):
        before = list(sys.path)
        init_llm("some_models:echo")
        assert sys.path == before


class TestMistakes:
    @pytest.mark.parametrize(
        ("name", "says"),
        [
            ("smollm2", "'smollm2' names no model; give provider:model, such as llama-cpp:smollm2"),
            ("ollama:", "names no model"),
            (
                "olama:llama3",
                r"no module 'olama'. Did you mean 'ollama'\? Providers: llama-cpp, tr",
            ),
            ("https://host/v1", r"is a URL: .* http\+openai:https://host/v1"),
            ("http://host", "is a URL"),
            ("nowhere.at_all:x", "no module 'nowhere'"),
            ("some_models:ecko", "has no 'ecko'. Did you mean 'echo'"),
            (
                "broken_models:x",
                "importing broken_models failed: No module named 'no_such_package'",
            ),
        ],
    )
    def test_of_names(self, name, says):
        with pytest.raises(ValueError, match=says):
            init_llm(name)

    def test_the_providers_of_packages_are_listed_and_near(self, acme):  # noqa: F811
        with pytest.raises(
            ValueError, match=r"Did you mean 'acme-typed'.*http\+tgi, ollama, acme, "
        ):
            init_llm("acme-type:x")

    @pytest.mark.parametrize(
        "name", ["command:cat", "ollama:m", "some_models:Echo", "some_models:echo"]
    )
    def test_of_fields(self, name):
        with pytest.raises(ValueError, match=r"no field 'concurency'. Did you mean 'concurrency'"):
            init_llm(name, concurency=1)

    def test_of_options_of_a_function(self):
        with pytest.raises(TypeError, match=r"no option 'concurency'. Did you mean 'concurrency'"):
            init_llm("some_models:shout", concurency=1)

    def test_what_is_no_model(self):
        with pytest.raises(TypeError, match="is a LangChain Runnable already and no LLM"):
            init_llm("some_models:chain")
        with pytest.raises(TypeError, match="cannot wrap"):
            init_llm("some_models:__name__")


def arguments(**fields: object) -> dict[str, object]:
    """Fields of a program that prints its option and its prompt."""
    code = "import sys; sys.stdout.write(' '.join(sys.argv[1:]))"
    return {
        "params": {"temp": 1},
        **fields,
        "command": [sys.executable, "-c", code, "{temp}", "{prompt}"],
    }


class TestConfigurableFields:
    @pytest.mark.parametrize("path", PATHS)
    def test_a_call_sets_them_in_every_path(self, path):
        llm = init_llm("some_models:echo", configurable_fields=["suffix"])
        call = PATHS[path]
        assert call(llm, "a", {"configurable": {"suffix": "?"}}) == "a?."
        assert call(llm, "a", None) == "a!."
        assert call(llm.with_config(configurable={"suffix": "+"}), "a", None) == "a+."

    @pytest.mark.parametrize("path", PATHS)
    def test_so_it_is_in_a_chain(self, path):
        llm = init_llm("some_models:Echo", configurable_fields=("suffix", "times"))
        chain = PromptTemplate.from_template("<{x}>") | llm | StrOutputParser()
        call = PATHS[path]
        assert call(chain, {"x": "a"}, None) == "<a>."
        config = {"configurable": {"suffix": "?", "times": 2}}
        assert call(chain, {"x": "a"}, config) == "<a>?<a>?."
        assert call(chain.with_config(config), {"x": "a"}, None) == "<a>?<a>?."

    async def test_each_input_of_a_batch_has_its_own(self):
        llm = init_llm("some_models:echo", configurable_fields=["suffix"])
        configs = [{"configurable": {"suffix": mark}} for mark in "?+-"]
        assert llm.batch(["a", "b", "c"], configs) == ["a?.", "b+.", "c-."]
        assert await llm.abatch(["a", "b", "c"], configs) == ["a?.", "b+.", "c-."]

    def test_stops_and_parameters_go_with_them(self):
        llm = init_llm("some_models:echo", configurable_fields=["suffix"])
        config = {"configurable": {"suffix": " END"}}
        assert llm.invoke("a", config, stop=["END"], mark="") == "a "
        assert llm.bind(stop=["END"]).invoke("a", config) == "a "

    def test_a_prefix(self):
        llm = init_llm("some_models:echo", configurable_fields=["suffix"], config_prefix="my")
        assert llm.invoke("a", {"configurable": {"my_suffix": "?", "suffix": "no"}}) == "a?."

    def test_any(self):
        llm = init_llm("some_models:echo", configurable_fields="any")
        config = {"configurable": {"suffix": "?", "include_stop": True, "stop": ["?"]}}
        assert llm.invoke("a", config) == "a?"
        ids = {spec.id for spec in llm.config_specs}
        assert {"suffix", "times", "timeout", "stop"} <= ids

    def test_a_wrong_value_is_an_error_of_the_call(self):
        llm = init_llm("some_models:echo", configurable_fields=["times"])
        with pytest.raises(ValueError, match="times"):
            llm.invoke("a", {"configurable": {"times": "many"}})

    def test_they_are_in_the_schema_that_langserve_and_langgraph_show(self):
        llm = init_llm("some_models:echo", configurable_fields=["suffix", "times"])
        schema = (PromptTemplate.from_template("{x}") | llm).get_config_jsonschema()
        shown = schema["$defs"]["Configurable"]["properties"]
        assert (shown["times"]["default"], shown["times"]["type"]) == (1, "integer")

    def test_every_kind_of_model_takes_them(self):
        config = {"configurable": {"concurrency": 3}}
        for name in ("llama-cpp:smollm2", "command:cat", "ollama:llama3", "some_models:shout"):
            llm = init_llm(name, configurable_fields=["concurrency"], timeout=60)
            made, _ = llm.prepare(config)
            assert (made.concurrency, made.timeout) == (3, 60)
            assert type(made) is type(llm.default)

    def test_of_programs(self):
        fields = arguments()
        llm = init_llm(
            "langchain_wrap.models:Command", configurable_fields=["params", "env"], **fields
        )
        assert llm.invoke("a") == "1 a"
        assert llm.invoke("a", {"configurable": {"params": {"temp": 5}}}) == "5 a"

    def test_of_functions(self):
        llm = init_llm("some_models:shout", configurable_fields=["stop"])
        assert llm.invoke("a b c", {"configurable": {"stop": ["C"]}}) == "A B "

    @pytest.mark.parametrize(
        ("chosen", "says"),
        [
            (
                ["sufix"],
                r"names 'sufix', which Echo does not have. Did you mean 'suffix'\? It has: .*",
            ),
            (
                ["model"],
                "does not have. To choose between whole models, use configurable_alternatives",
            ),
            ("suffix", r"a list, or 'any': \['suffix'\]"),
        ],
    )
    def test_mistakes(self, chosen, says):
        with pytest.raises(ValueError, match=says):
            init_llm("some_models:echo", configurable_fields=chosen)


class TestConfigurableAlternatives:
    def chosen(self, **fields):
        return init_llm("some_models:echo", **fields).configurable_alternatives(
            ConfigurableField(id="llm"),
            default_key="echo",
            shout=init_llm("some_models:shout"),
            program=lambda: init_llm("langchain_wrap.models:Command", **arguments()),
        )

    @pytest.mark.parametrize("path", PATHS)
    def test_a_call_chooses_in_every_path(self, path):
        chain = PromptTemplate.from_template("<{x}>") | self.chosen()
        call = PATHS[path]
        assert call(chain, {"x": "a"}, None) == "<a>!."
        assert call(chain, {"x": "a"}, {"configurable": {"llm": "shout"}}) == "<A>"
        assert call(chain.with_config(configurable={"llm": "program"}), {"x": "a"}, None) == "1 <a>"

    def test_with_configurable_fields(self):
        llm = self.chosen(configurable_fields=["suffix"])
        assert llm.invoke("a", {"configurable": {"suffix": "?"}}) == "a?."
        assert llm.invoke("a", {"configurable": {"llm": "shout", "suffix": "?"}}) == "A"

    def test_one_that_does_not_exist(self):
        with pytest.raises(ValueError, match="Unknown alternative: nothing"):
            self.chosen().invoke("a", {"configurable": {"llm": "nothing"}})


def test_types():
    overloads = typing.get_overloads(init_llm)
    assert len(overloads) == 2
    assert isinstance(init_llm("some_models:echo"), LLM)


class TestCommandLine:
    """`langchain-wrap run` takes the same names."""

    def run(self, folder, *args):
        code = "from langchain_wrap.cli import main; main()"
        path = [str(Path(__file__).parents[1] / "src"), str(folder)]
        return subprocess.run(
            [sys.executable, "-c", code, "run", *args],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(path), "NO_COLOR": "1"},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def test_fields_and_parameters_of_a_program(self, tmp_path):
        code = "import sys; print(sys.argv[1:], end=str())"
        line = f"command:{sys.executable} -c '{code}' {{a}} {{prompt}}"
        out = self.run(tmp_path, line, "hi", "--param", "a=1", "--param", "grace=1")
        assert (out.stdout, out.stderr) == ("['1', 'hi']\n", "")
        out = self.run(tmp_path, line, "hi", "--param", "b=1")
        assert out.returncode == 1
        assert "takes no parameter 'b'" in out.stderr

    def test_of_a_package(self, tmp_path):
        install(tmp_path / "site")
        out = self.run(
            tmp_path / "site", "acme:m", "hi", "--param", "shout=true", "--param", "times=2"
        )
        assert (out.stdout, out.stderr) == ("M: HIM: HI\n", "")

    def test_mistakes_are_one_line(self, tmp_path):
        for spec in ("olama:x", "command:no-such-program", "acme:x"):
            out = self.run(tmp_path, spec, "hi")
            assert (out.returncode, out.stdout) == (1, "")
            assert len(out.stderr.splitlines()) == 1
        assert self.run(tmp_path, "http://host", "hi").returncode == 2
