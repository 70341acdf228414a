"""Native chat in Ollama's dialect, against servers that answer as it does (from its documents)."""

from __future__ import annotations

import json

import pytest
from http_helpers import chatted, merged, serving
from langchain_core.exceptions import ModelAPIError, ModelConnectionError, ModelNotFoundError
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage

from langchain_wrap.models import HTTPEndpoint

TOOLS = [
    {"type": "function", "function": {"name": name, "parameters": {"type": "object"}}}
    for name in ("weather", "time")
]
COUNTS = {"prompt_eval_count": 9, "eval_count": 4, "total_duration": 1, "load_duration": 1}
COUNTED = {"input_tokens": 9, "output_tokens": 4, "total_tokens": 13}
FACTS = {"model_name": "qwen3:1.7b", "finish_reason": "stop"}


def value(*, done=False, reason="stop", **said):
    message = {"role": "assistant", "content": "", **said}
    head = {"model": "qwen3:1.7b", "created_at": "2026-01-01T00:00:00Z", "message": message}
    return {**head, "done": done, **({"done_reason": reason, **COUNTS} if done else {})}


def lines(*values):
    return [json.dumps(one, ensure_ascii=False) + "\n" for one in values]


def call(name, arguments, **more):
    return {**more, "function": {"name": name, "arguments": arguments}}


def ollama(server, **fields):
    return HTTPEndpoint.ollama(server.url, "qwen3", trust_env=False, **fields)


def streaming(*values):
    return lambda t: t.stream(*lines(*values), content_type="application/x-ndjson")


async def answered(*values):
    with serving(streaming(*values)) as server:
        return await chatted(ollama(server))


async def sent(messages="hi", *, fields=(), **given):
    with serving(streaming(value(content="a"), value(done=True))) as server:
        await chatted(ollama(server, **dict(fields)), messages, **given)
        (request,) = server.requests
        assert request.path == "/api/chat"
        return request.json


async def test_a_request():
    assert await sent(
        [SystemMessage("Be brief."), HumanMessage("hi")],
        stop=["\n"],
        temperature=0,
        num_ctx=512,
        keep_alive="5m",
        think=False,
        fields={"params": {"num_predict": 5}},
    ) == {
        "model": "qwen3",
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "hi"},
        ],
        "think": False,
        "keep_alive": "5m",
        "stream": True,
        "options": {"stop": ["\n"], "temperature": 0, "num_ctx": 512, "num_predict": 5},
    }
    assert (await sent(max_tokens=7))["options"] == {"num_predict": 7}
    with pytest.raises(TypeError, match="the chat of HTTPEndpoint takes no parameter 'raw'"):
        await sent(raw=True)


@pytest.mark.parametrize(
    ("choice", "tools"),
    [(None, TOOLS), ("auto", TOOLS), ("any", TOOLS), ("none", None), ("time", TOOLS[1:])],
)
async def test_tools(choice, tools):
    body = await sent(tools=TOOLS, tool_choice=choice)
    assert body.get("tools") == tools
    assert "tool_choice" not in body


async def test_it_says_that_it_knows_no_choice():
    assert HTTPEndpoint.ollama("http://h", "m")._chat_does == {"tools", "json_schema"}


async def test_a_schema():
    schema = {"type": "object", "properties": {"a": {}}}
    assert (await sent(json_schema=schema))["format"] == schema
    assert (await sent(json_schema={"type": "object"}))["format"] == "json"
    with pytest.raises(ValueError, match="'format' stands for what is asked already"):
        await sent(json_schema=schema, format="json")


async def test_a_history():
    wrong = {"name": "time", "args": "{", "id": "c2", "error": "x", "type": "invalid_tool_call"}
    messages = [
        HumanMessage("?", name="ann"),
        AIMessage(
            "I look.",
            tool_calls=[{"name": "weather", "args": {"city": "Ü"}, "id": "c1"}],
            invalid_tool_calls=[wrong],
            additional_kwargs={"reasoning_content": "hm"},
        ),
        ToolMessage("sunny", tool_call_id="c1"),
        ToolMessage("no JSON", tool_call_id="c2", status="error"),
    ]
    assert (await sent(messages))["messages"] == [
        {"role": "user", "content": "?"},
        {
            "role": "assistant",
            "content": "I look.",
            "thinking": "hm",
            "tool_calls": [
                call("weather", {"city": "Ü"}, id="c1", type="function"),
                call("time", {"invalid_arguments": "{"}, id="c2", type="function"),
            ],
        },
        {"role": "tool", "content": "sunny", "tool_name": "weather", "tool_call_id": "c1"},
        {"role": "tool", "content": "Error: no JSON", "tool_name": "time", "tool_call_id": "c2"},
    ]


async def test_images():
    fields = {"chat": {"takes": ("text", "image")}}
    seen = HumanMessage(["What?", {"type": "image", "base64": "AAAA", "mime_type": "image/png"}])
    assert (await sent([seen], fields=fields))["messages"] == [
        {"role": "user", "content": "What?", "images": ["AAAA"]}
    ]
    with pytest.raises(ValueError, match="this model takes text; message 1 has an image block"):
        await sent([seen])
    away = HumanMessage([{"type": "image", "url": "http://x/y.png"}])
    with pytest.raises(ValueError, match="no URLs"):
        await sent([away], fields=fields)


async def test_a_stream():
    chunks = await answered(value(content="Hé"), value(content="☃"), value(done=True))
    assert [chunk.content for chunk in chunks] == ["Hé", "☃", ""]
    assert chunks[-1].response_metadata == FACTS
    assert merged(chunks).usage_metadata == COUNTED


async def test_a_whole_answer():
    with serving(lambda talk: talk.whole(value(content="Hé", done=True))) as server:
        (chunk,) = await chatted(ollama(server, stream=None))
        assert server.requests[0].json["stream"] is False
    assert chunk.content == "Hé"
    assert chunk.response_metadata == FACTS
    assert chunk.usage_metadata == COUNTED


async def test_thinking():
    message = merged(
        await answered(
            value(thinking="I "), value(thinking="think"), value(content="42", done=True)
        )
    )
    assert message.content == "42"
    assert message.additional_kwargs == {"reasoning_content": "I think"}


async def test_calls():
    message = merged(
        await answered(
            value(content="I look.", tool_calls=[call("weather", {"city": "Ü", "n": 1})]),
            value(tool_calls=[call("time", {}, id="given"), call("time", None)]),
            value(done=True),
        )
    )
    assert message.content == "I look."
    found = [(one["name"], one["args"]) for one in message.tool_calls]
    assert found == [("weather", {"city": "Ü", "n": 1}), ("time", {}), ("time", {})]
    ids = [one["id"] for one in message.tool_calls]
    assert ids[1] == "given"
    assert len(set(ids)) == 3
    assert len(ids[0]) == 29
    assert [chunk["index"] for chunk in message.tool_call_chunks] == [0, 1, 2]


async def test_no_counts():
    last = value(done=True)
    del last["prompt_eval_count"]  # older versions, where the prompt was known
    chunks = await answered(value(content="a"), last)
    assert chunks[-1].usage_metadata is None


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ([{"error": "out of memory"}], "an error: out of memory"),
        ([value(content=1)], "something else than text: 1"),
        ([value(tool_calls=["x"])], "something else than a tool call: x"),
    ],
)
async def test_streams_that_go_wrong(parts, words):
    with (
        serving(streaming(value(content="ab"), *parts)) as server,
        pytest.raises(ModelAPIError, match=words) as caught,
    ):
        await chatted(ollama(server))
    assert caught.value.partial_text == "ab"


async def test_a_model_that_is_not_there():
    error = {"error": "model 'qwen3' not found"}
    with (
        serving(lambda talk: talk.whole(error, 404)) as server,
        pytest.raises(ModelNotFoundError, match="model 'qwen3' not found"),
    ):
        await chatted(ollama(server))


async def test_a_model_that_was_loaded_only():
    loaded = {"model": "m", "done": True, "done_reason": "load"}
    with (
        serving(streaming(loaded)) as server,
        pytest.raises(ModelAPIError, match="answered with no message"),
    ):
        await chatted(ollama(server))


async def test_a_broken_connection():
    def answer(talk):
        talk.begin("application/x-ndjson")
        talk.chunk("".join(lines(value(content="ab"))))
        talk.drop()

    with serving(answer) as server, pytest.raises(ModelConnectionError):
        await chatted(ollama(server))


STREAMS = {
    "text": [value(content="Hé"), value(content="☃"), value(done=True)],
    "calls": [
        value(content="I look.", tool_calls=[call("weather", {"city": "Ü"})]),
        value(tool_calls=[call("time", {})]),
        value(done=True),
    ],
    "thinking": [value(thinking="hm"), value(content="42"), value(done=True)],
    "length": [value(content="Hé"), value(done=True, reason="length")],
}


@pytest.mark.parametrize("name", STREAMS)
async def test_the_same_as_langchain_ollama(name):
    theirs = pytest.importorskip("langchain_ollama")
    messages = [
        SystemMessage("Be brief."),
        HumanMessage("?"),
        AIMessage("", tool_calls=[{"name": "weather", "args": {"city": "Ü"}, "id": "c1"}]),
        ToolMessage("sunny", tool_call_id="c1"),
    ]
    with serving(streaming(*STREAMS[name])) as server:
        other = theirs.ChatOllama(
            model="qwen3", base_url=server.url, reasoning=True, temperature=0, num_predict=9,
            client_kwargs={"trust_env": False},
        )  # fmt: skip
        found = merged(list(other.bind_tools(TOOLS).stream(messages, stop=["\n"])))
        ours = merged(
            await chatted(
                ollama(server), messages, tools=TOOLS, stop=["\n"], temperature=0, num_predict=9,
                think=True,
            )
        )  # fmt: skip
        other._client._client.close()  # it does not itself
        theirs_sent, ours_sent = (request.json for request in server.requests)
    assert ours.content == found.content
    assert ours.additional_kwargs == found.additional_kwargs
    assert [(c["name"], c["args"]) for c in ours.tool_calls] == [
        (c["name"], c["args"]) for c in found.tool_calls
    ]
    assert ours.usage_metadata == found.usage_metadata
    assert ours.response_metadata["finish_reason"] == found.response_metadata["done_reason"]
    assert ours.response_metadata["model_name"] == found.response_metadata["model_name"]
    for name in ("model", "options", "stream", "think"):
        assert ours_sent[name] == theirs_sent[name]
    assert [m["role"] for m in ours_sent["messages"]] == [
        m["role"] for m in theirs_sent["messages"]
    ]
    assert [t["function"]["name"] for t in ours_sent["tools"]] == [
        t["function"]["name"] for t in theirs_sent["tools"]
    ]
