"""What SmolLM2 is too small for, with a larger model: `make test-larger`.

Any model that can call tools will do: `LANGCHAIN_WRAP_LARGER` names its GGUF file.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import Any

import pytest
from chat_scripted import KEY, ScriptedLlama
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage, ToolMessage
from langchain_core.tools import tool
from llama_server import llama_server
from pydantic import BaseModel, Field

if not os.environ.get("LANGCHAIN_WRAP_LARGER"):
    pytest.skip("LANGCHAIN_WRAP_LARGER names no model", allow_module_level=True)

from langchain.agents import create_agent
from langchain_tests.integration_tests import ChatModelIntegrationTests
from test_chat_standard import ANSWERS, ONE_MODEL, WITHOUT_TOOLS, AsChat, Local, endpoint

from langchain_wrap.models import LlamaCpp, weights

MODEL = weights.resolve(os.environ["LANGCHAIN_WRAP_LARGER"])
ENGINE: dict[str, Any] = {"model_path": str(MODEL), "n_ctx": 4096, "n_parallel": 2}
pytestmark = [
    pytest.mark.timeout(600),
    pytest.mark.filterwarnings("ignore:Benchmark fixture was not used"),
]


@pytest.fixture(scope="module", autouse=True)
def loaded() -> LlamaCpp:
    """One engine for all tests of the module."""
    llm = LlamaCpp(temperature=0, max_tokens=256, **ENGINE)
    llm.invoke("a", max_tokens=1)
    return llm


@pytest.fixture(scope="module")
def server(loaded: LlamaCpp) -> Iterator[str]:
    running = llama_server(MODEL, KEY, n_ctx=4096, n_threads=2)
    yield f"{running.listening_address}/v1"
    del running


# --- langchain-tests ----------------------------------------------------------------------------


class TestLarger(Local, ChatModelIntegrationTests):
    """Nothing is scripted but what asks for a second model."""

    chat_model_class = AsChat(LlamaCpp, **ENGINE)  # type: ignore[assignment]
    stand_in = AsChat(ScriptedLlama, answers=ANSWERS, **ENGINE)
    scripted = ONE_MODEL

    def sampling(self, test: str) -> dict[str, Any]:
        return {"temperature": 0, "max_tokens": 256}


# --- agents -------------------------------------------------------------------------------------


@tool
def get_weather(city: str) -> str:
    """Tell the temperature in a city, in degrees Celsius."""
    return f"20 degrees Celsius in {city}"


@tool
def to_fahrenheit(celsius: float) -> float:
    """Convert degrees Celsius to degrees Fahrenheit."""
    return celsius * 9 / 5 + 32


TOOLS = [get_weather, to_fahrenheit]
QUESTION = "How warm is it in Oslo, in degrees Fahrenheit? Use the tools, one after another."
ASKED = {"messages": [HumanMessage(QUESTION)]}


def check(messages: list[Any]) -> None:
    """The model has taken the second tool's argument from the first one's result.

    Qwen2.5-Coder may then ask again, or say nothing more: it is a small one, and made for code.
    """
    called = [call for message in messages for call in getattr(message, "tool_calls", ())]
    assert [(call["name"], call["args"]) for call in called[:2]] == [
        ("get_weather", {"city": "Oslo"}),
        ("to_fahrenheit", {"celsius": 20}),
    ]
    results = [message for message in messages if isinstance(message, ToolMessage)]
    assert [message.tool_call_id for message in results] == [call["id"] for call in called]
    assert [message.text for message in results[:2]] == ["20 degrees Celsius in Oslo", "68.0"]
    assert isinstance(messages[-1], AIMessage)
    assert not messages[-1].invalid_tool_calls


def test_an_agent_calls_one_tool_after_another(loaded: LlamaCpp) -> None:
    check(create_agent(loaded.as_chat(), TOOLS).invoke(ASKED)["messages"])


async def test_an_agent_in_a_loop(loaded: LlamaCpp) -> None:
    check((await create_agent(loaded.as_chat(), TOOLS).ainvoke(ASKED))["messages"])


def test_the_tokens_of_an_agent_are_streamed(loaded: LlamaCpp) -> None:
    agent = create_agent(loaded.as_chat(), TOOLS)
    pieces: dict[str, list[str]] = {}
    messages: list[Any] = []
    for mode, part in agent.stream(ASKED, stream_mode=["messages", "values"]):
        if mode == "values":
            messages = part["messages"]
        elif isinstance(part[0], AIMessageChunk):
            pieces.setdefault(part[0].id, []).append(part[0].text)
    check(messages)
    said = {message.id: message.text for message in messages if isinstance(message, AIMessage)}
    assert {id_: "".join(texts) for id_, texts in pieces.items()} == said
    assert all(len(texts) > 1 for texts in pieces.values())


@pytest.mark.parametrize("choice", ["auto", "any"])
def test_calls_over_a_server_are_read_here(server: str, choice: str) -> None:
    # It writes them in code blocks, which llama.cpp's server takes for text.
    llm = endpoint(server, temperature=0, max_tokens=256, chat=WITHOUT_TOOLS)
    asked = llm.as_chat().bind_tools(TOOLS, tool_choice=choice).invoke(QUESTION)
    call = asked.tool_calls[0]
    assert (call["name"], call["args"]) == ("get_weather", {"city": "Oslo"})


# --- structured output --------------------------------------------------------------------------


class Person(BaseModel):
    """A person that a text tells of."""

    name: str
    age: int = Field(ge=0, le=120)
    profession: str


TEXT = "Who is this? My neighbour Greta, a nurse of 41 years, lives alone."


@pytest.mark.parametrize("method", ["json_schema", "function_calling", "json_mode"])
def test_structured_output(loaded: LlamaCpp, method: Any) -> None:
    asked = TEXT
    if method == "json_mode":  # which leaves it to the prompt to name the keys
        asked += " Answer with a JSON object with the keys name, age and profession."
    got = loaded.as_chat().with_structured_output(Person, method=method).invoke(asked)
    assert (got.name, got.age, got.profession.lower()) == ("Greta", 41, "nurse")


def test_a_plain_llm_gives_objects_too(loaded: LlamaCpp) -> None:
    got = loaded.with_structured_output(Person).invoke(TEXT)
    assert (got.name, got.age) == ("Greta", 41)


def test_an_allowed_call_is_a_call_only_where_one_is_needed(loaded: LlamaCpp) -> None:
    chat = loaded.as_chat().bind_tools(TOOLS)
    greeting, asking = chat.batch(["Say hello in one word.", "What is the weather in Rome?"])
    assert greeting.tool_calls == []
    assert greeting.text
    (call,) = asking.tool_calls
    assert (call["name"], json.dumps(call["args"])) == ("get_weather", '{"city": "Rome"}')
