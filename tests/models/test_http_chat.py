"""Native chat in OpenAI's dialect, against servers that answer as real ones do, and otherwise."""

from __future__ import annotations

import asyncio
import gzip
import inspect
import itertools
import json
import time

import pytest
from http_helpers import chatted, merged, serving
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from langchain_core import exceptions
from langchain_core.exceptions import (
    ContextOverflowError,
    ModelAPIError,
    ModelConnectionError,
    ModelError,
    ModelRateLimitError,
    ModelTimeoutError,
)
from langchain_core.messages import (
    AIMessage,
    ChatMessage,
    HumanMessage,
    RemoveMessage,
    SystemMessage,
    ToolMessage,
)
from llama_helpers import eventually
from pydantic import ValidationError

from langchain_wrap.models import HTTPEndpoint, http_exchange
from langchain_wrap.models.http_chat import ChatFormat

KEY = "sk-a1b2c3d4e5f6"
WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    },
}
TIME = {"type": "function", "function": {"name": "time", "parameters": {"type": "object"}}}
HEAD = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "m-2024"}
USAGE = {
    "prompt_tokens": 9,
    "completion_tokens": 4,
    "total_tokens": 13,
    "prompt_tokens_details": {"cached_tokens": 5},
    "completion_tokens_details": {"reasoning_tokens": 2},
}
FACTS = {"model_name": "m-2024", "finish_reason": "stop"}
COUNTED = {
    "input_tokens": 9,
    "output_tokens": 4,
    "total_tokens": 13,
    "input_token_details": {"cache_read": 5},
    "output_token_details": {"reasoning": 2},
}
DONE = "data: [DONE]\n\n"


def event(value):
    return f"data: {json.dumps(value, ensure_ascii=False)}\n\n"


def delta(reason=None, **said):
    return event({**HEAD, "choices": [{"index": 0, "delta": said, "finish_reason": reason}]})


def deltas(*said, reason="stop", usage=USAGE):
    last = [event({**HEAD, "choices": [], "usage": usage})] if usage else []
    return [*(delta(**one) for one in said), delta(reason), *last, DONE]


def whole(reason="stop", usage=USAGE, **said):
    message = {"role": "assistant", "content": None, **said}
    choice = {"index": 0, "message": message, "finish_reason": reason}
    return {**HEAD, "object": "chat.completion", "choices": [choice], "usage": usage}


def openai(server, **fields):
    return HTTPEndpoint.openai(
        server.url + "/v1", fields.pop("model", "m"), trust_env=False, **fields
    )


async def answered(*parts, given=(), **fields):
    """Return the chunks of a streamed answer."""
    with serving(lambda talk: talk.stream(*parts)) as server:
        return await chatted(openai(server, **fields), **dict(given))


async def sent(messages="hi", *, fields=(), **given):
    """Return the body that is sent for a chat."""
    with serving(lambda talk: talk.stream(*deltas({"content": "a"}))) as server:
        await chatted(openai(server, **dict(fields)), messages, **given)
        (request,) = server.requests
        assert request.path == "/v1/chat/completions"
        return request.json


# --- what it is ---


def test_who_chats():
    assert HTTPEndpoint.openai("http://h/v1", "m")._chats_natively
    assert not HTTPEndpoint.openai("http://h/v1", "m", chat=None)._chats_natively
    plain = HTTPEndpoint("http://h/v1")
    assert not plain._chats_natively
    assert not plain._chat_does
    with pytest.raises(NotImplementedError, match="declare one: chat="):
        asyncio.run(chatted(plain))
    assert inspect.isasyncgenfunction(plain._chat)


def test_where_presets_chat():
    for llm, url, does in (
        (HTTPEndpoint.openai("http://h/v1/"), "http://h/v1/chat/completions", 3),
        (HTTPEndpoint.llama_server("http://h/"), "http://h/v1/chat/completions", 2),
        (HTTPEndpoint.tgi("http://h"), "http://h/v1/chat/completions", 3),
        (HTTPEndpoint.ollama("http://h/", "m"), "http://h/api/chat", 2),
    ):
        assert llm.chat.url == url
        assert len(llm._chat_does) == does
        assert set(llm._chat_does) <= {"tools", "tool_choice", "json_schema"}


def test_a_part_of_a_preset_may_be_said_otherwise():
    llm = HTTPEndpoint.openai("http://h/v1", chat={"takes": ("text", "image"), "native": []})
    assert llm.chat.url == "http://h/v1/chat/completions"
    assert llm.chat.takes == ("text", "image")
    assert llm._chat_does == frozenset()
    form = ChatFormat(dialect="ollama", url="http://x/api/chat")
    assert HTTPEndpoint.openai("http://h/v1", chat=form).chat == form


@pytest.mark.parametrize(
    "chat",
    [
        {"dialect": "other", "url": "http://h"},
        {"dialect": "openai"},
        {"dialect": "openai", "url": "h"},
        {"dialect": "openai", "url": "http://h", "takes": ["image"]},
        {"dialect": "openai", "url": "http://h", "takes": ["text", "audio"]},
        {"dialect": "openai", "url": "http://h", "more": 1},
        {"dialect": "openai", "url": "http://h", "native": ["all"]},
    ],
)
def test_declarations_that_are_wrong(chat):
    with pytest.raises(ValidationError):
        HTTPEndpoint("http://h", chat=chat)


async def test_the_same_object_completes_and_chats():
    def answer(talk):
        if talk.request.path == "/v1/completions":
            talk.whole({"choices": [{"text": "completed", "index": 0}]})
        else:
            talk.stream(*deltas({"content": "chatted"}))

    with serving(answer) as server:
        llm = openai(server)
        assert llm.invoke("p") == "completed"
        assert merged(await chatted(llm)).text == "chatted"


# --- what is sent ---


async def test_a_request():
    assert await sent(
        [SystemMessage("Be brief."), HumanMessage("hi")],
        stop=["\n"],
        temperature=0,
        top_k=3,
        fields={"params": {"max_tokens": 5, "temperature": 1}, "api_key": KEY},
    ) == {
        "model": "m",
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "hi"},
        ],
        "stop": ["\n"],
        "temperature": 0,
        "top_k": 3,
        "max_tokens": 5,
        "stream": True,
        "stream_options": {"include_usage": True},
    }


async def test_the_key_is_sent():
    with serving(lambda talk: talk.stream(*deltas({"content": "a"}))) as server:
        await chatted(openai(server, api_key=KEY))
        assert server.requests[0].headers["authorization"] == f"Bearer {KEY}"
        assert server.requests[0].headers["accept-encoding"] == "identity"


@pytest.mark.parametrize(
    ("choice", "tools", "told"),
    [
        (None, [WEATHER, TIME], None),
        ("auto", [WEATHER, TIME], "auto"),
        ("any", [WEATHER, TIME], "required"),
        ("none", [WEATHER, TIME], "none"),
        ("time", [TIME], {"type": "function", "function": {"name": "time"}}),
    ],
)
async def test_tools(choice, tools, told):
    body = await sent(tools=[WEATHER, TIME], tool_choice=choice, parallel_tool_calls=False)
    assert body["tools"] == tools
    assert body.get("tool_choice") == told
    assert body["parallel_tool_calls"] is False


async def test_no_tools_and_no_choice():
    for choice in (None, "auto", "none"):
        body = await sent(tools=[], tool_choice=choice)
        assert "tools" not in body
        assert "tool_choice" not in body


@pytest.mark.parametrize(("tools", "choice"), [([WEATHER], "whether"), ([], "any"), (None, "x")])
async def test_a_choice_of_nothing(tools, choice):
    with pytest.raises(ValueError, match=f"tool_choice is '{choice}', and there is no such tool"):
        await chatted(HTTPEndpoint.openai("http://h/v1"), tools=tools, tool_choice=choice)


@pytest.mark.parametrize(
    ("title", "name"),
    [(None, "answer"), ("Joke", "Joke"), ("A joke, ü!", "A_joke_"), ("ü" * 99, "_")],
)
async def test_a_schema(title, name):
    schema = {"type": "object", "properties": {}, **({"title": title} if title else {})}
    body = await sent(json_schema=schema)
    assert body["response_format"] == {
        "type": "json_schema",
        "json_schema": {"name": name, "schema": schema, "strict": True},
    }


async def test_any_object():
    body = await sent(json_schema={"type": "object"})
    assert body["response_format"] == {"type": "json_object"}


async def test_a_schema_and_a_format():
    assert (await sent(response_format={"type": "text"}))["response_format"] == {"type": "text"}
    with pytest.raises(ValueError, match="'response_format' stands for what is asked already"):
        await sent(json_schema={}, response_format={"type": "text"})


async def test_parameters_that_are_not_declared():
    with pytest.raises(
        TypeError,
        match=r"the chat of HTTPEndpoint takes no parameter 'temprature'.*mean 'temperature'\?",
    ):
        await sent(temprature=0)
    with pytest.raises(TypeError, match="no parameter 'best_of'"):  # of completions alone
        await sent(fields={"params": {"best_of": 2}})
    assert (await sent(own=1, fields={"body_params": ["own"]}))["own"] == 1


async def test_names_of_a_preset():
    with serving(lambda talk: talk.stream(*deltas({"content": "a"}))) as server:
        for llm, name in (
            (HTTPEndpoint.llama_server(server.url, trust_env=False), "n_predict"),
            (HTTPEndpoint.tgi(server.url, trust_env=False), "max_new_tokens"),
        ):
            set_before = llm.model_copy(update={"params": {name: 1}})
            for one, params in (
                (llm, {name: 2}),
                (set_before, {}),
                (set_before, {"max_tokens": 3}),
            ):
                await chatted(one, **params)
            with pytest.raises(
                TypeError, match=f"'{name}' and 'max_tokens' are the same|'max_tokens' and"
            ):
                await chatted(llm, **{"max_tokens": 1, name: 2})
        asked = [(r.path, r.json["max_tokens"]) for r in server.requests]
        assert asked == [("/v1/chat/completions", n) for n in (2, 1, 3, 2, 1, 3)]


async def test_another_body():
    chat = {"body": {"service": "{service}", "fixed": 1}, "stream_body": {"stream": True}}
    assert await sent(service="x", fields={"chat": chat, "model": None}) == {
        "messages": [{"role": "user", "content": "hi"}],
        "service": "x",
        "fixed": 1,
        "stream": True,
    }


# --- histories ---

CALL = {"name": "weather", "args": {"city": "Zürich"}, "id": "c1", "type": "tool_call"}
WIRE_CALL = {
    "id": "c1",
    "type": "function",
    "function": {"name": "weather", "arguments": '{"city": "Zürich"}'},
}
DATA = "data:image/png;base64,AAAA"
SEEN = {"chat": {"takes": ("text", "image")}}


async def test_tool_calls_and_answers():
    messages = [
        HumanMessage("?", name="ann"),
        AIMessage("I look.", tool_calls=[CALL]),
        ToolMessage("sunny", tool_call_id="c1", name="weather"),
        AIMessage("", tool_calls=[{**CALL, "id": "c2"}]),
        ToolMessage("down", tool_call_id="c2", status="error"),
        AIMessage("", tool_calls=[{**CALL, "id": "c3"}]),
        ToolMessage([{"type": "text", "text": "error: x"}], tool_call_id="c3", status="error"),
        ChatMessage(role="developer", content="Go on."),
    ]
    assert (await sent(messages))["messages"] == [
        {"role": "user", "content": "?", "name": "ann"},
        {"role": "assistant", "content": "I look.", "tool_calls": [WIRE_CALL]},
        {"role": "tool", "content": "sunny", "tool_call_id": "c1"},
        {"role": "assistant", "content": None, "tool_calls": [{**WIRE_CALL, "id": "c2"}]},
        {"role": "tool", "content": "Error: down", "tool_call_id": "c2"},
        {"role": "assistant", "content": None, "tool_calls": [{**WIRE_CALL, "id": "c3"}]},
        {"role": "tool", "content": "error: x", "tool_call_id": "c3"},
        {"role": "developer", "content": "Go on."},
    ]


@pytest.mark.parametrize(
    "content",
    [
        [{"type": "thinking", "thinking": "hm", "signature": "x"}, {"type": "text", "text": "I "},
         {"type": "redacted_thinking", "data": "x"}, "look.",
         {"type": "tool_use", "id": "c1", "name": "weather", "input": {"city": "Zürich"}}],
        [{"type": "reasoning", "reasoning": "hm"}, {"type": "text", "text": "I look."},
         {"type": "tool_call", "id": "c1", "name": "weather", "args": {"city": "Zürich"}}],
        [{"type": "reasoning", "summary": []}, {"type": "output_text", "text": "I look."},
         {"type": "function_call", "id": "fc", "call_id": "c1", "name": "weather",
          "arguments": '{"city": "Zürich"}'}],
    ],
)  # fmt: skip
@pytest.mark.parametrize("listed", [True, False])
async def test_answers_of_other_providers(content, listed):
    message = AIMessage(content, tool_calls=[CALL] if listed else [])
    message = message.model_copy(update={"additional_kwargs": {"reasoning_content": "hm"}})
    body = await sent([HumanMessage("?"), message, ToolMessage("sunny", tool_call_id="c1")])
    assert body["messages"][1] == {
        "role": "assistant", "content": "I look.", "tool_calls": [WIRE_CALL],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("args", "told"),
    [
        ('{"city": ', '{"invalid_arguments": "{\\"city\\": "}'),
        ("[1]", '{"invalid_arguments": [1]}'),
        ("", "{}"),
        (None, "{}"),
        ('{"a": "ü"}', '{"a": "ü"}'),
    ],
)
async def test_calls_that_were_wrong_are_sent_as_objects(args, told):
    """llama-server and vLLM answer 500 or 400 to arguments in a history that are no JSON."""
    wrong = {"name": "weather", "args": args, "id": "c1", "error": "x", "type": "invalid_tool_call"}
    messages = [
        HumanMessage("?"),
        AIMessage("", invalid_tool_calls=[wrong]),
        ToolMessage("again", tool_call_id="c1", status="error"),
    ]
    (call,) = (await sent(messages))["messages"][1]["tool_calls"]
    assert call["function"] == {"name": "weather", "arguments": told}


async def test_an_answer_of_ours_can_be_sent_back():
    calls = [{"index": 0, "id": "c1", "function": {"name": "weather", "arguments": "{}"}}]
    chunks = await answered(
        *deltas({"reasoning_content": "hm", "content": "I"}, {"tool_calls": calls})
    )
    messages = [HumanMessage("?"), merged(chunks), ToolMessage("s", tool_call_id="c1")]
    function = {"name": "weather", "arguments": "{}"}
    assert (await sent(messages))["messages"][1] == {
        "role": "assistant",
        "content": "I",
        "tool_calls": [{"id": "c1", "type": "function", "function": function}],
    }


@pytest.mark.parametrize(
    "block",
    [
        {"type": "image_url", "image_url": DATA},
        {"type": "image_url", "image_url": {"url": DATA}},
        {"type": "image", "base64": "AAAA", "mime_type": "image/png"},
        {"type": "image", "source_type": "base64", "data": "AAAA", "mime_type": "image/png"},
        {"type": "image", "url": DATA},
        {"type": "input_image", "image_url": DATA},
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}},
        {"type": "image", "source": {"type": "url", "url": DATA}},
        {"image": {"format": "png", "source": {"bytes": b"\0\0\0"}}},
        {"type": "media", "mime_type": "image/png", "data": b"\0\0\0"},
    ],
)
async def test_images(block):
    messages = [HumanMessage(["What is ", block, {"type": "text", "text": "?"}])]
    assert (await sent(messages, fields=SEEN))["messages"][0]["content"] == [
        {"type": "text", "text": "What is "},
        {"type": "image_url", "image_url": {"url": DATA}},
        {"type": "text", "text": "?"},
    ]
    with pytest.raises(
        ValueError, match="this model takes text; message 1 has an image block; leave"
    ):
        await sent(messages)


async def test_the_detail_of_an_image():
    part = {"type": "image_url", "image_url": {"url": "http://x/y.png", "detail": "low"}}
    assert (await sent([HumanMessage([part])], fields=SEEN))["messages"][0]["content"] == [part]


@pytest.mark.parametrize(
    ("block", "words"),
    [
        (
            {"type": "audio", "base64": "A", "mime_type": "audio/wav"},
            "message 1 has an audio block",
        ),
        ({"type": "input_audio", "input_audio": {}}, "has an input_audio block"),
        ({"type": "video", "url": "x"}, "text and image; message 1 has a video block"),
        ({"type": "file", "file_id": "x"}, "has a file block"),
        ({"type": "image", "file_id": "x"}, "image block that cannot be read"),
        ({"type": "image", "base64": "A"}, "image block that cannot be read: mime_type"),
        ({"type": "non_standard", "value": {}}, "has a non_standard block"),
        ({"type": "tool_use", "id": "a", "name": "b", "input": {}}, "has a tool_use block"),
        ({"type": "text"}, "has a text block"),
        ({}, "has a nameless block"),
    ],
)
async def test_blocks_that_are_not_taken(block, words):
    with pytest.raises(ValueError, match=words):
        await sent([HumanMessage([block])], fields=SEEN)


@pytest.mark.parametrize(
    ("messages", "words"),
    [
        ([], "there are no messages"),
        ([HumanMessage("a"), ToolMessage("b", tool_call_id="zz")], "message 2 answers .* 'zz'"),
        ([RemoveMessage(id="1")], "message 1 is of the type 'remove'"),
        ([HumanMessage("\ud83d")], "lone surrogate"),
    ],
)
async def test_histories_that_are_none(messages, words):
    with pytest.raises(ValueError, match=words):
        await sent(messages)


# --- answers ---


async def test_a_stream():
    chunks = await answered(
        *deltas({"role": "assistant", "content": ""}, {"content": "Hé"}, {"content": "☃🙂"})
    )
    assert [chunk.content for chunk in chunks] == ["Hé", "☃🙂", ""]
    assert [bool(chunk.response_metadata) for chunk in chunks] == [False, False, True]
    assert chunks[-1].response_metadata == FACTS
    assert chunks[-1].usage_metadata == COUNTED
    assert merged(chunks).usage_metadata == COUNTED


async def test_a_whole_answer():
    with serving(lambda talk: talk.whole(whole(content="Hé"))) as server:
        (chunk,) = await chatted(openai(server, stream=None))
        assert "stream" not in server.requests[0].json
    assert chunk.content == "Hé"
    assert chunk.response_metadata == FACTS
    assert chunk.usage_metadata == COUNTED


@pytest.mark.parametrize("streams", [True, False])
async def test_whether_it_streams(streams):
    answer = deltas({"content": "a"})
    with serving(lambda t: t.stream(*answer) if streams else t.whole(whole(content="a"))) as server:
        form = {"dialect": "openai", "url": server.url + "/c", "streams": streams}
        llm = server.endpoint(chat=form, stream=None if streams else {})
        assert merged(await chatted(llm)).text == "a"
        assert server.requests[0].json.get("stream", False) is streams


@pytest.mark.parametrize("field", ["reasoning_content", "reasoning"])
async def test_reasoning(field):
    chunks = await answered(
        *deltas({field: "I "}, {field: "think"}, {"content": "42", field: None})
    )
    message = merged(chunks)
    assert message.content == "42"
    assert message.additional_kwargs == {"reasoning_content": "I think"}
    assert [block["type"] for block in message.content_blocks] == ["reasoning", "text"]


async def test_content_in_parts():
    """Mistral's reasoning models answer so."""
    thought = {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}
    with serving(
        lambda t: t.whole(whole(content=[thought, {"type": "text", "text": "42"}]))
    ) as server:
        (chunk,) = await chatted(openai(server, stream=None))
    assert chunk.content == "42"
    assert chunk.additional_kwargs == {"reasoning_content": "hm"}


async def test_no_usage_and_no_reason():
    chunks = await answered(delta(content="a"), delta(content="b"))
    assert merged(chunks).content == "ab"
    assert chunks[-1].response_metadata == {"model_name": "m-2024"}
    assert chunks[-1].usage_metadata is None


async def test_usage_in_every_event():
    choices = [{"delta": {"content": "a"}}]
    counts = [{**USAGE, "completion_tokens": n} for n in (1, 2)]
    parts = [event({**HEAD, "choices": choices, "usage": usage}) for usage in counts]
    chunks = await answered(*parts, delta("eos_token"), DONE)
    assert merged(chunks).usage_metadata["output_tokens"] == 2
    assert merged(chunks).response_metadata["finish_reason"] == "stop"


async def test_the_model_that_was_asked_where_none_is_told():
    said = {"choices": [{"delta": {"content": "a"}}]}
    chunks = await answered(event(said), given={"model": "other"})
    assert chunks[-1].response_metadata == {"model_name": "other"}


async def test_other_choices_are_passed_over():
    other = event({"choices": [{"index": 1, "delta": {"content": "no"}}]})
    chunks = await answered(other, delta(content="yes"), other, DONE)
    assert merged(chunks).content == "yes"


@pytest.mark.parametrize("streamed", [True, False])
async def test_a_refusal(streamed):
    said = [{"refusal": "I "}, {"refusal": "must not."}]

    def answer(talk):
        if streamed:
            talk.stream(*deltas(*said))
        else:
            talk.whole(whole(refusal="I must not."))

    with serving(answer) as server:
        llm = openai(server, **({} if streamed else {"stream": None}))
        message = merged(await chatted(llm))
        assert message.content == "I must not."
        assert message.additional_kwargs == {"refusal": "I must not."}
        kind = getattr(exceptions, "ModelRefusalError", None)
        if kind is None:
            assert merged(await chatted(llm, json_schema={})).content == "I must not."
        else:
            with pytest.raises(kind, match="has refused: I must not") as caught:
                await chatted(llm, json_schema={})
            assert caught.value.partial_text == "I must not."


# --- calls ---


def part(index=None, id=None, name=None, arguments=None):
    function = {"name": name, "arguments": arguments}
    found = {"index": index, "id": id, "type": "function", "function": function}
    function = {k: v for k, v in function.items() if v is not None}
    return {k: v for k, v in {**found, "function": function}.items() if v is not None}


TWO = [
    {"id": "a", "name": "weather", "args": {"city": "Ü"}, "type": "tool_call"},
    {"id": "b", "name": "time", "args": {}, "type": "tool_call"},
]


@pytest.mark.parametrize(
    "parts",
    [
        # OpenAI
        [part(0, "a", "weather", ""), part(0, arguments='{"ci'), part(0, arguments='ty": "Ü"}'),
         part(1, "b", "time", ""), part(1, arguments="{}")],
        # no arguments at all
        [part(0, "a", "weather", '{"city": "Ü"}'), part(1, "b", "time")],
        # interleaved
        [part(0, "a", "weather", ""), part(1, "b", "time", ""), part(0, arguments='{"city"'),
         part(1, arguments="{"), part(0, arguments=': "Ü"}'), part(1, arguments="}")],
        # id and name repeated
        [part(0, "a", "weather", '{"city":'), part(0, "a", "weather", '"Ü"}'),
         part(1, "b", "time")],
        # another id with every part
        [part(0, "a", "weather", '{"city":'), part(0, "z", None, '"Ü"}'), part(1, "b", "time")],
        # empty id and name with every part
        [part(0, "a", "weather", '{"city":'), part(0, "", "", '"Ü"}'), part(1, "b", "time")],
        # whole calls, all with the index 0
        [part(0, "a", "weather", '{"city": "Ü"}'), part(0, "b", "time", "{}")],
        # no index
        [part(None, "a", "weather", '{"city":'), part(None, arguments='"Ü"}'),
         part(None, "b", "time", "{}")],
        # from 1 on
        [part(1, "a", "weather", '{"city": "Ü"}'), part(2, "b", "time", "{}")],
        # objects
        [part(0, "a", "weather", {"city": "Ü"}), part(1, "b", "time", {})],
    ],
)  # fmt: skip
@pytest.mark.parametrize("together", [False, True])
async def test_calls(parts, together):
    said = [{"tool_calls": parts}] if together else [{"tool_calls": [one]} for one in parts]
    chunks = await answered(*deltas({"content": "I look."}, *said, reason="tool_calls"))
    message = merged(chunks)
    assert message.content == "I look."
    assert message.tool_calls == TWO
    assert not message.invalid_tool_calls
    assert [chunk["index"] for chunk in message.tool_call_chunks] == [0, 1]
    assert message.response_metadata["finish_reason"] == "tool_calls"


async def test_calls_go_out_as_they_come():
    said = [part(0, "a", "weather", ""), part(0, arguments='{"ci'), part(0, arguments='ty": 1}')]
    chunks = await answered(*deltas(*({"tool_calls": [one]} for one in said)))
    told = [c for chunk in chunks for c in chunk.tool_call_chunks]
    assert [(c["index"], c["id"], c["name"], c["args"]) for c in told] == [
        (0, "a", "weather", ""),
        (0, None, None, '{"ci'),
        (0, None, None, 'ty": 1}'),
    ]


async def test_calls_without_ids():
    said = [
        part(0, name="weather", arguments="{"),
        part(0, arguments="}"),
        part(1, "", "time", "{}"),
    ]
    message = merged(await answered(*deltas({"tool_calls": said})))
    ids = [call["id"] for call in message.tool_calls]
    assert len(set(ids)) == 2
    assert all(id.startswith("call_") and len(id) == 29 for id in ids)


async def test_a_whole_answer_with_calls():
    calls = [part(None, "a", "weather", '{"city": "Ü"}'), part(None, "b", "time", "{}")]
    with serving(lambda talk: talk.whole(whole(content="", tool_calls=calls))) as server:
        (chunk,) = await chatted(openai(server, stream=None))
    assert chunk.tool_calls == TWO


async def test_calls_of_tgi():
    """All have the same id, and arguments that are objects; it streams a call alone."""
    calls = [part(None, "0", "weather", {"city": "Ü"}), part(None, "0", "time", {})]
    with serving(lambda talk: talk.whole(whole(tool_calls=calls))) as server:
        (chunk,) = await chatted(HTTPEndpoint.tgi(server.url, stream=None, trust_env=False))
    assert [(call["name"], call["args"]) for call in chunk.tool_calls] == [
        ("weather", {"city": "Ü"}), ("time", {}),
    ]  # fmt: skip
    assert len({call["id"] for call in chunk.tool_calls}) == 2
    said = [part(0, "", "weather", ""), part(0, "", None, '{"city": "Ü"}')]
    chunks = await answered(*deltas(*({"tool_calls": one} for one in said)))
    assert merged(chunks).tool_calls[0]["args"] == {"city": "Ü"}


async def test_a_call_that_was_cut_off_says_so():
    said = [part(0, "a", "weather", '{"city": "Zür')]
    message = merged(await answered(*deltas({"tool_calls": said}, reason="length")))
    assert message.response_metadata["finish_reason"] == "length"
    assert message.tool_call_chunks[0]["args"] == '{"city": "Zür'


JSONS = st.dictionaries(st.text(max_size=5), st.text(max_size=9) | st.integers(), max_size=3)


@settings(deadline=None, max_examples=40, suppress_health_check=list(HealthCheck))
@given(st.lists(st.tuples(st.text("abc_", min_size=1, max_size=5), JSONS), max_size=3), st.data())
def test_any_calls_however_they_are_cut(cut_server, calls, data):
    parts = []
    for index, (name, args) in enumerate(calls):
        text = json.dumps(args)
        cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=4)))
        parts.append(part(index, f"id{index}", name, ""))
        parts += [
            part(index, arguments=text[a:b]) for a, b in itertools.pairwise([0, *cuts, len(text)])
        ]
    said = [{"content": "x"}, *({"tool_calls": [one]} for one in parts)]
    cut_server.parts = deltas(*said)
    message = merged(asyncio.run(chatted(openai(cut_server))))
    found = [(call["id"], call["name"], call["args"]) for call in message.tool_calls]
    assert found == [(f"id{n}", name, args) for n, (name, args) in enumerate(calls)]


@pytest.fixture(scope="module")
def cut_server():
    with serving(lambda talk: talk.stream(*server.parts)) as server:
        yield server


# --- what goes wrong ---


@pytest.mark.parametrize("streamed", [True, False])
async def test_refused_requests(streamed):
    error = {"error": {"message": f"slow down, {KEY}", "code": 429}}
    with serving(lambda t: t.whole(error, 429, retry_after="7")) as server:
        llm = openai(server, api_key=KEY, **({} if streamed else {"stream": None}))
        with pytest.raises(
            ModelRateLimitError, match=r"answered 429 OK: slow down, \*+$"
        ) as caught:
            await chatted(llm)
    assert caught.value.retry_after == 7
    assert caught.value.partial_text == ""
    message = "This model's maximum context length is 4096 tokens."
    answer = {"message": message}
    with (
        serving(lambda t: t.whole(answer, 400)) as server,
        pytest.raises(ContextOverflowError, match="maximum context"),
    ):
        await chatted(openai(server))


@pytest.mark.parametrize(
    ("parts", "kind", "words"),
    [
        (
            [event({"error": {"message": f"died {KEY}"}})],
            ModelAPIError,
            r"an error: died \*+ \(after 2",
        ),
        (["event: error\ndata: broken\n\n"], ModelAPIError, "an error: broken"),
        (["data: {nonsense\n\n"], ModelAPIError, "an event that is no JSON"),
        ([delta(content=[1])], ModelAPIError, "something else than text"),
        ([delta(content={})], ModelAPIError, "something else than text"),
        ([delta(tool_calls=["x"])], ModelAPIError, "something else than a tool call: x"),
        ([delta(tool_calls=[part(0, 7, "a")])], ModelAPIError, "something else than text: 7"),
    ],
)
async def test_streams_that_go_wrong(parts, kind, words):
    with (
        serving(lambda talk: talk.stream(delta(content="ab"), *parts)) as server,
        pytest.raises(kind, match=words) as caught,
    ):
        await chatted(openai(server, api_key=KEY))
    assert caught.value.partial_text == "ab"


@pytest.mark.parametrize(
    "body", [{}, [], None, 1, {"choices": []}, {"choices": {}}, {"choices": [1]}]
)
async def test_answers_that_are_none(body):
    with serving(lambda talk: talk.whole(body)) as server:
        with pytest.raises(ModelAPIError, match="answered with no message"):
            await chatted(openai(server, stream=None))
        with pytest.raises(ModelAPIError, match="answered with no stream of events"):
            await chatted(openai(server))
    with (
        serving(lambda talk: talk.stream(event(body), DONE)) as server,
        pytest.raises(ModelAPIError, match="answered with no message"),
    ):
        await chatted(openai(server))


async def test_an_answer_that_says_nothing():
    chunks = await answered(*deltas({"role": "assistant", "content": None}))
    assert [chunk.content for chunk in chunks] == [""]
    assert chunks[0].response_metadata == FACTS
    for said in ({"content": None}, {}):
        with serving(lambda talk, said=said: talk.whole(whole(**said))) as server:
            (chunk,) = await chatted(openai(server, stream=None))
            assert chunk.content == ""


async def test_a_broken_connection():
    def answer(talk):
        talk.begin()
        talk.chunk(delta(content="ab"))
        time.sleep(0.05)
        talk.drop()

    with serving(answer) as server, pytest.raises(ModelConnectionError) as caught:
        await chatted(openai(server))
    assert caught.value.partial_text == "ab"
    assert "after 2 characters" in str(caught.value)


async def test_a_silent_server():
    def answer(talk):
        talk.begin()
        talk.chunk(delta(content="ab"))
        talk.wait_until_gone()

    with serving(answer) as server, pytest.raises(ModelTimeoutError, match="was silent"):
        await chatted(openai(server, read_timeout=0.2))


async def test_framing_of_any_kind():
    text = "".join(deltas({"content": "Hé"}, {"content": "☃"})).replace("\n", "\r\n")
    data = b"\xef\xbb\xbf: hi\r\n\r\n" + text.encode()

    def answer(talk):
        talk.begin()
        for n in range(len(data)):
            talk.chunk(data[n : n + 1])
        talk.end()

    with serving(answer) as server:
        assert merged(await chatted(openai(server))).content == "Hé☃"


@pytest.mark.parametrize("limit", [100, 10**6])
async def test_compressed_answers(limit):
    data = gzip.compress(json.dumps(whole(content="x" * 5000)).encode())
    with serving(lambda t: t.whole(data, content_encoding="gzip")) as server:
        llm = openai(server, stream=None, max_answer_bytes=limit)
        if limit > 10000:
            assert len((await chatted(llm))[0].content) == 5000
        else:
            with pytest.raises(ModelAPIError, match="more than 100 bytes"):
                await chatted(llm)


def closing(times):
    """Answer the first request of each connection, and close it at the second, without a word."""
    left = [times]

    def answer(talk):
        first = len(talk.server.requests) == 1
        if first or not left[0]:
            return talk.stream(*deltas({"content": "a"}))
        left[0] -= 1
        return talk.hang_up()

    return answer


async def test_a_connection_that_the_server_was_closing():
    """As llama-server does after each stream; the request is sent again, over another."""
    with serving(closing(1)) as server:
        llm = openai(server)
        for _ in range(2):
            assert merged(await chatted(llm)).content == "a"
        assert len(server.requests) == 3
        assert server.connections == 2


@pytest.mark.parametrize("slow", [True, False])
async def test_a_request_is_sent_twice_only_where_nobody_has_worked_on_it(slow, monkeypatch):
    if slow:
        monkeypatch.setattr(http_exchange, "_CLOSING", 0.0)
    with serving(closing(9)) as server:
        llm = openai(server)
        await chatted(llm)
        with pytest.raises(ModelConnectionError, match="disconnected without sending"):
            await chatted(llm)
        assert len(server.requests) == (2 if slow else 3)
        before = len(server.requests)
        with pytest.raises(ModelConnectionError):
            await chatted(llm)  # over a new connection
        assert len(server.requests) == before + 1


# --- leaving ---


def endless(talk):
    talk.begin()
    talk.chunk(delta(content="a"))
    talk.wait_until_gone()


@pytest.mark.parametrize("how", ["left", "cancelled", "cancelled early"])
async def test_the_response_is_closed_at_once(how):
    with serving(endless) as server:
        chunks = openai(server)._chat([HumanMessage("hi")])
        if how == "left":
            await anext(chunks)
            began = time.monotonic()
            await chunks.aclose()
        else:
            seen = asyncio.Event()

            async def read():
                async for _ in chunks:
                    seen.set()

            task = asyncio.create_task(read())
            if how == "cancelled":
                await seen.wait()
            else:
                while not server.requests:
                    await asyncio.sleep(0.001)
            began = time.monotonic()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        assert await asyncio.to_thread(eventually, lambda: server.gone_at and not server.open)
        assert server.gone_at[0] - began < 2


async def test_a_whole_answer_is_cancelled():
    with serving(lambda talk: talk.wait_until_gone() and None) as server:
        task = asyncio.create_task(chatted(openai(server, stream=None)))
        while not server.requests:
            await asyncio.sleep(0.001)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await asyncio.to_thread(eventually, lambda: server.gone_at and not server.open)


async def test_chats_side_by_side():
    def answer(talk):
        said = talk.request.json["messages"][0]["content"]
        talk.stream(*deltas(*({"content": c} for c in said)))

    with serving(answer) as server:
        llm = openai(server)
        asked = [f"number {n}" for n in range(20)]
        found = await asyncio.gather(*(chatted(llm, one) for one in asked))
        assert [merged(chunks).content for chunks in found] == asked


# --- the same as langchain_openai reads ---

STREAMS = {
    "text": deltas({"role": "assistant", "content": ""}, {"content": "Hé"}, {"content": "☃"}),
    "calls": deltas(
        {"role": "assistant", "content": None},
        {"tool_calls": [part(0, "a", "weather", "")]},
        {"tool_calls": [part(0, arguments='{"city": "Ü"}')]},
        {"tool_calls": [part(1, "b", "time", "{}")]},
        reason="tool_calls",
    ),
    "both": deltas(
        {"role": "assistant", "content": "I look."}, {"tool_calls": [part(0, "a", "time", "{}")]}
    ),
}
WHOLES = {
    "text": whole(content="Hé☃"),
    "calls": whole(tool_calls=[part(None, "a", "weather", "{}"), part(None, "b", "time", "{}")]),
    "wrong": whole(tool_calls=[part(None, "a", "weather", "nonsense")]),
    "length": whole("length", content="Hé"),
}


@pytest.mark.parametrize("name", [*STREAMS, *(f"whole {name}" for name in WHOLES)])
async def test_the_same_as_langchain_openai(name):
    theirs = pytest.importorskip("langchain_openai")
    import httpx

    streamed = not name.startswith("whole ")

    def answer(talk):
        if streamed:
            talk.stream(*STREAMS[name])
        else:
            talk.whole(WHOLES[name.removeprefix("whole ")])

    with serving(answer) as server, httpx.Client(trust_env=False) as client:
        other = theirs.ChatOpenAI(
            base_url=server.url + "/v1",
            api_key=KEY,
            model="m",
            http_client=client,
            stream_usage=True,
        )
        ours = merged(await chatted(openai(server, **({} if streamed else {"stream": None}))))
        given = [HumanMessage("hi")]
        found = merged(list(other.stream(given))) if streamed else other.invoke(given)
        assert ours.content == found.content
        assert ours.tool_calls == found.tool_calls
        assert [c["args"] for c in ours.invalid_tool_calls] == [
            c["args"] for c in found.invalid_tool_calls
        ]
        assert ours.usage_metadata == found.usage_metadata
        for fact in ("model_name", "finish_reason"):
            assert ours.response_metadata[fact] == found.response_metadata[fact]
        bodies = [request.json for request in server.requests]
        assert bodies[0].pop("stream", False) == bodies[1].pop("stream", False)
        assert bodies[0] == bodies[1]


async def test_the_same_history_as_langchain_openai():
    theirs = pytest.importorskip("langchain_openai")
    import httpx

    messages = [
        SystemMessage("Be brief."),
        HumanMessage("?", name="ann"),
        AIMessage("I look.", tool_calls=[CALL]),
        ToolMessage("sunny", tool_call_id="c1"),
        AIMessage("", tool_calls=[{**CALL, "id": "c2"}, {**CALL, "id": "c3"}]),
        ToolMessage("a", tool_call_id="c2"),
        ToolMessage("b", tool_call_id="c3"),
        HumanMessage(
            [{"type": "text", "text": "and "}, {"type": "image", "url": "http://x/y.png"}]
        ),
    ]

    def in_order(body):
        for message in body["messages"]:
            for call in message.get("tool_calls", ()):
                call["function"]["arguments"] = json.loads(call["function"]["arguments"])
        return body

    with (
        serving(lambda t: t.whole(whole(content="a"))) as server,
        httpx.Client(trust_env=False) as c,
    ):
        other = theirs.ChatOpenAI(
            base_url=server.url + "/v1", api_key=KEY, model="m", http_client=c
        )
        await chatted(
            openai(server, stream=None, **SEEN), messages, tools=[WEATHER], tool_choice="any"
        )
        other.bind_tools([WEATHER], tool_choice="any").invoke(messages)
        ours, found = (in_order(request.json) for request in server.requests)
        found.pop("stream", None)
        assert ours == found


# --- no secrets ---


async def test_no_key_is_shown():
    def leaks(talk):
        talk.whole({"error": json.dumps([talk.request.path, *talk.request.headers.values()])}, 500)

    with serving(leaks) as server:
        form = {"dialect": "openai", "url": f"{server.url}/v1?api_key={KEY}"}
        llm = server.endpoint(chat=form, headers={"X-Own": KEY})
        with pytest.raises(ModelError) as caught:
            await chatted(llm)
        assert KEY not in str(caught.value)
        for shown in (repr(llm), str(llm), str(llm.asdict()), str(llm.to_json())):
            assert KEY not in shown
