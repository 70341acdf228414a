"""Histories: checked, and as the dicts that templates take."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    ChatMessage,
    FunctionMessage,
    HumanMessage,
    InvalidToolCall,
    RemoveMessage,
    SystemMessage,
    ToolCall,
    ToolMessage,
)

from langchain_wrap.chat.history import as_dicts, checked
from langchain_wrap.chat.template import ChatTemplate

ADD = ToolCall(name="add", args={"a": 1}, id="call_1", type="tool_call")


def call_dict(name: str = "add", id_: str = "call_1", **arguments: Any) -> dict[str, Any]:
    return {"type": "function", "id": id_, "function": {"name": name, "arguments": arguments}}


def test_a_whole_conversation() -> None:
    messages = [
        SystemMessage("Be brief."),
        HumanMessage("1+2?", name="ann"),
        AIMessage("Let me see.", tool_calls=[ADD]),
        ToolMessage("3", tool_call_id="call_1"),
        AIMessage("3", additional_kwargs={"reasoning_content": "Easy."}),
        ChatMessage("Really?", role="critic"),
    ]
    assert as_dicts(messages) == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "1+2?"},
        {"role": "assistant", "content": "Let me see.", "tool_calls": [call_dict(a=1)]},
        {"role": "tool", "content": "3", "tool_call_id": "call_1", "name": "add"},
        {"role": "assistant", "content": "3", "reasoning_content": "Easy."},
        {"role": "critic", "content": "Really?"},
    ]
    assert checked(messages) == messages


def test_answers_of_tools() -> None:
    asked = AIMessage("", tool_calls=[ADD])

    def content(text: str, status: str) -> str:
        message = ToolMessage(text, tool_call_id="call_1", status=status)
        return str(as_dicts([asked, message])[1]["content"])

    assert content("no such file", "error") == "Error: no such file"
    assert content("Error: no such file", "error") == "Error: no such file"
    assert content("error invoking add", "error") == "error invoking add"
    assert content("Error is a word", "success") == "Error is a word"
    named = ToolMessage("3", tool_call_id="call_1", name="plus")
    assert as_dicts([asked, named])[1]["name"] == "plus"
    blocks = ToolMessage(content=[{"type": "text", "text": "3"}, "4"], tool_call_id="call_1")
    assert as_dicts([asked, blocks])[1]["content"] == "34"


@pytest.mark.parametrize(
    ("before", "reason"),
    [
        ([], r"message 1 answers the tool call 'call_9', .*\(no call was made\)"),
        (
            [HumanMessage("Hi"), AIMessage("", tool_calls=[ADD])],
            r"message 3 answers the tool call 'call_9'.*only 'call_1' were made.*give the AI",
        ),
    ],
)
def test_an_answer_without_its_call(before: list[BaseMessage], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        checked([*before, ToolMessage("3", tool_call_id="call_9")])
    late = [ToolMessage("3", tool_call_id="call_1"), AIMessage("", tool_calls=[ADD])]
    with pytest.raises(ValueError, match="no message before it made that call"):
        checked(late)


def test_what_is_no_conversation() -> None:
    with pytest.raises(ValueError, match="no messages"):
        checked([])
    with pytest.raises(ValueError, match="no messages"):
        as_dicts([])
    with pytest.raises(ValueError, match="message 2 is a RemoveMessage"):
        checked([HumanMessage("Hi"), RemoveMessage(id="1")])
    with pytest.raises(TypeError, match="message 2 is no message of LangChain: 'Hi'"):
        checked([HumanMessage("Hi"), "Hi"])  # type: ignore[list-item]

    class Odd(BaseMessage):
        type: str = "odd"

    with pytest.raises(ValueError, match=r"message 1 is a Odd.*ChatMessage\(role=...\)"):
        checked([Odd(content="Hi")])


@pytest.mark.parametrize(
    ("block", "reason"),
    [
        ({"type": "image", "url": "u"}, "an image block; leave it out, or use .* takes images"),
        ({"type": "image_url", "image_url": {"url": "u"}}, "an image block"),
        ({"type": "input_image", "image_url": "u"}, "an image block"),
        ({"type": "image", "source": {"type": "base64", "data": ""}}, "an image block"),
        ({"type": "audio", "base64": ""}, "an audio block; leave it out, or use .* takes audio$"),
        ({"type": "input_audio", "input_audio": {}}, "an audio block"),
        ({"type": "video", "url": "u"}, "a video block"),
        ({"type": "file", "file_id": "f"}, "a file block.*takes files"),
        ({"type": "input_file", "file_id": "f"}, "a file block"),
        ({"type": "document", "source": {}}, "a document block"),
        ({"type": "media", "data": ""}, "a media block"),
        ({"type": "text-plain", "url": "u"}, "a block of type 'text-plain', which is none"),
        ({"type": "hologram"}, "a block of type 'hologram', which is none"),
        ({"type": "text"}, "a block of type 'text', which is none"),
        ({"x": 1}, "a block of type None, which is none"),
        ({"type": "thinking", "thinking": "t"}, "a block of type 'thinking'"),
        ({"type": "tool_use", "id": "1", "name": "f", "input": {}}, "a block of type 'tool_use'"),
        ({"type": "tool_result", "tool_use_id": "1"}, "give it as a ToolMessage"),
    ],
)
def test_what_is_no_text(block: dict[str, Any], reason: str) -> None:
    content: list[Any] = [{"type": "text", "text": "See:"}, block]
    with pytest.raises(
        ValueError, match=f"message 2 has .*{reason.removeprefix('message 2 has ')}"
    ):
        checked([HumanMessage("Hi"), HumanMessage(content=content)])


@pytest.mark.parametrize(
    "block",
    [
        "Hi",
        {"type": "text", "text": "Hi"},
        {"type": "text", "text": "Hi", "cache_control": {"type": "ephemeral"}, "id": "1"},
        {"type": "input_text", "text": "Hi"},
        {"text": "Hi"},
        {"type": "text-plain", "text": "Hi", "mime_type": "text/plain"},
    ],
)
def test_texts(block: Any) -> None:
    message = HumanMessage(content=["Oh. ", block, "!"], id="7")
    (found,) = checked([message])
    assert found == HumanMessage("Oh. Hi!", id="7")
    assert message.content == ["Oh. ", block, "!"]


USE = {"type": "tool_use", "id": "call_1", "name": "add", "input": {"a": 1}}
FOREIGN = [
    pytest.param(
        [
            {"type": "thinking", "thinking": "Hm.", "signature": "s"},
            {"type": "text", "text": "Hi"},
            USE,
        ],
        id="Anthropic",
    ),
    pytest.param(
        [
            {"type": "reasoning", "id": "r", "summary": [{"type": "summary_text", "text": "Hm."}]},
            {"type": "output_text", "text": "Hi", "annotations": []},
            {
                "type": "function_call",
                "id": "fc_1",
                "call_id": "call_1",
                "name": "add",
                "arguments": '{"a": 1}',
            },
            {"type": "web_search_call", "id": "ws_1", "status": "completed"},
        ],
        id="OpenAI Responses",
    ),
    pytest.param(
        [
            {"type": "reasoning", "reasoning": "Hm."},
            {"type": "server_tool_call", "id": "s", "name": "web_search", "args": {}},
            {"type": "server_tool_result", "tool_call_id": "s", "status": "success"},
            {"type": "text", "text": "Hi"},
            {"type": "tool_call", "id": "call_1", "name": "add", "args": {"a": 1}},
        ],
        id="LangChain v1",
    ),
    pytest.param(
        [
            {"type": "reasoning_content", "reasoning_content": {"text": "Hm.", "signature": "s"}},
            {"type": "redacted_thinking", "data": "x"},
            {"type": "text", "text": "Hi"},
            USE,
        ],
        id="Bedrock",
    ),
]


@pytest.mark.parametrize("listed", [True, False])
@pytest.mark.parametrize("content", FOREIGN)
def test_answers_of_other_providers(content: list[Any], listed: bool) -> None:
    message = AIMessage(content=content, tool_calls=[ADD] if listed else [])
    answer = ToolMessage("3", tool_call_id="call_1")
    assert as_dicts([HumanMessage("1+2?"), message, answer])[1:] == [
        {
            "role": "assistant",
            "content": "Hi",
            "reasoning_content": "Hm.",
            "tool_calls": [call_dict(a=1)],
        },
        {"role": "tool", "content": "3", "tool_call_id": "call_1", "name": "add"},
    ]


def test_own_reasoning_goes_before_that_of_blocks() -> None:
    message = AIMessage(
        content=[{"type": "thinking", "thinking": "Hm."}],
        additional_kwargs={"reasoning_content": "Own."},
    )
    assert as_dicts([message]) == [
        {"role": "assistant", "content": "", "reasoning_content": "Own."}
    ]


def test_content_blocks_of_langchain() -> None:
    message = AIMessage(
        content_blocks=[
            {"type": "reasoning", "reasoning": "Hm."},
            {"type": "text", "text": "Hi"},
            {"type": "tool_call", "id": "call_1", "name": "add", "args": {"a": 1}},
        ]
    )
    (found,) = as_dicts([message])
    assert found["content"] == "Hi"
    assert found["reasoning_content"] == "Hm."
    assert found["tool_calls"] == [call_dict(a=1)]


def test_chunks() -> None:
    chunk = AIMessageChunk(
        content="Hi",
        tool_call_chunks=[{"name": "add", "args": '{"a": 1}', "id": "call_1", "index": 0}],
    )
    assert as_dicts([chunk])[0]["tool_calls"] == [call_dict(a=1)]


def test_calls_that_could_not_be_read() -> None:
    bad = InvalidToolCall(
        name="add", args='{"a": ', id="call_2", error="cut off", type="invalid_tool_call"
    )
    message = AIMessage("", tool_calls=[ADD], invalid_tool_calls=[bad])
    answer = ToolMessage("Error: cut off", tool_call_id="call_2", status="error")
    first, second = as_dicts([message, answer])
    assert first["tool_calls"] == [
        call_dict(a=1),
        call_dict("add", "call_2", invalid_arguments='{"a": '),
    ]
    assert second["name"] == "add"
    nameless = InvalidToolCall(name=None, args=None, id=None, error=None, type="invalid_tool_call")
    assert as_dicts([AIMessage("", invalid_tool_calls=[nameless])])[0]["tool_calls"] == [
        call_dict("unknown", "", invalid_arguments="")
    ]


def test_calls_of_functions_as_they_once_were() -> None:
    old = {"function_call": {"name": "add", "arguments": '{"a": 1}'}}
    messages = [AIMessage("", additional_kwargs=old), FunctionMessage("3", name="add")]
    assert as_dicts([HumanMessage("1+2?"), *messages])[1:] == [
        {"role": "assistant", "content": "", "tool_calls": [call_dict(id_="function_call_2", a=1)]},
        {"role": "tool", "content": "3", "tool_call_id": "function_call_2", "name": "add"},
    ]
    with pytest.raises(ValueError, match="message 1 answers the function 'add'"):
        checked(messages[1:])


# Properties

ARGS = st.dictionaries(st.text(max_size=5), st.one_of(st.none(), st.integers(), st.text()))
IDS = st.uuids().map(str)


@st.composite
def histories(draw: st.DrawFn) -> list[BaseMessage]:
    messages: list[BaseMessage] = []
    for kind in draw(st.lists(st.sampled_from(["human", "system", "ai", "tools"]), min_size=1)):
        text = draw(st.text())
        if kind == "human":
            messages.append(HumanMessage(text))
        elif kind == "system":
            messages.append(SystemMessage(content=[{"type": "text", "text": text}, "!"]))
        elif kind == "ai":
            messages.append(AIMessage(text))
        else:
            ids = draw(st.lists(IDS, min_size=1, max_size=3, unique=True))
            calls = [ToolCall(name="f", args=draw(ARGS), id=i, type="tool_call") for i in ids]
            messages.append(AIMessage(text, tool_calls=calls))
            status = draw(st.sampled_from(["success", "error"]))
            messages += [ToolMessage(text, tool_call_id=i, status=status) for i in ids]
    return messages


@given(messages=histories())
def test_every_history_keeps_what_it_says(messages: list[BaseMessage]) -> None:
    dicts = as_dicts(messages)
    assert as_dicts(checked(messages)) == dicts == as_dicts(messages)
    json.dumps(dicts)
    for message, one in zip(messages, dicts, strict=True):
        assert one["content"].endswith(message.text)
        calls = message.tool_calls if isinstance(message, AIMessage) else []
        assert [
            (call["id"], call["function"]["name"], call["function"]["arguments"])
            for call in one.get("tool_calls", ())
        ] == [(call["id"], call["name"], call["args"]) for call in calls]
        assert one.get("tool_call_id") == getattr(message, "tool_call_id", None)
        assert None not in one.values()


@pytest.mark.parametrize("family", ["chatml", "llama3", "mistral"])
@given(messages=histories())
def test_every_history_can_be_rendered(family: str, messages: list[BaseMessage]) -> None:
    prompt = ChatTemplate.named(family).render(as_dicts(messages))
    for message in messages:
        text = message.text.strip()
        assert text in prompt or json.dumps(text, ensure_ascii=False)[1:-1] in prompt
