"""Tool calls of an LLM that knows none: told in words, held to a schema, or asked for again."""

from __future__ import annotations

import copy
import json
import pickle
from typing import Any

import pytest
from chat_llms import Held, Scripted
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    HumanMessage,
    SystemMessage,
    ToolMessage,
)
from langchain_core.tools import tool
from langchain_core.utils.json import parse_partial_json
from pydantic import BaseModel, Field

from langchain_wrap import ChatTemplate
from langchain_wrap.chat.message import unreadable_end

HERMES = '<tool_call>\n{"name": "weather", "arguments": {"city": "Paris"}}\n</tool_call>'
CALL = {"name": "weather", "args": {"city": "Paris"}, "type": "tool_call"}
NO_SYSTEM = (
    "{% if messages[0].role == 'system' %}{{ raise_exception('no system') }}{% endif %}"
    "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}{% endfor %}"
)


@tool
def weather(city: str) -> str:
    """Tell the weather of a city."""
    return f"sunny in {city}"


@tool
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


def merged(chunks) -> AIMessageChunk:
    first, *rest = chunks
    return first + rest if rest else first


def without_id(call) -> dict[str, Any]:
    return {name: value for name, value in call.items() if name != "id"}


def both(make, given="How is it in Paris?") -> list[AIMessage]:
    """The answers of invoke and of stream, each by a fresh model."""
    return [make().invoke(given), merged(list(make().stream(given)))]


def test_a_call_in_the_text_becomes_a_tool_call_and_the_text_around_it_stays():
    answer = f"Let me see. {HERMES} Done."

    def make():
        return Scripted(answers=[answer]).as_chat(template="chatml").bind_tools([weather])

    for message in both(make):
        assert [without_id(call) for call in message.tool_calls] == [CALL]
        assert message.text.split() == ["Let", "me", "see.", "Done."]
        assert message.response_metadata["finish_reason"] == "tool_calls"
        assert message.usage_metadata["total_tokens"] == 15


def test_arguments_arrive_while_they_are_written():
    chat = Scripted(answers=[HERMES]).as_chat(template="chatml").bind_tools([weather])
    parts = [c["args"] for chunk in chat.stream("hi") for c in chunk.tool_call_chunks]
    assert len([part for part in parts if part]) > 3
    assert json.loads("".join(parts)) == {"city": "Paris"}


def test_a_template_without_tools_is_told_them_in_the_system_message():
    llm = Scripted(answers=["ok"])
    chat = llm.as_chat(template="plain").bind_tools([weather, add])
    chat.invoke([SystemMessage("Be brief."), HumanMessage("hi")])
    assert llm.asked[0].startswith("System: Be brief.\n\n")
    assert '"weather"' in llm.asked[0]
    assert '"add"' in llm.asked[0]


def test_a_template_that_refuses_system_messages_is_told_in_the_first_message_of_the_user():
    llm = Scripted(answers=["ok"])
    llm.as_chat(template=NO_SYSTEM).bind_tools([weather]).invoke("hi")
    assert llm.asked[0].startswith("<|user|>")
    assert '"weather"' in llm.asked[0]
    assert llm.asked[0].rstrip().endswith("hi")


def test_calls_and_results_of_a_history_are_told_in_words_where_the_template_has_no_place():
    history = [
        HumanMessage("How is it in Paris?"),
        AIMessage("", tool_calls=[{**CALL, "id": "c1"}]),
        ToolMessage("sunny", tool_call_id="c1"),
    ]
    llm = Scripted(answers=["Sunny."])
    assert llm.as_chat(template="plain").invoke(history).text == "Sunny."
    assert '{"city": "Paris"}' in llm.asked[0]
    assert "sunny" in llm.asked[0]


def test_a_template_with_a_place_for_tools_and_none_for_calls_is_told_calls_in_words():
    template = (
        "{{ tools | tojson if tools else '' }}{% for m in messages %}"
        "{% if m.role == 'tool' %}{{ raise_exception('no tool results') }}{% endif %}"
        "<|{{ m.role }}|>{{ m.content }}{% endfor %}"
    )
    history = [
        HumanMessage("How is it in Paris?"),
        AIMessage("", tool_calls=[{**CALL, "id": "c1"}]),
        ToolMessage("sunny", tool_call_id="c1"),
    ]
    llm = Scripted(answers=["Sunny."])
    chat = llm.as_chat(template=template).bind_tools([weather])
    assert chat.invoke(history).text == "Sunny."
    assert "sunny" in llm.asked[0]


def test_tools_of_the_field_are_offered_in_every_call():
    llm = Scripted(answers=[HERMES, HERMES])
    chat = llm.as_chat(template="chatml", tools=[weather])
    assert chat.invoke("hi").tool_calls
    assert chat.bind_tools([add]).invoke("hi").tool_calls
    assert '"add"' in llm.asked[1]
    assert chat.bind_tools([weather, add]).kwargs["tools"] == chat.bind_tools([add]).kwargs["tools"]
    other = {"name": "weather", "description": "Another.", "parameters": {}}
    with pytest.raises(ValueError, match="shadows another"):
        chat.bind_tools([other])


def test_choice_none_offers_no_tool():
    llm = Scripted(answers=[HERMES])
    chat = llm.as_chat(template="chatml").bind_tools([weather], tool_choice="none")
    answer = chat.invoke("hi")
    assert answer.tool_calls == []
    assert answer.text == HERMES
    assert "weather" not in llm.asked[0]


# --- a required call ---


def test_a_model_that_can_be_held_to_a_schema_is_held_to_it():
    def make():
        llm = Held(answers=['{"name": "add", "arguments": {"a": 1, "b": 2}}'])
        return llm.as_chat(template="chatml").bind_tools([weather, add], tool_choice="any")

    for message in both(make):
        assert [c["name"] for c in message.tool_calls] == ["add"]
        assert message.tool_calls[0]["args"] == {"a": 1, "b": 2}
        assert message.text == ""


def test_the_prompt_of_a_call_that_is_held_to_a_schema_has_begun_it():
    llm = Held(answers=['{"name": "add", "arguments": {"a": 1, "b": 2}}'])
    llm.as_chat(template="chatml").bind_tools([weather, add], tool_choice="add").invoke("hi")
    assert llm.asked[0].endswith("<tool_call>\n")
    schema = llm.seen[0]["json_schema"]
    assert [each["properties"]["name"] for each in schema["anyOf"]] == [{"const": "add"}]


def test_a_required_call_that_is_missing_is_asked_for_again():
    def make():
        llm = Scripted(answers=["I do not know.", HERMES])
        return llm.as_chat(template="chatml").bind_tools([weather], tool_choice="any")

    for message in both(make):
        assert [without_id(call) for call in message.tool_calls] == [CALL]
        assert message.text == ""
        assert message.usage_metadata["total_tokens"] == 30  # of both attempts


def test_what_is_wrong_is_told_to_the_model():
    bad = '<tool_call>\n{"name": "weather", "arguments": {"town": 3}}\n</tool_call>'
    llm = Scripted(answers=[bad, HERMES])
    chat = llm.as_chat(template="chatml").bind_tools([weather], tool_choice="weather")
    assert chat.invoke("hi").tool_calls[0]["args"] == {"city": "Paris"}
    assert bad in llm.asked[1]
    assert "city" in llm.asked[1].rpartition(bad)[2]


def test_a_bound_class_checks_calls_as_one_of_the_chats_own_does():
    class Low(BaseModel):
        n: int = Field(ge=1)

    calls = [f'<tool_call>{{"name": "Low", "arguments": {{"n": {n}}}}}</tool_call>' for n in (0, 2)]
    made = (
        lambda llm: llm.as_chat(template="chatml").bind_tools([Low], tool_choice="any"),
        lambda llm: llm.as_chat(template="chatml", tools=[Low]).bind(tool_choice="any"),
        lambda llm: pickle.loads(pickle.dumps(llm.as_chat(template="chatml"))).bind_tools(
            [Low], tool_choice="any"
        ),
    )
    for make in made:
        assert make(Scripted(answers=calls)).invoke("x").tool_calls[0]["args"] == {"n": 2}
    (bound,) = made[0](Scripted(answers=calls)).kwargs["tools"]
    for copied in (copy.deepcopy(bound), pickle.loads(pickle.dumps(bound))):
        assert type(copied) is dict
        assert copied == bound


@pytest.mark.parametrize("template", ["plain", "gemma", "phi", "chatml", "llama3", "mistral"])
def test_a_call_that_could_not_be_read_is_part_of_the_history(template):
    bad = {"name": "weather", "args": '{"city": "Os', "id": "c1", "error": "cut off"}
    good = {"name": "add", "args": {"a": 1, "b": 2}, "id": "c2"}
    asked = [
        HumanMessage("hi"),
        AIMessage("", invalid_tool_calls=[bad]),
        HumanMessage("again"),
        AIMessage("", tool_calls=[good], invalid_tool_calls=[{**bad, "id": "c3"}]),
        ToolMessage("3", tool_call_id="c2"),
        ToolMessage("that was no call", tool_call_id="c3"),
    ]
    for tools in ([], [weather, add]):
        llm = Scripted(answers=["ok"])
        chat = llm.as_chat(template=template, tools=tools)
        assert chat.invoke(asked).text == "ok"
        assert llm.asked[0].count("Os") >= 2
        assert "that was no call" in llm.asked[0]


def test_after_the_last_repair_what_there_is_goes_out():
    def make():
        llm = Scripted(answers=['<tool_call>\n{"name": "weather", "arg'] * 3)
        return llm.as_chat(template="chatml").bind_tools([weather], tool_choice="any")

    for message in both(make):
        assert message.tool_calls == []
        assert len(message.invalid_tool_calls) == 1
        assert '"weather"' in message.invalid_tool_calls[0]["args"]


def test_no_repairs_mean_none():
    llm = Scripted(answers=["no"])
    chat = llm.as_chat(template="chatml", max_repairs=0).bind_tools([weather], tool_choice="any")
    assert chat.invoke("hi").text == "no"
    assert len(llm.asked) == 1


# --- calls that are not whole ---


def test_a_call_that_is_cut_off_is_never_taken_for_a_call():
    cut = '<tool_call>\n{"name": "weather", "arguments": {"city": "Par'

    def make():
        llm = Scripted(answers=[cut], reason="length")
        return llm.as_chat(template="chatml").bind_tools([weather])

    whole, streamed = both(make)
    for message in (whole, streamed):
        assert message.tool_calls == []
        assert [c["name"] for c in message.invalid_tool_calls] == ["weather"]
        assert message.invalid_tool_calls[0]["args"].startswith('{"city": "Par')
    assert "cut off" in whole.invalid_tool_calls[0]["error"]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=6,
)


@given(st.dictionaries(st.text(max_size=3), JSON, max_size=4), st.data())
def test_the_start_of_any_arguments_can_be_made_unreadable(args, data):
    text = json.dumps(args)
    start = text[: data.draw(st.integers(1, len(text) - 1))]
    try:
        read = parse_partial_json(start + unreadable_end(start))
    except ValueError:
        return
    assert not isinstance(read, dict)


def test_parallel_calls_are_numbered():
    two = (
        '<tool_call>\n{"name": "add", "arguments": {"a": 1, "b": 2}}\n</tool_call>\n'
        '<tool_call>\n{"name": "weather", "arguments": {"city": "Oslo"}}\n</tool_call>'
    )

    def make():
        return Scripted(answers=[two]).as_chat(template="chatml").bind_tools([weather, add])

    for message in both(make):
        assert [c["name"] for c in message.tool_calls] == ["add", "weather"]
        assert message.tool_calls[0]["id"] != message.tool_calls[1]["id"]


@pytest.mark.parametrize("name", ["hermes", "llama3", "mistral", "json"])
def test_each_format_makes_the_round(name):
    chat = Scripted(answers=["."]).as_chat(template="plain", tool_format=name)
    how = chat._tool_format()
    text = how.call_text([{**CALL, "id": "abcdefghi"}])
    again = Scripted(answers=[text]).as_chat(template="plain", tool_format=name)
    message = again.bind_tools([weather]).invoke("hi")
    assert [without_id(call) for call in message.tool_calls] == [CALL]


def test_an_unknown_format_is_an_error_with_those_there_are():
    with pytest.raises(ValueError, match=r"tool_format='hermess'.*hermes"):
        Scripted(answers=[]).as_chat(tool_format="hermess")


def test_a_history_with_an_answer_and_no_call_is_an_error():
    with pytest.raises(ValueError, match="c9"):
        Scripted(answers=[]).as_chat().invoke([ToolMessage("x", tool_call_id="c9")])


def test_a_template_that_fails_says_so():
    template = ChatTemplate("{{ raise_exception('only cats') }}")
    with pytest.raises(ValueError, match="only cats"):
        Scripted(answers=[]).as_chat(template=template).invoke("hi")
