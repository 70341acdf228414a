"""Asking in words: tools and schemas told to a model that knows neither."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, ToolMessage

from langchain_wrap.chat.formats.base import ToolFormat
from langchain_wrap.chat.tools import Tools


def has_calls(messages: Sequence[BaseMessage]) -> bool:
    """Whether there are tool calls or their answers in a history."""
    return any(
        isinstance(m, ToolMessage) or (isinstance(m, AIMessage) and m.tool_calls) for m in messages
    )


def with_tools(messages: list[BaseMessage], tools: Tools, how: ToolFormat) -> list[BaseMessage]:
    """Return messages that tell of the tools, their calls and answers in text alone."""
    told = [_as_text(message, how) for message in messages]
    return with_system(told, how.instructions(tools)) if tools.offered else told


def with_schema(messages: list[BaseMessage], schema: dict[str, Any]) -> list[BaseMessage]:
    """Return messages that ask for an answer which is JSON that is valid for a schema."""
    if schema == {"type": "object"}:
        return with_system(messages, "Answer with a JSON object, and with nothing else.")
    text = json.dumps(schema, ensure_ascii=False)
    return with_system(
        messages,
        "Answer with a JSON object that is valid for this JSON schema, and with nothing else:\n"
        + text,
    )


def with_system(messages: list[BaseMessage], text: str) -> list[BaseMessage]:
    """Return messages with `text` at the end of the system message, which is made if need be."""
    if messages and isinstance(messages[0], SystemMessage):
        first = str(messages[0].text)
        return [SystemMessage(f"{first}\n\n{text}" if first else text), *messages[1:]]
    return [SystemMessage(text), *messages]


def _as_text(message: BaseMessage, how: ToolFormat) -> BaseMessage:
    if isinstance(message, ToolMessage):
        return HumanMessage(how.result_text(message))
    if isinstance(message, AIMessage) and message.tool_calls:
        said = str(message.text)
        calls = how.call_text(message.tool_calls)
        return AIMessage(f"{said}\n{calls}" if said else calls)
    return message
