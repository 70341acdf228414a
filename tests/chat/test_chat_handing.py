"""What a native `_chat` is handed, and what is told to it in words instead."""

from __future__ import annotations

import gc
import json
import weakref
from typing import Any

import pytest
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    HumanMessage,
    SystemMessage,
    ToolMessage,
)
from pydantic import Field

from langchain_wrap import LLM, ChatModel

WEATHER = {
    "name": "weather",
    "description": "Tell the weather.",
    "parameters": {
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": ["city"],
    },
}
CALL = '{"name": "weather", "arguments": {"city": "Oslo"}}'
SCHEMA = {"title": "A", "type": "object", "properties": {"a": {"type": "integer"}}}


class Recording(ChatModel):
    """Remembers what it was given, and says one thing after the other."""

    answers: list[Any] = Field(default_factory=lambda: ["ok"])
    seen: list[dict[str, Any]] = Field(default_factory=list)

    def note(self, messages, **given):
        self.seen.append({"messages": messages, **given})
        return self.answers[min(len(self.seen), len(self.answers)) - 1]


class Bare(Recording):
    def _chat(self, messages):
        return self.note(messages)


class WithTools(Recording):
    def _chat(self, messages, tools=None, tool_choice=None, parallel_tool_calls=None):
        return self.note(
            messages, tools=tools, tool_choice=tool_choice, parallel=parallel_tool_calls
        )


class WithSchema(Recording):
    def _chat(self, messages, json_schema=None):
        return self.note(messages, json_schema=json_schema)


class Partial(Recording):
    """Takes tools, and cannot be made to call one."""

    def _chat(self, messages, tools=None, json_schema=None):
        return self.note(messages, tools=tools, json_schema=json_schema)


def test_tools_and_choice_are_handed_over_where_they_are_taken():
    chat = WithTools()
    chat.bind_tools([WEATHER]).invoke("hi")
    (given,) = chat.seen
    assert [spec["function"]["name"] for spec in given["tools"]] == ["weather"]
    assert given["tool_choice"] == "auto"
    assert given["parallel"] is None
    assert given["messages"] == [HumanMessage("hi")]
    chat.bind_tools([WEATHER], tool_choice="weather", parallel_tool_calls=False).invoke("hi")
    assert chat.seen[1]["tool_choice"] == "weather"
    assert chat.seen[1]["parallel"] is False
    chat.bind_tools([WEATHER], tool_choice="none").invoke("hi")
    assert chat.seen[2]["tools"] is None


def test_tools_are_told_in_words_where_they_are_not_taken():
    chat = Bare(answers=[CALL])
    answer = chat.bind_tools([WEATHER]).invoke("hi")
    assert answer.tool_calls[0]["args"] == {"city": "Oslo"}
    assert '"weather"' in chat.seen[0]["messages"][0].text


def test_calls_of_a_history_stay_messages_where_tools_are_taken_and_become_words_elsewhere():
    history = [
        HumanMessage("hi"),
        AIMessage("", tool_calls=[{"name": "weather", "args": {"city": "Oslo"}, "id": "c1"}]),
        ToolMessage("sunny", tool_call_id="c1"),
    ]
    native, bare = WithTools(), Bare()
    native.invoke(history)
    bare.invoke(history)
    assert native.seen[0]["messages"] == history
    told = bare.seen[0]["messages"]
    assert [message.type for message in told] == ["human", "ai", "human"]
    assert "sunny" in told[2].text


def test_a_schema_is_handed_over_where_it_is_taken_and_told_elsewhere():
    native, bare = (WithSchema(answers=['{"a": 1}']), Bare(answers=['{"a": 1}']))
    for chat in (native, bare):
        assert chat.with_structured_output(SCHEMA).invoke("hi") == {"a": 1}
    assert native.seen[0]["json_schema"]["properties"] == SCHEMA["properties"]
    assert native.seen[0]["messages"] == [HumanMessage("hi")]
    assert '"integer"' in bare.seen[0]["messages"][0].text


@pytest.mark.parametrize("kind", [WithSchema, Partial])
def test_a_required_call_is_held_to_its_schema_where_that_is_the_one_way(kind):
    chat = kind(answers=[CALL])
    answer = chat.bind_tools([WEATHER], tool_choice="any").invoke("hi")
    assert answer.tool_calls[0]["name"] == "weather"
    (given,) = chat.seen
    assert json.dumps(given["json_schema"]).count('"weather"') == 1
    assert given.get("tools") is None


def test_a_required_call_is_asked_for_again_where_nothing_holds_the_model():
    chat = Bare(answers=["no", CALL])
    answer = chat.bind_tools([WEATHER], tool_choice="any").invoke("hi")
    assert answer.tool_calls[0]["name"] == "weather"
    assert [message.type for message in chat.seen[1]["messages"]][-2:] == ["ai", "human"]


class Parts(ChatModel):
    """Streams a call in parts that do not say which call they are of."""

    cut: bool = False

    def _chat(self, messages, tools=None):
        first = {"name": "weather", "args": '{"city": ', "id": "c1", "index": None}
        yield AIMessageChunk(content="", tool_call_chunks=[first])
        rest = {"name": None, "args": '"Os' if self.cut else '"Oslo"}', "id": None, "index": None}
        yield AIMessageChunk(content="", tool_call_chunks=[rest])
        if not self.cut:
            second = {"name": "weather", "args": "{}", "id": "c2", "index": None}
            yield AIMessageChunk(content="", tool_call_chunks=[second])


def test_parts_of_calls_without_a_number_are_put_together():
    chat = Parts().bind_tools([WEATHER])
    chunks = list(chat.stream("hi"))
    for answer in (chat.invoke("hi"), chunks[0] + chunks[1:]):
        assert [(c["id"], c["args"]) for c in answer.tool_calls] == [
            ("c1", {"city": "Oslo"}),
            ("c2", {}),
        ]


def test_a_native_call_that_is_cut_off_is_never_taken_for_a_call():
    chat = Parts(cut=True).bind_tools([WEATHER])
    chunks = list(chat.stream("hi"))
    for answer in (chat.invoke("hi"), chunks[0] + chunks[1:]):
        assert answer.tool_calls == []
        assert [c["name"] for c in answer.invalid_tool_calls] == ["weather"]


def test_media_are_refused_unless_the_model_takes_them():
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA"}}
    asked = [HumanMessage([{"type": "text", "text": "see"}, image])]
    with pytest.raises(ValueError, match="image"):
        Bare().invoke(asked)
    chat = Bare(takes=("image",))
    chat.invoke(asked)
    assert chat.seen[0]["messages"][0].content[1]["type"] == "image_url"


def test_media_stay_where_words_are_added_or_take_the_place_of_calls():
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA"}}
    see = [{"type": "text", "text": "see"}, image]
    call = {"name": "weather", "args": {}, "id": "c1"}
    asked = [
        SystemMessage(see),
        HumanMessage(see),
        AIMessage(see, tool_calls=[call]),
        ToolMessage(see, tool_call_id="c1"),
    ]
    for given in (asked, asked[1:]):
        chat = Bare(takes=("image",))
        chat.bind_tools([WEATHER]).invoke(given)
        seen = [message for message in chat.seen[0]["messages"] if message.text != "Be brief."]
        assert len(seen) >= len(given)
        for message in seen[-len(given) :]:
            assert image in message.content
            assert message.text.count("see") == 1


class Whole(ChatModel):
    """Gives each call in a message of its own, and one in its text."""

    def _chat(self, messages):
        yield AIMessage("", tool_calls=[{"name": "weather", "args": {"city": "A"}, "id": "c1"}])
        yield CALL
        yield AIMessage("", tool_calls=[{"name": "weather", "args": {"city": "B"}, "id": "c2"}])


def test_calls_of_several_messages_and_of_the_text_are_kept_apart():
    chat = Whole().bind_tools([WEATHER])
    chunks = list(chat.stream("hi"))
    in_text = json.loads(CALL)["arguments"]
    for answer in (chat.invoke("hi"), chunks[0] + chunks[1:]):
        assert answer.invalid_tool_calls == []
        found = [call["args"] for call in answer.tool_calls]
        assert found == [{"city": "A"}, in_text, {"city": "B"}]


class Both(LLM):
    """A plain LLM that has a chat of its own too."""

    def _call(self, prompt):
        return f"prompt: {prompt}"

    def _chat(self, messages):
        return f"{len(messages)} messages"


def test_an_llm_with_a_chat_of_its_own_stays_an_llm():
    llm = Both()
    assert llm.invoke("hi") == "prompt: hi"
    assert llm.as_chat().invoke("hi").text == "1 messages"
    assert llm.as_chat(template="{{ messages[0].content }}").invoke("hi").text == "prompt: hi"


@pytest.mark.parametrize("make", [Bare, lambda: Both().as_chat()])
def test_a_call_does_not_keep_the_model(make):
    chat = make()
    kept = weakref.ref(chat)
    chat.invoke("hi")
    del chat
    gc.collect()
    assert kept() is None


def test_a_call_does_not_keep_the_llm_behind_a_chat():
    llm = Both()
    kept = weakref.ref(llm)
    llm.as_chat().invoke("hi")
    del llm
    gc.collect()
    assert kept() is None
