"""Any one method is enough, and what it gives is the same by every path."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_core.output_parsers import StrOutputParser
from langchain_core.outputs import Generation, GenerationChunk
from langchain_core.prompts import ChatPromptTemplate, PromptTemplate
from langchain_core.runnables import RunnableParallel
from scripted import KINDS, PATHS, STREAMING, Recorder, is_token, pieces, read, token

from langchain_wrap import LLM

PROMPT = "one two three four"


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("kind", KINDS)
class TestEachKindOnEachPath:
    def test_gives_the_text(self, kind, path):
        assert PATHS[path](KINDS[kind](), PROMPT, None) == PROMPT

    def test_heeds_a_stop_of_the_call(self, kind, path):
        assert PATHS[path](KINDS[kind](), PROMPT, None, stop=["three"]) == "one two "

    def test_heeds_a_stop_of_the_model(self, kind, path):
        assert PATHS[path](KINDS[kind](stop=["wo t"]), PROMPT, None) == "one t"

    def test_merges_both_stops(self, kind, path):
        llm = KINDS[kind](stop=["four"])
        assert PATHS[path](llm, PROMPT, None, stop=["thr"]) == "one two "
        assert PATHS[path](llm, PROMPT, None, stop=["zzz"]) == "one two three "

    def test_keeps_the_stop_on_request(self, kind, path):
        llm = KINDS[kind](include_stop=True)
        assert PATHS[path](llm, PROMPT, None, stop=["two"]) == "one two"

    def test_works_in_a_chain(self, kind, path):
        chain = PromptTemplate.from_template("{x} four") | KINDS[kind]() | StrOutputParser()
        assert PATHS[path](chain, {"x": "one"}, None) == "one four"

    def test_works_in_a_chain_with_bound_stops(self, kind, path):
        bound = KINDS[kind]().bind(stop=["fo"])
        chain = PromptTemplate.from_template("{x} four") | bound | StrOutputParser()
        assert PATHS[path](chain, {"x": "one"}, None) == "one "

    def test_gives_an_empty_completion(self, kind, path):
        assert PATHS[path](KINDS[kind](), "", None) == ""

    def test_reports_start_tokens_and_end_in_order(self, kind, path):
        recorder = Recorder()
        PATHS[path](KINDS[kind](), PROMPT, {"callbacks": [recorder]}, stop=["four"])
        for run_id in recorder.run_ids:
            own = [(name, what) for name, run, what in recorder.events if run == run_id]
            names = [name for name, _ in own]
            assert names == ["start", *["token"] * (len(names) - 2), "end"]
            tokens = "".join(what for name, what in own if name == "token")
            generation = own[-1][1].generations[0][0]
            assert tokens == generation.text == "one two three "
            assert generation.generation_info["finish_reason"] == "stop"
            assert generation.generation_info["stop_reason"] == "four"

    def test_one_run_for_each_prompt(self, kind, path):
        recorder = Recorder()
        PATHS[path](KINDS[kind](), PROMPT, {"callbacks": [recorder]})
        runs = 2 if "batch" in path else 1
        assert len(recorder.run_ids) == recorder.names.count("start") == runs
        assert recorder.names.count("end") == runs


@settings(max_examples=40, deadline=None)
@given(st.text("ab. ", max_size=20), st.lists(st.text("ab. ", min_size=1, max_size=4), max_size=3))
def test_every_kind_gives_the_same_text_tokens_and_end_sync_and_async(prompt, stops):
    texts, ends, streams = set(), set(), set()
    for kind, model in KINDS.items():
        for path in ("invoke", "ainvoke", "stream", "astream"):
            recorder = Recorder()
            texts.add(PATHS[path](model(), prompt, {"callbacks": [recorder]}, stop=stops))
            info = recorder.end.generation_info or {}
            ends.add(json.dumps([recorder.end.text, info], sort_keys=True))
            if kind in STREAMING and "stream" in path:
                streams.add(tuple(recorder.tokens))
    assert len(texts) == len(ends) == len(streams) == 1


@pytest.mark.parametrize("kind", STREAMING)
def test_chunks_keep_their_borders(kind):
    llm = KINDS[kind]()
    assert list(llm.stream(PROMPT)) == pieces(PROMPT)
    assert asyncio.run(read(llm.astream(PROMPT))) == pieces(PROMPT)


@pytest.mark.parametrize("kind", KINDS)
def test_an_empty_completion_is_one_empty_chunk(kind):
    llm = KINDS[kind]()
    assert list(llm.stream("")) == [""]
    assert asyncio.run(read(llm.astream(""))) == [""]


@pytest.mark.parametrize("kind", KINDS)
def test_a_completion_that_begins_with_its_stop_is_one_empty_chunk(kind):
    assert list(KINDS[kind]().stream("stop!", stop=["sto"])) == [""]


def test_none_of_the_methods_is_an_error_that_names_them():
    class Nothing(LLM):
        pass

    with pytest.raises(TypeError, match=r"Nothing implements none.*_call.*_astream.*_abatch"):
        Nothing()


def test_methods_may_come_from_a_base_class_or_mixin():
    class Base:
        def _stream(self, prompt):
            yield prompt

    class Mixed(Base, LLM):
        pass

    assert Mixed().invoke("hi") == "hi"


def test_str_and_generation_chunks_may_be_mixed():
    class Mixed(LLM):
        def _stream(self, prompt):
            yield "a"
            yield GenerationChunk(text="b")

    assert list(Mixed().stream("")) == ["a", "b"]


def test_call_may_return_a_generation():
    class Full(LLM):
        def _call(self, prompt):
            return Generation(text="x", generation_info={"finish_reason": "length"})

    result = Full().generate(["p"])
    assert result.generations[0][0].text == "x"
    assert result.generations[0][0].generation_info == {"finish_reason": "length"}


def test_stream_may_return_any_iterable():
    class Listed(LLM):
        def _stream(self, prompt):
            return ["a", "b"]

    assert list(Listed().stream("")) == ["a", "b"]
    assert asyncio.run(read(Listed().astream(""))) == ["a", "b"]


def _wrong_models() -> Iterator[Any]:
    class CallNone(LLM):
        def _call(self, prompt):
            return None

    yield CallNone, "_call", "return a str", "NoneType"

    class CallList(LLM):
        def _call(self, prompt):
            return ["x"]

    yield CallList, "_call", "return a str", "list"

    class CallGenerator(LLM):
        def _call(self, prompt):
            yield "x"

    yield CallGenerator, "_call", "return a str", "generator"

    class CallCoroutine(LLM):
        async def _call(self, prompt):
            return "x"

    yield CallCoroutine, "_call", "return a str", "coroutine"

    class ACallBytes(LLM):
        async def _acall(self, prompt):
            return b"x"

    yield ACallBytes, "_acall", "return a str", "bytes"

    class ACallPlain(LLM):
        def _acall(self, prompt):
            return "x"

    yield ACallPlain, "_acall", "async def", "str"

    class StreamStr(LLM):
        def _stream(self, prompt):
            return "x"

    yield StreamStr, "_stream", "iterator", "str"

    class StreamNone(LLM):
        def _stream(self, prompt):
            pass

    yield StreamNone, "_stream", "iterator", "NoneType"

    class StreamAsync(LLM):
        async def _stream(self, prompt):
            yield "x"

    yield StreamAsync, "_stream", "iterator", "async_generator"

    class StreamBytes(LLM):
        def _stream(self, prompt):
            yield b"x"

    yield StreamBytes, "_stream", "yield GenerationChunk or str", "bytes"

    class StreamInt(LLM):
        def _stream(self, prompt):
            yield 5

    yield StreamInt, "_stream", "yield GenerationChunk or str", "int"

    class AStreamPlain(LLM):
        def _astream(self, prompt):
            yield "x"

    yield AStreamPlain, "_astream", "async iterator", "generator"

    class AStreamInt(LLM):
        async def _astream(self, prompt):
            yield 5

    yield AStreamInt, "_astream", "yield GenerationChunk or str", "int"

    class BatchStr(LLM):
        def _batch(self, prompts):
            return "xy"

    yield BatchStr, "_batch", "list of str", "str"

    class BatchInts(LLM):
        def _batch(self, prompts):
            return [5 for _ in prompts]

    yield BatchInts, "_batch", "return a str", "int"

    class BatchCoroutine(LLM):
        async def _batch(self, prompts):
            return prompts

    yield BatchCoroutine, "_batch", "list of str", "coroutine"

    class ABatchPlain(LLM):
        def _abatch(self, prompts):
            return prompts

    yield ABatchPlain, "_abatch", "async def", "list"


@pytest.mark.parametrize("path", ["invoke", "ainvoke", "stream", "astream", "batch", "abatch"])
@pytest.mark.parametrize("wrong", list(_wrong_models()), ids=lambda wrong: wrong[0].__name__)
def test_a_wrong_type_names_class_method_and_value(wrong, path):
    model, method, wanted, gave = wrong
    with pytest.raises(TypeError) as caught:
        PATHS[path](model(), "p", None)
    for part in (f"{model.__name__}.{method}()", wanted, gave):
        assert part in str(caught.value)


def test_a_wrong_type_with_an_endless_repr_is_cut():
    class Verbose(LLM):
        def _call(self, prompt):
            return ["x" * 10_000]

    with pytest.raises(TypeError) as caught:
        Verbose().invoke("p")
    assert len(str(caught.value)) < 400


# --- which method serves ----------------------------------------------------------------------


class Everything(LLM):
    def _call(self, prompt):
        return "call"

    async def _acall(self, prompt):
        return "acall"

    def _stream(self, prompt):
        yield "stream"

    async def _astream(self, prompt):
        yield "astream"


def test_each_path_is_served_by_its_own_method():
    served = {path: PATHS[path](Everything(), "p", None) for path in PATHS}
    assert served == {
        "invoke": "call",
        "batch": "call",
        "stream": "stream",
        "ainvoke": "acall",
        "abatch": "acall",
        "astream": "astream",
        "astream_events": "astream",
    }


def test_under_a_streaming_listener_invoke_streams():
    class Node(LLM):
        def _call(self, prompt):
            raise AssertionError("somebody listens to the tokens")

        def _stream(self, prompt):
            yield from "abc"

    async def tokens(path):
        from langchain_core.runnables import RunnableLambda

        async def node(_input, config):
            if path == "invoke":
                return Node().invoke("p", config)
            if path == "batch":
                return Node().batch(["p"], config)[0]
            if path == "abatch":
                return (await Node().abatch(["p"], config))[0]
            return await Node().ainvoke("p", config)

        events = RunnableLambda(node).astream_events("x", version="v2")
        return [token(e) async for e in events if is_token(e)]

    for path in ("invoke", "ainvoke", "batch", "abatch"):
        assert asyncio.run(tokens(path)) == ["a", "b", "c"], path


async def test_inside_a_langgraph_node_invoke_streams():
    from langgraph.graph import END, START, StateGraph

    llm = KINDS["_stream"]()

    async def node(state: dict) -> dict:
        return {"out": await llm.ainvoke(state["in"])}

    def blocking_node(state: dict) -> dict:
        return {"out": llm.invoke(state["in"])}

    for body in (node, blocking_node):
        builder = StateGraph(dict)
        builder.add_node("node", body)
        builder.add_edge(START, "node")
        builder.add_edge("node", END)
        events = builder.compile().astream_events({"in": "hello!"}, version="v2")
        assert [token(e) async for e in events if is_token(e)] == ["he", "ll", "o!"]


# --- what a method is given -------------------------------------------------------------------


def test_a_method_gets_only_what_it_names():
    class Bare(LLM):
        def _call(self, prompt):
            return prompt

    class Named(LLM):
        def _call(self, prompt, cancel, stop, run_manager):
            given.append((cancel.cancelled, stop, run_manager is not None))
            return prompt

    given: list[object] = []
    assert Bare().invoke("p", stop=["x"]) == "p"
    assert Named().invoke("p", stop=["x"]) == "p"
    assert Named().invoke("p", stop=[]) == "p"
    assert given == [(False, ["x"], True), (False, None, True)]


def test_call_parameters_reach_the_method():
    class Parametric(LLM):
        def _call(self, prompt, *, temperature=1.0, **kwargs):
            return f"{temperature} {sorted(kwargs.items())}"

    assert Parametric().invoke("p", temperature=0, seed=3) == "0 [('seed', 3)]"
    assert Parametric().bind(seed=3).batch(["p"]) == ["1.0 [('seed', 3)]"]


@pytest.mark.parametrize("path", ["invoke", "ainvoke", "stream", "astream", "batch", "abatch"])
def test_an_unknown_call_parameter_names_those_that_are_taken(path):
    class Closed(LLM):
        def _call(self, prompt, temperature=1.0, top_k=5):
            return prompt

    with pytest.raises(TypeError, match=r"(?s)Closed\._call.*'temperatur'.*temperature, top_k"):
        PATHS[path](Closed(), "p", None, temperatur=2)


def test_an_unknown_call_parameter_starts_no_run():
    class Closed(LLM):
        def _call(self, prompt):
            return prompt

    recorder = Recorder()
    with pytest.raises(TypeError, match="takes no parameter 'x'"):
        Closed().invoke("p", {"callbacks": [recorder]}, x=1)
    assert recorder.names in ([], ["start", "error"])


def test_an_unknown_field_is_an_error_with_the_nearest_name():
    class Fielded(LLM):
        temperature: float = 1.0

        def _call(self, prompt):
            return prompt

    with pytest.raises(ValueError, match="Did you mean 'temperature'"):
        Fielded(temprature=0.5)
    with pytest.raises(ValueError, match="Did you mean 'max_retries'"):
        Fielded(max_retry=5)
    with pytest.raises(ValueError, match="has no field 'zzz'"):
        Fielded(zzz="sk-hidden")
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        Fielded(zzz="sk-hidden")
    assert "sk-hidden" not in str(caught.value)


def test_an_alias_is_no_unknown_field():
    from pydantic import Field

    class Aliased(LLM):
        model: str = Field(alias="model_name")

        def _call(self, prompt):
            return self.model

    assert Aliased(model_name="m").invoke("p") == "m"


def test_messages_and_prompt_values_are_inputs():
    llm = KINDS["_call"]()
    assert llm.invoke([("human", "hi")]) == "Human: hi"
    assert llm.invoke(ChatPromptTemplate.from_messages([("human", "hi")]).invoke({})) == "Human: hi"


def test_in_parallel_with_another():
    both = RunnableParallel(a=KINDS["_call"](), b=KINDS["_astream"]())
    assert both.invoke("hi") == {"a": "hi", "b": "hi"}
    assert asyncio.run(both.ainvoke("hi")) == {"a": "hi", "b": "hi"}


def test_a_model_that_calls_another_model():
    inner = KINDS["_astream"]()

    class Outer(LLM):
        def _call(self, prompt):
            return inner.invoke(prompt) + inner.batch(["b", "c"])[1]

    for path in PATHS:
        assert PATHS[path](Outer(), "a", None) == "ac"


def test_super_reaches_the_derived_methods():
    class Loud(LLM):
        def _stream(self, prompt):
            yield from prompt

        def _call(self, prompt, **kwargs):
            return super()._call(prompt, **kwargs).upper()

    assert Loud().invoke("abc") == "ABC"
