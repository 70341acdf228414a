"""A real server's chat: llama.cpp's own, with a real model, and another client of the same."""

from __future__ import annotations

import asyncio
import json

import pytest
from http_helpers import chatted, merged
from langchain_core.exceptions import ContextOverflowError
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage
from llama_helpers import eventually
from test_http_real import KEY, busy_slots, url  # noqa: F401  (url is a fixture)

from langchain_wrap.models import HTTPEndpoint

TOKENS = 12
SCHEMA = {
    "type": "object",
    "properties": {"city": {"enum": ["Paris", "Zürich"]}, "n": {"type": "integer"}},
    "required": ["city"],
    "additionalProperties": False,
}
CHATS = [
    [HumanMessage("What is the capital of France?")],
    [SystemMessage("You are a pirate."), HumanMessage('Naïve "☃" 🙂 {x}?')],
    [HumanMessage("Say a."), AIMessage("a"), HumanMessage([{"type": "text", "text": "And b?"}])],
    [
        HumanMessage("Weather?"),
        AIMessage("", tool_calls=[{"name": "weather", "args": {"city": "Ü"}, "id": "c1"}]),
        ToolMessage("sunny", tool_call_id="c1"),
    ],
]


@pytest.fixture(scope="module")
def endpoints(url):  # noqa: F811
    params = {"temperature": 0, "cache_prompt": False}
    given = {"api_key": KEY, "trust_env": False, "params": params}
    return [
        HTTPEndpoint.openai(f"{url}/v1", "any", **given),
        HTTPEndpoint.llama_server(str(url), **given),
    ]


@pytest.fixture(scope="module")
def theirs(url):  # noqa: F811
    langchain_openai = pytest.importorskip("langchain_openai")
    import httpx

    with httpx.Client(trust_env=False) as client:
        yield langchain_openai.ChatOpenAI(
            base_url=f"{url}/v1",
            api_key=KEY,
            model="any",
            temperature=0,
            stream_usage=True,
            extra_body={"cache_prompt": False, "max_tokens": TOKENS},
            http_client=client,
        )


def counts(message):
    return {name: count for name, count in message.usage_metadata.items() if count != {}}


@pytest.mark.parametrize("number", range(len(CHATS)))
async def test_the_same_as_langchain_openai(endpoints, theirs, number):
    messages = CHATS[number]
    for stop in (None, [" the", "."]):
        expected = theirs.invoke(messages, stop=stop)
        streamed = merged(list(theirs.stream(messages, stop=stop)))
        assert expected.content == streamed.content
        for llm in endpoints:
            for one in (llm, llm.model_copy(update={"stream_format": None})):
                message = merged(await chatted(one, messages, stop=stop, max_tokens=TOKENS))
                assert message.content == expected.content
                assert message.tool_calls == expected.tool_calls
                assert counts(message) == counts(expected) == counts(streamed)
                for fact in ("model_name", "finish_reason"):
                    assert message.response_metadata[fact] == expected.response_metadata[fact]


async def test_the_same_with_tools(endpoints, theirs):
    """Whether this model makes a call or writes text, both clients read the same."""
    tool = {"type": "function", "function": {"name": "weather", "parameters": SCHEMA}}
    for choice in ("auto", "any"):
        expected = theirs.bind_tools([tool], tool_choice=choice).invoke(CHATS[0])
        for llm in endpoints:
            given = {"tools": [tool], "tool_choice": choice, "max_tokens": TOKENS}
            message = merged(await chatted(llm, CHATS[0], **given))
            assert message.content == expected.content
            assert [(c["name"], c["args"]) for c in message.tool_calls] == [
                (c["name"], c["args"]) for c in expected.tool_calls
            ]


async def test_a_schema_holds(endpoints):
    for llm in endpoints:
        message = merged(await chatted(llm, "A city?", json_schema=SCHEMA, max_tokens=60))
        assert json.loads(message.text)["city"] in ("Paris", "Zürich")


async def test_a_chat_that_is_too_long(endpoints):
    for llm in endpoints:
        with pytest.raises(ContextOverflowError, match="context size"):
            await chatted(llm, "a b " * 1000)


async def test_the_engine_stops_when_nobody_reads_on(url, endpoints):  # noqa: F811
    chunks = endpoints[1]._chat([HumanMessage("Tell me a story.")], n_predict=400, ignore_eos=True)
    await anext(chunks)
    assert await asyncio.to_thread(busy_slots, url) == 1
    await chunks.aclose()
    assert await asyncio.to_thread(eventually, lambda: busy_slots(url) == 0, patience=30)
