"""Chat models where they are used: agents, LangGraph, history, fallbacks, counting, trimming."""

from __future__ import annotations

import functools
import json
from typing import Any

import pytest
from chat_scripted import Answers, Call, Script
from langchain_core.callbacks import UsageMetadataCallbackHandler, get_usage_metadata_callback
from langchain_core.chat_history import InMemoryChatMessageHistory
from langchain_core.exceptions import ModelRateLimitError
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    HumanMessage,
    SystemMessage,
    ToolMessage,
    trim_messages,
)
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate, MessagesPlaceholder
from langchain_core.runnables import ConfigurableField
from langchain_core.runnables.history import RunnableWithMessageHistory
from langchain_core.tools import tool
from pydantic import BaseModel

pytest.importorskip("langchain")
pytest.importorskip("langgraph")

from langchain.agents import create_agent
from langchain.agents.middleware import AgentMiddleware
from langchain.agents.structured_output import ProviderStrategy, ToolStrategy
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command, interrupt

from langchain_wrap import ChatModel, wrap
from langchain_wrap.models.llama_cpp import LlamaCpp

QUESTION = "How warm is it in Zürich, in Fahrenheit?"
FINAL = "It is 68 degrees Fahrenheit in Zürich."
ANSWERS: Answers = {
    QUESTION: Call((("get_weather", {"city": "Zürich"}),), "Let me look."),
    "20 degrees in Zürich": Call.of("to_fahrenheit", celsius=20),
    "68.0": FINAL,
}


@tool
def get_weather(city: str) -> str:
    """Say how warm it is in a city, in Celsius."""
    return f"20 degrees in {city}"


@tool
def to_fahrenheit(celsius: float) -> float:
    """Convert a temperature."""
    return celsius * 9 / 5 + 32


TOOLS = [get_weather, to_fahrenheit]
ASKED = {"messages": [HumanMessage(QUESTION)]}


@pytest.fixture
def script() -> Script:
    return Script(ANSWERS)


@pytest.fixture
def agent(script: Script) -> Any:
    return create_agent(wrap(script, name="scripted").as_chat(), TOOLS)


def shape(messages: list[Any]) -> list[tuple[Any, ...]]:
    """What happened, in short."""
    found: list[tuple[Any, ...]] = []
    for message in messages:
        calls = tuple(call["name"] for call in getattr(message, "tool_calls", ()))
        found.append((message.type, message.text.strip(), *calls))
    return found


STEPS = [
    ("human", QUESTION),
    ("ai", "Let me look.", "get_weather"),
    ("tool", "20 degrees in Zürich"),
    ("ai", "", "to_fahrenheit"),
    ("tool", "68.0"),
    ("ai", FINAL),
]

# --- create_agent ---------------------------------------------------------------------------------


def test_an_agent_to_the_end(agent, script):
    messages = agent.invoke(ASKED)["messages"]
    assert shape(messages) == STEPS
    ids = [call["id"] for message in messages for call in getattr(message, "tool_calls", ())]
    assert [m.tool_call_id for m in messages if isinstance(m, ToolMessage)] == ids
    assert len(script.prompts) == 3
    assert all("Convert a temperature." in prompt for prompt in script.prompts)


async def test_an_agent_to_the_end_in_a_loop(agent):
    assert shape((await agent.ainvoke(ASKED))["messages"]) == STEPS


def test_parallel_calls():
    both = Call((("get_weather", {"city": "Zürich"}), ("to_fahrenheit", {"celsius": 0})))
    script = Script({QUESTION: both, "32.0": "Done."})
    agent = create_agent(wrap(script).as_chat(), TOOLS)
    assert [m.type for m in agent.invoke(ASKED)["messages"]] == [
        "human",
        "ai",
        "tool",
        "tool",
        "ai",
    ]


def test_a_tool_that_fails_is_told_to_the_model():
    script = Script({QUESTION: Call.of("get_weather", town="Zürich"), "city": "I cannot."})
    messages = create_agent(wrap(script).as_chat(), TOOLS).invoke(ASKED)["messages"]
    assert messages[2].status == "error"
    assert messages[-1].text == "I cannot."


class Report(BaseModel):
    """A report on the weather."""

    city: str
    fahrenheit: float


REPORT = Report(city="Zürich", fahrenheit=68.0)


def test_an_answer_by_a_tool():
    last = {"68.0": Call.of("Report", city="Zürich", fahrenheit=68.0)}
    agent = create_agent(
        wrap(Script({**ANSWERS, **last})).as_chat(), TOOLS, response_format=ToolStrategy(Report)
    )
    assert agent.invoke(ASKED)["structured_response"] == REPORT


@pytest.mark.parametrize("strategy", [ProviderStrategy(Report), Report])
def test_an_answer_by_the_provider(strategy):
    said: Any = REPORT.model_dump_json()
    if strategy is Report:  # of a model that LangChain does not know, it asks for a tool
        said = Call.of("Report", **REPORT.model_dump())
    agent = create_agent(wrap(Script({QUESTION: said})).as_chat(), [], response_format=strategy)
    assert agent.invoke(ASKED)["structured_response"] == REPORT


# --- streams --------------------------------------------------------------------------------------


def test_updates(agent):
    updates = list(agent.stream(ASKED, stream_mode="updates"))
    assert [next(iter(update)) for update in updates] == ["model", "tools"] * 2 + ["model"]
    assert shape(next(iter(updates[-1].values()))["messages"]) == STEPS[-1:]


async def test_messages_as_they_are_made(agent):
    def check(parts: list[Any]) -> None:
        of_model = [m for m, about in parts if about["langgraph_node"] == "model"]
        assert all(isinstance(message, AIMessageChunk) for message in of_model)
        by_id: dict[str, Any] = {}
        for message in of_model:
            by_id[message.id] = by_id[message.id] + message if message.id in by_id else message
        assert shape(list(by_id.values())) == [
            ("AIMessageChunk", *step[1:]) for step in STEPS if step[0] == "ai"
        ]
        assert len([m for m in of_model if m.text and m.text in FINAL]) > 5
        assert sum(bool(m.tool_call_chunks) for m in of_model) > 5
        assert sum(m.usage_metadata is not None for m in of_model) == 3

    check(list(agent.stream(ASKED, stream_mode="messages")))
    check([part async for part in agent.astream(ASKED, stream_mode="messages")])


async def test_events_of_a_chain(script):
    chain = (
        ChatPromptTemplate.from_messages([("human", "{input}")])
        | wrap(Script({"": FINAL})).as_chat()
        | StrOutputParser()
    )
    events = [event async for event in chain.astream_events({"input": "Hi"}, version="v2")]
    tokens = [e["data"]["chunk"].text for e in events if e["event"] == "on_chat_model_stream"]
    assert "".join(tokens) == FINAL
    assert len(tokens) > 5
    parsed = [e["data"]["chunk"] for e in events if e["event"] == "on_parser_stream"]
    assert "".join(parsed) == FINAL
    (end,) = [e["data"]["output"] for e in events if e["event"] == "on_chat_model_end"]
    assert end.text == FINAL
    assert end.usage_metadata["output_tokens"] > 5


@pytest.mark.filterwarnings("ignore::langchain_core._api.LangChainBetaWarning")
async def test_events_of_the_third_version(script):
    bound = wrap(script, name="scripted").as_chat().bind_tools(TOOLS)
    stream = bound.stream_events(QUESTION, version="v3")
    assert "".join(stream.text).strip() == "Let me look."
    (call,) = stream.tool_calls.get()
    assert (call["name"], call["args"]) == ("get_weather", {"city": "Zürich"})
    assert stream.output.tool_calls[0]["name"] == "get_weather"
    assert stream.output.usage_metadata["output_tokens"] > 5

    astream = await bound.astream_events(QUESTION, version="v3")
    assert "".join([text async for text in astream.text]).strip() == "Let me look."
    assert (await astream.output).tool_calls[0]["args"] == {"city": "Zürich"}


@pytest.mark.filterwarnings("ignore::langchain_core._api.LangChainBetaWarning")
def test_events_of_the_third_version_of_an_agent(agent):
    run = agent.stream_events(ASKED, version="v3")
    texts = ["".join(message.text).strip() for message in run.messages]
    assert texts == ["Let me look.", "", FINAL]
    assert shape(run.output["messages"]) == STEPS


# --- LangGraph: interrupts and checkpoints --------------------------------------------------------


def test_an_interrupt_and_its_resumption(script):
    @tool
    def get_weather(city: str) -> str:
        """Say how warm it is in a city, after somebody has agreed."""
        return interrupt(f"May I ask for {city}?")

    agent = create_agent(
        wrap(script).as_chat(), [get_weather, to_fahrenheit], checkpointer=InMemorySaver()
    )
    config: Any = {"configurable": {"thread_id": "1"}}
    stopped = agent.invoke(ASKED, config)
    assert stopped["__interrupt__"][0].value == "May I ask for Zürich?"
    assert len(script.prompts) == 1
    done = agent.invoke(Command(resume="20 degrees in Zürich"), config)
    assert shape(done["messages"]) == STEPS
    assert len(script.prompts) == 3

    state = agent.get_state(config).values["messages"]
    assert shape(state) == STEPS
    assert state[1].usage_metadata["input_tokens"] > 0


def test_a_thread_is_remembered():
    script = Script({"I am Ada": "Hello Ada.", "Who am I": "You are Ada."})
    agent = create_agent(wrap(script).as_chat(), [], checkpointer=InMemorySaver())
    config: Any = {"configurable": {"thread_id": "1"}}
    agent.invoke({"messages": [("user", "I am Ada.")]}, config)
    said = agent.invoke({"messages": [("user", "Who am I?")]}, config)["messages"]
    assert [m.text for m in said] == ["I am Ada.", "Hello Ada.", "Who am I?", "You are Ada."]
    assert "I am Ada" in script.prompts[1]
    other: Any = {"configurable": {"thread_id": "2"}}
    assert len(agent.invoke({"messages": [("user", "Who am I?")]}, other)["messages"]) == 2


# --- what LangChain puts around models ------------------------------------------------------------


@pytest.mark.filterwarnings("ignore::langchain_core._api.LangChainDeprecationWarning")
async def test_a_history():
    script = Script({"I am Ada": "Hello Ada.", "Who am I": "You are Ada."})
    prompt = ChatPromptTemplate.from_messages(
        [("system", "Be brief."), MessagesPlaceholder("history"), ("human", "{input}")]
    )
    kept: dict[str, InMemoryChatMessageHistory] = {}
    chain = RunnableWithMessageHistory(
        prompt | wrap(script).as_chat(),
        lambda session_id: kept.setdefault(session_id, InMemoryChatMessageHistory()),
        input_messages_key="input",
        history_messages_key="history",
    )
    config: Any = {"configurable": {"session_id": "a"}}
    assert chain.invoke({"input": "I am Ada."}, config).text == "Hello Ada."
    assert (await chain.ainvoke({"input": "Who am I?"}, config)).text == "You are Ada."
    assert [m.text for m in kept["a"].messages][1::2] == ["Hello Ada.", "You are Ada."]
    assert "Hello Ada." in script.prompts[-1]
    assert "".join(c.text for c in chain.stream({"input": "Who am I?"}, config)) == "You are Ada."
    assert len(kept["a"].messages) == 6


class Moody(ChatModel):
    """Fails so often, then answers."""

    failures: int = 2
    after: int = 0
    seen: list[str] = []  # noqa: RUF012

    def _chat(self, messages):
        self.seen.append(messages[-1].text)
        if self.after:
            yield "Well, "
        if len(self.seen) <= self.failures:
            raise ModelRateLimitError("too many requests")
        yield "hello"


async def test_fallbacks():
    broken, good = Moody(failures=99, seen=[]), Moody(failures=0, seen=[])
    chat = broken.with_fallbacks([good])
    assert chat.invoke("Hi").text == "hello"
    assert (await chat.ainvoke("Hi")).text == "hello"
    assert "".join(chunk.text for chunk in chat.stream("Hi")) == "hello"
    assert [m.text for m in chat.batch(["Hi", "Ho"])] == ["hello", "hello"]
    assert len(good.seen) == 5
    bound = broken.bind_tools(TOOLS).with_fallbacks(
        [wrap(Script(ANSWERS)).as_chat().bind_tools(TOOLS)]
    )
    assert bound.invoke(QUESTION).tool_calls[0]["name"] == "get_weather"


async def test_retries():
    chat = Moody(seen=[]).with_retry(
        retry_if_exception_type=(ModelRateLimitError,), wait_exponential_jitter=False
    )
    assert chat.invoke("Hi").text == "hello"
    assert chat.bound.seen == ["Hi"] * 3
    chat.bound.seen.clear()
    assert (await chat.ainvoke("Hi")).text == "hello"
    given_up = Moody(seen=[]).with_retry(
        retry_if_exception_type=(ModelRateLimitError,),
        wait_exponential_jitter=False,
        stop_after_attempt=2,
    )
    with pytest.raises(ModelRateLimitError):
        given_up.invoke("Hi")


def test_usage_adds_up():
    chat = wrap(Script({"": FINAL})).as_chat()
    inputs = [f"Question {n}" for n in range(6)]
    handler = UsageMetadataCallbackHandler()
    messages = chat.batch(inputs, {"callbacks": [handler]})
    with get_usage_metadata_callback() as streamed:
        for one in inputs:
            list(chat.stream(one))
    (counted,) = handler.usage_metadata.values()
    assert list(handler.usage_metadata) == ["scripted-1"]
    for name in ("input_tokens", "output_tokens", "total_tokens"):
        assert counted[name] == sum(message.usage_metadata[name] for message in messages) > 0
        assert streamed.usage_metadata["scripted-1"][name] == counted[name]


TALK = [
    SystemMessage("Be brief."),
    HumanMessage("one two three"),
    AIMessage("four five six"),
    HumanMessage("seven eight"),
]


CALLED = [
    HumanMessage("one two"),
    AIMessage("", tool_calls=[{"name": "add", "args": {"a": 1}, "id": "c1"}]),
    ToolMessage("three", tool_call_id="c1"),
    AIMessage("four five"),
    HumanMessage("six"),
]
ALTERNATING = (
    "{% for m in messages %}{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('roles must alternate') }}{% endif %}"
    "[{{ m.role }}] {{ m.content }} {% endfor %}"
)


@pytest.mark.parametrize("template", ["plain", "chatml", "mistral", "gemma"])
@pytest.mark.parametrize("strategy", ["first", "last"])
def test_a_history_with_calls_can_be_trimmed(template, strategy):
    llm = wrap(Script({"": "ten"}), custom_get_token_ids=lambda text: text.split())
    chat = llm.as_chat(template=template)
    trim = functools.partial(trim_messages, CALLED, token_counter=chat, strategy=strategy)
    assert trim(max_tokens=1000) == CALLED
    kept = [len(trim(max_tokens=most)) for most in range(60)]
    assert kept == sorted(kept)
    assert {0, len(CALLED)} < set(kept)
    parts = [CALLED[n:] for n in range(len(CALLED))]
    counts = [chat.get_num_tokens_from_messages(part) for part in parts]
    assert counts == sorted(counts, reverse=True)


def test_a_history_that_must_alternate_can_be_trimmed():
    llm = wrap(Script({"": "ten"}), custom_get_token_ids=lambda text: text.split())
    chat = llm.as_chat(template=ALTERNATING)
    history = [HumanMessage("q"), AIMessage("a"), HumanMessage("q2"), AIMessage("a2")]
    trimmed = trim_messages(history, token_counter=chat, max_tokens=4, strategy="last")
    assert [message.text for message in trimmed] == ["q2", "a2"]
    assert chat.get_num_tokens_from_messages([]) == 0
    with pytest.raises(ValueError, match="image"):
        chat.get_num_tokens_from_messages([HumanMessage([{"type": "image_url"}])])


def test_trimming():
    script = Script({"": "ten"})
    counting = wrap(script, custom_get_token_ids=lambda text: text.split()).as_chat()
    whole = counting.get_num_tokens_from_messages(TALK)
    assert trim_messages(TALK, max_tokens=whole, token_counter=counting) == TALK
    trimmed = trim_messages(
        TALK,
        max_tokens=whole - 1,
        token_counter=counting,
        include_system=True,
        start_on="human",
    )
    assert [m.text for m in trimmed] == ["Be brief.", "seven eight"]
    chain = trim_messages(max_tokens=whole - 1, token_counter=counting) | counting
    assert chain.invoke(TALK).text == "ten"
    assert "seven eight" in script.prompts[-1]
    assert "Be brief" not in script.prompts[-1]


def test_configurable_fields_and_alternatives():
    first = wrap(lambda prompt: "first and last", name="first").as_chat()
    second = wrap(lambda prompt: "second and last", name="second").as_chat()
    chosen = first.configurable_alternatives(ConfigurableField("which"), second=second)
    assert chosen.invoke("Hi").text == "first and last"
    assert chosen.with_config(configurable={"which": "second"}).invoke("Hi").text.startswith("sec")
    chain = ChatPromptTemplate.from_messages([("human", "{x}")]) | chosen
    assert chain.with_config(configurable={"which": "second"}).invoke("Hi").text.startswith("sec")

    stops = first.configurable_fields(stop=ConfigurableField("stop"))
    assert stops.invoke("Hi").text == "first and last"
    config: Any = {"configurable": {"stop": [" and"]}}
    assert stops.invoke("Hi", config).text == "first"
    assert "".join(c.text for c in stops.stream("Hi", config)) == "first"


# --- the local model ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def smollm2() -> Any:
    pytest.importorskip("xllamacpp")
    return LlamaCpp(temperature=0, max_tokens=64, n_ctx=1024, n_parallel=2, n_threads=1).as_chat()


class Forced(AgentMiddleware):
    """Has the first answer call a tool, by constraint, and the second call none."""

    def wrap_model_call(self, request, handler):
        done = any(isinstance(message, ToolMessage) for message in request.messages)
        return handler(request.override(tool_choice="none" if done else "get_weather"))

    async def awrap_model_call(self, request, handler):
        done = any(isinstance(message, ToolMessage) for message in request.messages)
        return await handler(request.override(tool_choice="none" if done else "get_weather"))


async def test_the_local_model_goes_round_once(smollm2):
    agent = create_agent(smollm2, TOOLS, middleware=[Forced()])
    for messages in (
        agent.invoke(ASKED)["messages"],
        (await agent.ainvoke(ASKED))["messages"],
    ):
        assert [message.type for message in messages] == ["human", "ai", "tool", "ai"]
        (call,) = messages[1].tool_calls
        assert call["name"] == "get_weather"
        assert isinstance(call["args"]["city"], str)
        assert messages[2].text == f"20 degrees in {call['args']['city']}"
        assert messages[3].text
        assert not messages[3].tool_calls
        for message in (messages[1], messages[3]):
            assert message.usage_metadata["output_tokens"] > 0
            assert message.response_metadata["model_name"].startswith("SmolLM2")


def test_the_local_model_streams_its_calls(smollm2):
    agent = create_agent(smollm2, TOOLS, middleware=[Forced()])
    updates: list[Any] = []
    chunks: list[Any] = []
    for mode, part in agent.stream(ASKED, stream_mode=["updates", "messages"]):
        (updates if mode == "updates" else chunks).append(part)
    assert [name for update in updates for name in update] == ["model", "tools", "model"]
    calls = [c for m, _ in chunks if isinstance(m, AIMessageChunk) for c in m.tool_call_chunks]
    args = "".join(call["args"] or "" for call in calls)
    assert json.loads(args) == updates[0]["model"]["messages"][0].tool_calls[0]["args"]


@pytest.mark.parametrize("strategy", [ToolStrategy(Report), ProviderStrategy(Report)])
def test_the_local_model_reports(smollm2, strategy):
    agent = create_agent(smollm2, [], response_format=strategy)
    asked = {"messages": [("user", "It is 68 degrees Fahrenheit in Zürich. Report it.")]}
    assert isinstance(agent.invoke(asked)["structured_response"], Report)
