"""The chat face over an HTTP endpoint that has a chat of its own."""

from __future__ import annotations

import json

import pytest
from http_helpers import serving
from langchain_core.messages import HumanMessage
from langchain_core.tools import tool

from langchain_wrap.models import HTTPEndpoint

IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
USAGE = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}


@tool
def weather(city: str) -> str:
    """Tell the weather of a city."""
    return "sunny"


def events(*deltas, reason="stop"):
    """A stream in the way of OpenAI."""
    choices = [{"index": 0, "delta": delta, "finish_reason": None} for delta in deltas]
    choices.append({"index": 0, "delta": {}, "finish_reason": reason})
    parts = [{"model": "m1", "choices": [choice]} for choice in choices]
    parts.append({"model": "m1", "choices": [], "usage": USAGE})
    return [*(f"data: {json.dumps(part)}\n\n" for part in parts), "data: [DONE]\n\n"]


def called(*args):
    first = {"index": 0, "id": "c1", "function": {"name": "weather", "arguments": args[0]}}
    rest = [{"index": 0, "function": {"arguments": each}} for each in args[1:]]
    return events(*({"tool_calls": [each]} for each in [first, *rest]), reason="tool_calls")


def openai(server, **fields):
    return HTTPEndpoint.openai(f"{server.url}/v1", "m1", **fields)


async def test_it_streams_with_usage_and_name():
    with serving(lambda talk: talk.stream(*events({"content": "one "}, {"content": "two"}))) as s:
        chat = openai(s).as_chat()
        parts = [chunk async for chunk in chat.astream("hi")]
        assert [part.text for part in parts if part.text] == ["one ", "two"]
        answer = chat.invoke("hi")
        assert answer.text == "one two"
        assert answer.usage_metadata["total_tokens"] == 5
        assert answer.response_metadata["model_name"] == "m1"
        assert openai(s, stop=["two"]).as_chat().invoke("hi").text == "one "


async def test_tool_calls_come_and_go():
    with serving(lambda talk: talk.stream(*called('{"city": ', '"Oslo"}'))) as s:
        chat = openai(s).as_chat().bind_tools([weather], tool_choice="any")
        parts = [chunk async for chunk in chat.astream("hi")]
        assert (parts[0] + parts[1:]).tool_calls[0]["args"] == {"city": "Oslo"}
        assert chat.invoke("hi").tool_calls[0]["id"] == "c1"
        assert s.requests[-1].json["tool_choice"] == "required"


def test_a_call_that_is_cut_off_is_never_taken_for_a_call():
    with serving(lambda talk: talk.stream(*called('{"city": "Os'))) as s:
        answer = openai(s).as_chat().bind_tools([weather]).invoke("hi")
    assert answer.tool_calls == []
    assert answer.invalid_tool_calls[0]["name"] == "weather"


def test_images_go_where_they_are_taken():
    asked = [HumanMessage([{"type": "text", "text": "see"}, IMAGE])]
    with serving(lambda talk: talk.stream(*events({"content": "a cat"}))) as s:
        with pytest.raises(ValueError, match="takes text"):
            openai(s).as_chat().invoke(asked)
        chat = openai(s, chat={"takes": ("text", "image")}).as_chat()
        assert chat.invoke(asked).text == "a cat"
        assert s.requests[-1].json["messages"][0]["content"][1]["type"] == "image_url"


def test_a_required_call_of_ollama_is_held_to_its_schema():
    said = json.dumps({"name": "weather", "arguments": {"city": "Oslo"}})
    answer = {"model": "m", "message": {"role": "assistant", "content": said}, "done": True}

    with serving(lambda talk: talk.stream(json.dumps(answer) + "\n")) as s:
        chat = HTTPEndpoint.ollama(s.url, "m").as_chat().bind_tools([weather], tool_choice="any")
        assert chat.invoke("hi").tool_calls[0]["args"] == {"city": "Oslo"}
        body = s.requests[-1].json
    assert "weather" in json.dumps(body["format"])
    assert "tools" not in body


def test_tokens_are_not_counted_where_the_endpoint_has_nothing_to_count_them_by():
    with serving(lambda talk: talk.whole({"text": "fine"})) as s:
        answer = s.endpoint(text="text", stream=None).as_chat().invoke("hi")
    assert answer.text == "fine"
    assert answer.usage_metadata is None
