"""Every row of the seed (S1–S15), on a class of the seed's kind: the first `n` characters."""

from __future__ import annotations

import ast
import inspect
import itertools
import re
import textwrap
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.language_models.llms import LLM as CoreLLM
from langchain_core.load import dumpd
from langchain_core.output_parsers import StrOutputParser
from langchain_core.outputs import GenerationChunk
from langchain_core.prompts import ChatPromptTemplate
from pydantic import SecretStr
from scripted import PATHS, Recorder, is_token, read, token

from langchain_wrap import LLM


class FirstCharacters(LLM):
    """Completes with the first characters of the prompt, written as for langchain-core."""

    n: int
    """How many characters of the prompt to give back."""

    def _call(
        self,
        prompt: str,
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> str:
        return prompt[: self.n]

    def _stream(
        self,
        prompt: str,
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[GenerationChunk]:
        for letter in prompt[: self.n]:
            piece = GenerationChunk(text=letter)
            if run_manager is not None:
                run_manager.on_llm_new_token(letter, chunk=piece)
            yield piece

    @property
    def _identifying_params(self) -> Mapping[str, Any]:
        return {"model_name": "CustomChatModel"}

    @property
    def _llm_type(self) -> str:
        return "first-characters"


class CustomLLM(FirstCharacters):
    pass


class Minimal(LLM):
    def _call(self, prompt, stop=None, run_manager=None, **kwargs):
        return f"<{prompt}>"

    @property
    def _llm_type(self):
        return "minimal"


@pytest.fixture
def llm() -> FirstCharacters:
    return FirstCharacters(n=5)


@pytest.mark.parametrize("path", PATHS)
def test_s1_call_and_llm_type_are_enough(path):
    assert PATHS[path](Minimal(), "hi", None) == "<hi>"


def test_s1_llm_type_is_what_a_trace_sees():
    recorder = Recorder()
    Minimal().invoke("hi", {"callbacks": [recorder]})
    _, _, start = recorder.payloads[0]
    assert start["invocation_params"]["_type"] == "minimal"


def test_s2_print_shows_class_and_identifying_params():
    shown = re.sub(r"\x1b\[\d+m", "", str(CustomLLM(n=5)))
    assert shown == "CustomLLM\nParams: {'model_name': 'CustomChatModel'}"


def test_s2_identifying_params_reach_the_callbacks(llm):
    recorder = Recorder()
    llm.invoke("hi", {"callbacks": [recorder]})
    _, _, start = recorder.payloads[0]
    assert start["invocation_params"]["model_name"] == "CustomChatModel"


async def test_s3_a_native_acall_serves_ainvoke():
    class Native(Minimal):
        async def _acall(self, prompt, stop=None, run_manager=None, **kwargs):
            return "native"

    assert await Native().ainvoke("hi") == "native"
    assert Native().invoke("hi") == "<hi>"


def test_s4_stream_yields_token_by_token(llm):
    assert list(llm.stream("hello")) == list("hello")


async def test_s5_astream_uses_stream_by_default(llm):
    assert await read(llm.astream("hello")) == list("hello")


async def test_s5_a_native_astream_serves_astream(llm):
    class Native(FirstCharacters):
        async def _astream(self, prompt, stop=None, run_manager=None, **kwargs):
            yield GenerationChunk(text="native")

    assert await read(Native(n=5).astream("hi")) == ["native"]
    assert list(Native(n=5).stream("hi")) == ["h", "i"]


async def test_s6_s7_the_examples_of_the_seed(llm):
    assert llm.invoke("This is a foobar thing") == "This "
    assert await llm.ainvoke("world") == "world"
    assert llm.batch(["woof woof woof", "meow meow meow"]) == ["woof ", "meow "]
    assert await llm.abatch(["woof woof woof", "meow meow meow"]) == ["woof ", "meow "]
    assert await read(llm.astream("hello")) == ["h", "e", "l", "l", "o"]


@pytest.fixture
def chain():
    messages = [("system", "you are a bot"), ("human", "{input}")]
    return ChatPromptTemplate.from_messages(messages) | FirstCharacters(n=7)


@pytest.mark.filterwarnings("ignore:astream_events version='v1'")
async def test_s8_events_v1_come_in_the_order_of_the_seed(chain):
    events = [e async for e in chain.astream_events({"input": "hello there!"}, version="v1")]
    names = [event["event"] for event in events]
    assert names[:4] == ["on_chain_start", "on_prompt_start", "on_prompt_end", "on_llm_start"]
    pairs = ["on_llm_stream", "on_chain_stream"] * 7
    assert names[4:18] == pairs
    assert names[18:] == ["on_llm_end", "on_chain_end"]
    start = events[3]["data"]["input"]["prompts"]
    assert start == ["System: you are a bot\nHuman: hello there!"]
    assert [e["data"]["chunk"] for e in events if e["event"] == "on_chain_stream"] == list(
        "System:"
    )


async def test_s8_events_v2_carry_each_token_once(chain):
    events = [e async for e in chain.astream_events({"input": "hello there!"}, version="v2")]
    assert [token(e) for e in events if is_token(e)] == list("System:")


async def test_s9_an_existing_program_runs_with_the_import_changed():
    body = {
        name: value
        for name, value in vars(FirstCharacters).items()
        if name in ("_call", "_stream", "_identifying_params", "_llm_type")
    }
    body |= {"__annotations__": {"n": int}, "__module__": __name__}
    theirs = type("Custom", (CoreLLM,), dict(body))(n=4)
    ours = type("Custom", (LLM,), dict(body))(n=4)
    assert isinstance(ours, CoreLLM)
    for llm in (theirs, ours):
        program = ChatPromptTemplate.from_template("{x}!") | llm | StrOutputParser()
        assert program.invoke({"x": "a"}) == "Huma"
        assert await program.ainvoke({"x": "a"}) == "Huma"
        assert program.batch([{"x": "a"}, {"x": "b"}]) == ["Huma", "Huma"]
        assert list(program.stream({"x": "a"})) == list("Huma")


def test_s10_every_init_parameter_of_ours_has_a_docstring():
    described = set()
    for base in LLM.__mro__:
        if base.__module__.startswith("langchain_wrap"):
            described |= described_fields(base)
    ours = set(LLM.model_fields) - set(CoreLLM.model_fields)
    assert ours
    assert ours <= described
    assert "https://" in (LLM.__doc__ or "")


def described_fields(cls: type) -> set[str]:
    """The names of a class's fields that a string follows."""
    (body,) = ast.parse(textwrap.dedent(inspect.getsource(cls))).body
    return {
        node.target.id
        for node, after in itertools.pairwise(body.body)
        if isinstance(node, ast.AnnAssign)
        and isinstance(after, ast.Expr)
        and isinstance(after.value, ast.Constant)
    }


# S11 is this suite.


@pytest.mark.parametrize("path", ["invoke", "stream", "ainvoke", "astream"])
def test_s12_the_callback_comes_before_the_chunk_and_once(llm, path):
    recorder = Recorder()
    config = {"callbacks": [recorder]}
    if path != "stream":
        PATHS[path](llm, "hello", config)
    else:
        for count, _ in enumerate(llm.stream("hello", config), 1):
            assert len(recorder.tokens) == count
    assert "".join(recorder.tokens) == "hello"


def test_s13_a_stop_is_left_out_by_default_and_kept_on_request():
    assert FirstCharacters(n=9).invoke("one two three", stop=["two"]) == "one "
    keeping = FirstCharacters(n=9, include_stop=True)
    assert keeping.invoke("one two three", stop=["two"]) == "one two"
    assert "".join(keeping.stream("one two three", stop=["two"])) == "one two"


def test_s14_a_key_is_never_shown():
    class Keyed(Minimal):
        api_key: SecretStr

    llm = Keyed(api_key="sk-very-secret")
    for shown in (repr(llm), str(llm), str(llm.asdict()), str(dumpd(llm))):
        assert "very-secret" not in shown


def test_s15_a_model_may_refuse_stops():
    class Unstoppable(LLM):
        def _call(self, prompt, stop=None, **kwargs):
            if stop is not None:
                raise NotImplementedError("stop is not supported")
            return prompt

    assert Unstoppable().invoke("hi") == "hi"
    with pytest.raises(NotImplementedError):
        Unstoppable().invoke("hi", stop=["x"])


@pytest.mark.parametrize("path", PATHS)
def test_s15_a_completion_does_not_contain_the_prompt(path):
    class Greeter(LLM):
        def _call(self, prompt):
            return "hello"

    assert PATHS[path](Greeter(), "say hello", None) == "hello"
