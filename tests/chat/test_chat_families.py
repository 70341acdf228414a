"""The named templates, to the letter."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from langchain_wrap.chat.families import FAMILIES
from langchain_wrap.chat.template import ChatTemplate

BOS = {"bos_token": "<s>"}
SYSTEM = {"role": "system", "content": "Be brief."}
TALK = [
    SYSTEM,
    {"role": "user", "content": "Hi"},
    {"role": "assistant", "content": "Hello"},
    {"role": "user", "content": "Sum?"},
]
TOOL = {
    "type": "function",
    "function": {"name": "add", "description": "Adds.", "parameters": {"type": "object"}},
}


def call(id_: str, **arguments: Any) -> dict[str, Any]:
    return {"type": "function", "id": id_, "function": {"name": "add", "arguments": arguments}}


USE = [
    SYSTEM,
    {"role": "user", "content": "Sums?"},
    {
        "role": "assistant",
        "content": "Let me see.",
        "tool_calls": [call("aaaaaaaaa", a="ä"), call("bbbbbbbbb")],
    },
    {"role": "tool", "name": "add", "tool_call_id": "aaaaaaaaa", "content": '3 "x"'},
    {"role": "tool", "name": "add", "tool_call_id": "bbbbbbbbb", "content": "0"},
    {"role": "assistant", "content": "3"},
]


def render(name: str, messages: list[dict[str, Any]], **options: Any) -> str:
    return ChatTemplate.named(name, special_tokens=BOS).render(messages, **options)


TALKS = {
    "chatml": (
        "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n"
        "<|im_start|>assistant\nHello<|im_end|>\n<|im_start|>user\nSum?<|im_end|>\n"
        "<|im_start|>assistant\n"
    ),
    "llama3": (
        "<s><|start_header_id|>system<|end_header_id|>\n\nBe brief.<|eot_id|>"
        "<|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\nHello<|eot_id|>"
        "<|start_header_id|>user<|end_header_id|>\n\nSum?<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\n"
    ),
    "mistral": "<s>[INST] Be brief.\n\nHi[/INST] Hello</s>[INST] Sum?[/INST]",
    "gemma": (
        "<s><start_of_turn>user\nBe brief.\n\nHi<end_of_turn>\n<start_of_turn>model\nHello"
        "<end_of_turn>\n<start_of_turn>user\nSum?<end_of_turn>\n<start_of_turn>model\n"
    ),
    "phi": (
        "<|system|>\nBe brief.<|end|>\n<|user|>\nHi<|end|>\n<|assistant|>\nHello<|end|>\n"
        "<|user|>\nSum?<|end|>\n<|assistant|>\n"
    ),
    "plain": "System: Be brief.\n\nUser: Hi\n\nAssistant: Hello\n\nUser: Sum?\n\nAssistant:",
}
OPENERS = {
    "chatml": "<|im_start|>assistant\n",
    "llama3": "<|start_header_id|>assistant<|end_header_id|>\n\n",
    "mistral": "",
    "gemma": "<start_of_turn>model\n",
    "phi": "<|assistant|>\n",
    "plain": "\n\nAssistant:",
}


def test_every_family_is_tested() -> None:
    assert list(FAMILIES) == list(TALKS) == list(OPENERS)


@pytest.mark.parametrize("name", FAMILIES)
def test_talk(name: str) -> None:
    assert render(name, TALK) == TALKS[name]
    assert render(name, TALK, add_generation_prompt=False) == TALKS[name].removesuffix(
        OPENERS[name]
    )


@pytest.mark.parametrize("name", FAMILIES)
def test_without_special_tokens_there_is_no_bos(name: str) -> None:
    assert ChatTemplate.named(name).render(TALK) == TALKS[name].removeprefix("<s>")


@pytest.mark.parametrize("name", FAMILIES)
def test_the_stops_are_those_that_the_text_shows(name: str) -> None:
    named = ChatTemplate.named(name)
    assert named.stops == FAMILIES[name].stops
    assert set(ChatTemplate(named.source).stops) <= set(named.stops)


@pytest.mark.parametrize("name", FAMILIES)
def test_which_take_tools(name: str) -> None:
    assert ChatTemplate.named(name).takes_tools is (name in ("chatml", "llama3", "mistral"))


def test_chatml_tools() -> None:
    assert render("chatml", USE, tools=[TOOL]) == (
        "<|im_start|>system\nBe brief.\n\n# Tools\n\n"
        "You may call one or more of these functions to help with the request:\n"
        f"<tools>\n{json.dumps(TOOL)}\n</tools>\n\n"
        "For each call give a JSON object with the name and the arguments of the function, within "
        '<tool_call></tool_call> tags:\n<tool_call>\n{"name": <function-name>, "arguments": '
        "<args-json-object>}\n</tool_call><|im_end|>\n"
        "<|im_start|>user\nSums?<|im_end|>\n"
        '<|im_start|>assistant\nLet me see.\n<tool_call>\n{"name": "add", "arguments": {"a": "ä"}}'
        '\n</tool_call>\n<tool_call>\n{"name": "add", "arguments": {}}\n</tool_call><|im_end|>\n'
        '<|im_start|>user\n<tool_response>\n3 "x"\n</tool_response>\n'
        "<tool_response>\n0\n</tool_response><|im_end|>\n"
        "<|im_start|>assistant\n3<|im_end|>\n<|im_start|>assistant\n"
    )
    without = {"role": "assistant", "content": "", "tool_calls": [call("aaaaaaaaa")]}
    assert render("chatml", [USE[1], without]).startswith(
        "<|im_start|>user\nSums?<|im_end|>\n<|im_start|>assistant\n<tool_call>\n"
    )
    assert render("chatml", [USE[1]], tools=[TOOL]).startswith("<|im_start|>system\n# Tools")


def test_llama3_tools() -> None:
    header = "<|start_header_id|>{}<|end_header_id|>\n\n"
    assert render("llama3", USE, tools=[TOOL]) == (
        "<s>" + header.format("system") + "Environment: ipython\n\nYou may call these functions. "
        'To call one, answer with JSON only, in the format {"name": function name, "parameters": '
        "dictionary of argument name and its value}. Do not use variables.\n\n"
        + json.dumps(TOOL, indent=4)
        + "\n\nBe brief.<|eot_id|>"
        + header.format("user")
        + "Sums?<|eot_id|>"
        + header.format("assistant")
        + 'Let me see.\n\n{"name": "add", "parameters": {"a": "ä"}}; '
        + '{"name": "add", "parameters": {}}<|eot_id|>'
        + header.format("ipython")
        + '"3 \\"x\\""<|eot_id|>'
        + header.format("ipython")
        + '"0"<|eot_id|>'
        + header.format("assistant")
        + "3<|eot_id|>"
        + header.format("assistant")
    )


def test_mistral_tools() -> None:
    tools = f"[AVAILABLE_TOOLS] {json.dumps([TOOL])}[/AVAILABLE_TOOLS]"
    use = (
        "[INST] Be brief.\n\nSums?[/INST] Let me see.[TOOL_CALLS] "
        '[{"name": "add", "arguments": {"a": "ä"}, "id": "aaaaaaaaa"}, '
        '{"name": "add", "arguments": {}, "id": "bbbbbbbbb"}]</s>'
        '[TOOL_RESULTS] {"content": "3 \\"x\\"", "call_id": "aaaaaaaaa"}[/TOOL_RESULTS]'
        '[TOOL_RESULTS] {"content": "0", "call_id": "bbbbbbbbb"}[/TOOL_RESULTS] 3</s>'
    )
    assert render("mistral", USE, tools=[TOOL]) == "<s>" + tools + use
    more = [*USE, {"role": "user", "content": "More"}, {"role": "user", "content": "!"}]
    assert render("mistral", more, tools=[TOOL]) == f"<s>{use}{tools}[INST] More\n\n![/INST]"


@pytest.mark.parametrize("name", ["gemma", "phi", "plain"])
def test_families_without_tools_say_so(name: str) -> None:
    for messages in (USE[:3], [USE[1], USE[3]]):
        with pytest.raises(ValueError, match="no form for tool calls and their answers"):
            render(name, messages)
    with pytest.raises(ValueError, match="no place for tools"):
        render(name, TALK, tools=[TOOL])


@pytest.mark.parametrize("name", ["gemma", "mistral"])
def test_messages_of_one_role_are_one_turn(name: str) -> None:
    twice = [one for message in TALK for one in (message, message)]
    prompt = render(name, twice)
    assert prompt == (
        TALKS[name]
        .replace("Be brief.\n\nHi", "Be brief.\n\nBe brief.\n\nHi\n\nHi")
        .replace("Hello", "Hello\n\nHello")
        .replace("Sum?", "Sum?\n\nSum?")
    )


@pytest.mark.parametrize("name", ["gemma", "mistral"])
def test_roles_that_a_family_does_not_know(name: str) -> None:
    with pytest.raises(ValueError, match="knows no role narrator"):
        render(name, [{"role": "narrator", "content": "Once"}])


ROLES = st.sampled_from(["system", "user", "assistant"])
MESSAGES = st.lists(
    st.builds(lambda role, content: {"role": role, "content": content}, ROLES, st.text()),
    min_size=1,
    max_size=6,
)


@pytest.mark.parametrize("name", FAMILIES)
@given(messages=MESSAGES)
def test_every_conversation_can_be_told(name: str, messages: list[dict[str, Any]]) -> None:
    prompt = ChatTemplate.named(name).render(messages)
    at = 0
    for message in messages:
        text = message["content"].strip()
        at = prompt.index(text, at) + len(text)
    assert prompt.endswith(OPENERS[name])
