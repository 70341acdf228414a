"""Handing over: what a native `_chat` is given, and what is told to it in words instead."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from langchain_core.messages import BaseMessage

from langchain_wrap.chat.asking import has_calls, with_schema, with_tools
from langchain_wrap.chat.call import Call
from langchain_wrap.chat.formats.base import ToolFormat
from langchain_wrap.chat.pieces import Parser


@dataclass(frozen=True, kw_only=True)
class Handed:
    """What a native `_chat` is given for a call, and how what it says is to be read."""

    messages: list[BaseMessage]
    parameters: dict[str, Any]
    parser: Parser | None = None
    certain: bool = False
    """Whether the call that is required is surely made."""


def handed(
    call: Call, messages: list[BaseMessage], how: ToolFormat, does: Collection[str]
) -> Handed:
    """Return what a `_chat` is given.

    Args:
        call: What is asked.
        messages: The conversation, checked.
        how: How the model writes calls in its text.
        does: What the model does itself, of `tools`, `tool_choice`, `parallel_tool_calls` and
            `json_schema`.
    """
    tools, parameters = call.tools, dict(call.parameters)
    if tools.required and "json_schema" in does and "tool_choice" not in does:
        # The one way to be sure of the call: as an answer that is held to the call's schema.
        constraint = how.constraint(tools)
        if constraint is not None and not constraint.prefix:
            return Handed(
                messages=with_tools(messages, tools, how),
                parameters={**parameters, "json_schema": constraint.schema},
                parser=how.parser(tools),
                certain=True,
            )
    parser: Parser | None = None
    if "tools" not in does:
        if tools.offered or has_calls(messages):
            messages, parser = with_tools(messages, tools, how), how.parser(tools)
    elif tools.offered:
        parameters["tools"] = tools.specs
        if "tool_choice" in does:
            parameters["tool_choice"] = tools.chosen or tools.choice
        if "parallel_tool_calls" in does and not tools.parallel:
            parameters["parallel_tool_calls"] = False
    if call.json_schema is not None:
        if "json_schema" in does:
            parameters["json_schema"] = call.json_schema
        else:
            messages = with_schema(messages, call.json_schema)
    return Handed(
        messages=messages,
        parameters=parameters,
        parser=parser,
        certain="tool_choice" in does and "tools" in does,
    )
