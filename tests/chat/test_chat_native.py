"""`ChatModel`: an author's `_chat` in every shape, and what it may take and give."""

from __future__ import annotations

import asyncio
import json
from typing import Any, TypedDict

import pytest
from langchain_core.exceptions import OutputParserException
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    HumanMessage,
    SystemMessage,
    ToolMessage,
)
from langchain_core.outputs import ChatGenerationChunk
from langchain_core.tools import tool
from pydantic import BaseModel

from langchain_wrap import ChatModel

WORDS = ["Hello", " from", " here"]
USAGE = {"input_tokens": 3, "output_tokens": 4, "total_tokens": 7}


class Function(ChatModel):
    says: Any = "".join(WORDS)

    def _chat(self, messages):
        return self.says


class Generator(ChatModel):
    says: Any = WORDS

    def _chat(self, messages):
        yield from self.says


class Coroutine(ChatModel):
    says: Any = "".join(WORDS)

    async def _chat(self, messages):
        await asyncio.sleep(0)
        return self.says


class AsyncGenerator(ChatModel):
    says: Any = WORDS

    async def _chat(self, messages):
        for each in self.says:
            await asyncio.sleep(0)
            yield each


SHAPES = [Function, Generator, Coroutine, AsyncGenerator]


def whole(chunks: list[AIMessageChunk]) -> AIMessageChunk:
    return chunks[0] + chunks[1:] if len(chunks) > 1 else chunks[0]


def all_paths(model: Any, asked: Any = "Hi", **kwargs: Any) -> dict[str, Any]:
    """The same question on every path."""

    async def chunks() -> list[AIMessageChunk]:
        return [chunk async for chunk in model.astream(asked, **kwargs)]

    return {
        "invoke": model.invoke(asked, **kwargs),
        "ainvoke": asyncio.run(model.ainvoke(asked, **kwargs)),
        "stream": whole(list(model.stream(asked, **kwargs))),
        "astream": whole(asyncio.run(chunks())),
        "batch": model.batch([asked, asked], **kwargs)[1],
        "abatch": asyncio.run(model.abatch([asked, asked], **kwargs))[1],
    }


def fails_on_all_paths(model: Any, error: type[Exception], match: str) -> None:
    async def astream() -> list[Any]:
        return [chunk async for chunk in model.astream("Hi")]

    for path in (
        lambda: model.invoke("Hi"),
        lambda: asyncio.run(model.ainvoke("Hi")),
        lambda: list(model.stream("Hi")),
        lambda: asyncio.run(astream()),
        lambda: model.batch(["Hi"]),
    ):
        with pytest.raises(error, match=match):
            path()


# --- what it gives --------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape_on_every_path(shape):
    for path, message in all_paths(shape()).items():
        assert message.text == "Hello from here", path
        assert message.response_metadata["model_name"] == shape.__name__, path
        assert message.id.startswith("lc_run-"), path


@pytest.mark.parametrize("shape", [Generator, AsyncGenerator])
def test_chunks_go_out_as_they_come(shape):
    chunks = list(shape().stream("Hi"))
    assert [chunk.text for chunk in chunks if chunk.text] == WORDS
    assert len({chunk.id for chunk in chunks}) == 1
    assert [chunk.chunk_position for chunk in chunks].index("last") == len(chunks) - 1


def test_messages_come_as_messages():
    class Counting(ChatModel):
        def _chat(self, messages):
            return " ".join(type(each).__name__ for each in messages)

    for asked in (
        [SystemMessage("Be brief."), HumanMessage("Hi")],
        [("system", "Be brief."), ("user", "Hi")],
        [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}],
    ):
        assert Counting().invoke(asked).text == "SystemMessage HumanMessage"


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kind", [AIMessage, AIMessageChunk])
def test_messages_with_facts(shape, kind):
    said = kind(
        content="Hello",
        usage_metadata={**USAGE, "input_token_details": {"cache_read": 2}},
        response_metadata={"model_name": "m-1", "finish_reason": "stop", "logprobs": [0.1]},
        additional_kwargs={"reasoning_content": "Greet back."},
    )
    says = said if shape in (Function, Coroutine) else [said]
    for path, message in all_paths(shape(says=says)).items():
        assert message.text == "Hello", path
        assert message.usage_metadata == {**USAGE, "input_token_details": {"cache_read": 2}}, path
        assert message.response_metadata["model_name"] == "m-1", path
        assert message.response_metadata["finish_reason"] == "stop", path
        assert message.response_metadata["logprobs"] == [0.1], path
        thought = {"type": "reasoning", "reasoning": "Greet back."}
        assert [dict(block) for block in message.content_blocks if block["type"] != "text"] == [
            thought
        ], path


def test_usage_that_comes_in_parts_adds_up():
    chunks = [
        AIMessageChunk("a", usage_metadata={**USAGE, "output_tokens": 0, "total_tokens": 3}),
        AIMessageChunk(
            "b", usage_metadata={"input_tokens": 0, "output_tokens": 4, "total_tokens": 4}
        ),
    ]
    for path, message in all_paths(Generator(says=chunks)).items():
        assert message.usage_metadata == USAGE, path


def test_usage_is_counted_once_for_each_call():
    model = Generator(says=[AIMessageChunk("a", usage_metadata=USAGE)])
    for _ in range(2):
        for path, message in all_paths(model).items():
            assert message.usage_metadata == USAGE, path


def test_reasoning_in_the_text():
    model = Generator(says=["<thi", "nk>Greet", " back.</th", "ink>Hel", "lo"])
    for path, message in all_paths(model).items():
        assert message.text.strip() == "Hello", path
        assert message.additional_kwargs["reasoning_content"].strip() == "Greet back.", path
    assert model.model_copy(update={"reasoning_tags": None}).invoke("Hi").text.startswith("<think>")


def test_reasoning_blocks_pass_through():
    blocks = [{"type": "reasoning", "reasoning": "Hm."}, {"type": "text", "text": "Hello"}]
    model = Function(says=AIMessage(content=blocks))
    message = model.invoke("Hi")
    assert [block["type"] for block in message.content_blocks] == ["reasoning", "text"]
    assert message.text == "Hello"
    # Read as they come: langchain-core 1.7.0 changes the first chunk when it merges them.
    read = [(chunk.text, [b["type"] for b in chunk.content_blocks]) for chunk in model.stream("Hi")]
    assert read == [("", ["reasoning"]), ("Hello", ["text"]), ("", [])]


CHUNKED_CALLS = [
    AIMessageChunk(
        "Let me see.",
        tool_call_chunks=[{"name": "add", "args": '{"a"', "id": "c1", "index": 0}],
    ),
    AIMessageChunk("", tool_call_chunks=[{"name": None, "args": ": 1}", "id": None, "index": 0}]),
    AIMessageChunk("", tool_call_chunks=[{"name": "now", "args": "{}", "id": "c2", "index": 1}]),
]
CALLS = [
    {"name": "add", "args": {"a": 1}, "id": "c1", "type": "tool_call"},
    {"name": "now", "args": {}, "id": "c2", "type": "tool_call"},
]


@pytest.mark.parametrize("shape", SHAPES)
def test_tool_calls_pass_through(shape):
    says: Any = CHUNKED_CALLS
    if shape in (Function, Coroutine):
        says = AIMessage("Let me see.", tool_calls=CALLS)
    for path, message in all_paths(shape(says=says)).items():
        assert message.text == "Let me see.", path
        assert message.tool_calls == CALLS, path
        assert message.response_metadata["finish_reason"] == "tool_calls", path
    chunks = list(Generator(says=CHUNKED_CALLS).stream("Hi"))
    assert sum(bool(chunk.tool_call_chunks) for chunk in chunks) >= 3


def test_a_call_that_is_cut_off_is_no_call():
    cut = AIMessageChunk(
        "", tool_call_chunks=[{"name": "rm", "args": '{"path": "/', "id": "c1", "index": 0}]
    )
    model = Generator(says=[cut, AIMessageChunk("", response_metadata={"finish_reason": "length"})])
    for path, message in all_paths(model).items():
        assert message.tool_calls == [], path
        assert message.invalid_tool_calls[0]["name"] == "rm", path


def test_generation_chunks_are_taken_too():
    says = [ChatGenerationChunk(message=AIMessageChunk(word)) for word in WORDS]
    says[-1].generation_info = {"finish_reason": "content_filter"}
    for path, message in all_paths(Generator(says=says)).items():
        assert message.text == "Hello from here", path
        assert message.response_metadata["finish_reason"] == "content_filter", path


# --- what it takes --------------------------------------------------------------------------------


@tool
def add(a: int, b: int = 0) -> int:
    """Add two numbers."""
    return a + b


class Answer(BaseModel):
    """An answer."""

    number: int


class Knowing(ChatModel):
    """Has tools, choice and schemas of its own; it keeps what it was given."""

    seen: list[Any] = []  # noqa: RUF012

    def _chat(self, messages, tools=None, tool_choice=None, json_schema=None):
        self.seen.append((messages, tools, tool_choice, json_schema))
        if json_schema is not None:
            return '{"number": 7}'
        if tools and tool_choice != "none":
            call = {"name": tools[0]["function"]["name"], "args": {"a": 1}, "id": "c1"}
            return AIMessage("", tool_calls=[call])
        return "Hello"


class Unknowing(ChatModel):
    """Knows messages alone."""

    seen: list[Any] = []  # noqa: RUF012

    def _chat(self, messages):
        self.seen.append(messages)
        told = "\n".join(str(message.text) for message in messages)
        if '"number"' in told:
            return '{"number": 7}'
        return '{"name": "add", "arguments": {"a": 1}}' if "Add two" in told else "Hello"


@pytest.mark.parametrize(
    ("given", "chosen"),
    [(None, "auto"), ("auto", "auto"), ("any", "any"), ("add", "add"), ("none", "none")],
)
def test_what_its_signature_names_it_is_given(given, chosen):
    model = Knowing(seen=[])
    message = model.bind_tools([add], tool_choice=given).invoke("Hi")
    (messages, tools, choice, schema), *more = model.seen
    assert not more
    assert [m.text for m in messages] == ["Hi"]
    if chosen != "none":
        assert [spec["function"]["name"] for spec in tools] == ["add"]
        assert choice == chosen
    assert bool(message.tool_calls) == (chosen != "none")
    assert schema is None


def test_a_schema_that_its_signature_names():
    model = Knowing(seen=[])
    assert model.with_structured_output(Answer).invoke("Hi") == Answer(number=7)
    ((messages, tools, _, schema),) = model.seen
    assert [m.text for m in messages] == ["Hi"]
    assert not tools
    assert schema["properties"]["number"]["type"] == "integer"
    called = model.with_structured_output({**ADD, "title": "add"}, method="function_calling")
    assert called.invoke("Hi") == {"a": 1}


ADD = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}


def test_what_its_signature_does_not_name_is_told_in_words():
    model = Unknowing(seen=[])
    for path, message in all_paths(model.bind_tools([add])).items():
        assert [(c["name"], c["args"]) for c in message.tool_calls] == [("add", {"a": 1})], path
        assert message.text.strip() == "", path
    told = "\n".join(str(message.text) for message in model.seen[0])
    assert "Add two numbers." in told
    assert json.dumps("integer") in told

    assert Unknowing(seen=[]).with_structured_output(Answer).invoke("Hi") == Answer(number=7)


def test_tools_without_a_choice():
    class Some(ChatModel):
        def _chat(self, messages, tools=None):
            assert messages[0].text.startswith("Hi")
            assert tools[0]["function"]["name"] == "add"
            return AIMessage("", tool_calls=[{"name": "add", "args": {"a": 1}, "id": "c"}])

    for choice in (None, "any"):
        assert Some().bind_tools([add], tool_choice=choice).invoke("Hi").tool_calls


def test_a_required_call_is_asked_for_again():
    class Second(ChatModel):
        seen: list[Any] = []  # noqa: RUF012

        def _chat(self, messages):
            self.seen.append(messages)
            return "No." if len(self.seen) == 1 else '{"name": "add", "arguments": {"a": 2}}'

    for path in ("invoke", "stream"):
        model = Second(seen=[])
        bound = model.bind_tools([add], tool_choice="any")
        message = bound.invoke("Hi") if path == "invoke" else whole(list(bound.stream("Hi")))
        assert message.tool_calls[0]["args"] == {"a": 2}
        assert message.text.strip() == ""
        assert len(model.seen) == 2
        assert "called no tool" in model.seen[1][-1].text


def test_parameters_stops_and_cancel():
    class Takes(ChatModel):
        def _chat(self, messages, stop=None, cancel=None, temperature=0.5, **params):
            assert cancel is not None
            yield f"{len(stop)} {temperature} {params} END and more"

    for path, message in all_paths(Takes(), temperature=1, top_k=3, stop=[" and"]).items():
        assert message.text == "1 1 {'top_k': 3} END", path


class Place(TypedDict):
    """A place, as `typing` has it: pydantic takes that from Python 3.12 on."""

    name: str
    people: int


def test_a_typed_dict_comes_key_by_key():
    model = Generator(says=['{"name": "Zü', 'rich", "peo', 'ple": 4', "00000}"])
    chat = model.with_structured_output(Place)
    assert chat.invoke("Hi") == {"name": "Zürich", "people": 400000}
    assert list(chat.stream("Hi")) == [
        {"name": "Zü"},
        {"name": "Zürich"},
        {"name": "Zürich", "people": 4},
        {"name": "Zürich", "people": 400000},
    ]
    with pytest.raises(OutputParserException, match="people"):
        Generator(says=['{"name": "Zürich"}']).with_structured_output(Place).invoke("Hi")


# --- mistakes -------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("wrong", [7, {"role": "assistant"}, b"bytes", HumanMessage("Hi")])
def test_what_is_no_answer(shape, wrong):
    says = wrong if shape in (Function, Coroutine) else [wrong]
    fails_on_all_paths(
        shape(says=says),
        TypeError,
        rf"{shape.__name__}\._chat\(\) must give str, AIMessage or AIMessageChunk.*"
        rf"\({type(wrong).__name__}\)",
    )


@pytest.mark.parametrize("shape", [Function, Coroutine])
def test_no_answer_at_all(shape):
    fails_on_all_paths(shape(says=None), TypeError, r"must give str.*None \(NoneType\)")


@pytest.mark.parametrize("shape", SHAPES)
def test_an_unknown_parameter(shape):
    model = shape()
    with pytest.raises(TypeError, match="temprature"):
        model.invoke("Hi", temprature=1)

    class Known(ChatModel):
        def _chat(self, messages, temperature=0.5, top_k=1):
            return "Hello"

    for call in (
        lambda: Known().invoke("Hi", temprature=1),
        lambda: list(Known().stream("Hi", temprature=1)),
        lambda: asyncio.run(Known().ainvoke("Hi", temprature=1)),
    ):
        with pytest.raises(TypeError, match=r"'temprature'.*(?s:temperature.*top_k)"):
            call()


def test_a_class_without_chat():
    class Mute(ChatModel):
        pass

    with pytest.raises(TypeError, match="Mute has no `_chat"):
        Mute()


def test_an_error_of_the_author_comes_through():
    class Broken(ChatModel):
        def _chat(self, messages):
            yield "Hel"
            raise ZeroDivisionError("by the author")

    fails_on_all_paths(Broken(), ZeroDivisionError, "by the author")
    chunks = Broken().stream("Hi")
    assert next(chunks).text == "Hel"
    with pytest.raises(ZeroDivisionError):
        list(chunks)


@pytest.mark.parametrize("asked", [[], [ToolMessage("lost", tool_call_id="c9")]])
def test_a_conversation_that_is_none(asked):
    with pytest.raises(ValueError, match=r"message|c9"):
        Function().invoke(asked)
