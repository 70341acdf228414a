"""Asking in words: tools and schemas told to a model that knows neither."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, ToolMessage

from langchain_wrap.chat.formats.base import ToolFormat
from langchain_wrap.chat.history import calls_of, media_of
from langchain_wrap.chat.tools import Tools


def has_calls(messages: Sequence[BaseMessage]) -> bool:
    """Whether there are tool calls or their answers in a history."""
    return any(
        isinstance(m, ToolMessage) or (isinstance(m, AIMessage) and calls_of(m)) for m in messages
    )


def with_tools(
    messages: list[BaseMessage], tools: Tools, how: ToolFormat, *, system: bool = True
) -> list[BaseMessage]:
    """Return messages that tell of the tools, their calls and answers in text alone.

    Args:
        messages: The conversation.
        tools: What may be called.
        how: How the model writes its calls.
        system: Whether the model knows system messages.
    """
    told = [_as_text(message, how) for message in messages]
    return _with(told, how.instructions(tools), system) if tools.offered else told


def with_schema(
    messages: list[BaseMessage], schema: dict[str, Any], *, system: bool = True
) -> list[BaseMessage]:
    """Return messages that ask for an answer which is JSON that is valid for a schema."""
    if schema == {"type": "object"}:
        return _with(messages, "Answer with a JSON object, and with nothing else.", system)
    text = (
        "Answer with a JSON object that is valid for this JSON schema, and with nothing else:\n"
        + json.dumps(schema, ensure_ascii=False)
    )
    return _with(messages, text, system)


def _with(messages: list[BaseMessage], text: str, system: bool) -> list[BaseMessage]:
    """Return messages with `text` in the system message, or before the first of the user."""
    if messages and isinstance(messages[0], SystemMessage):
        first = str(messages[0].text)
        told = f"{first}\n\n{text}" if first else text
        return [SystemMessage(_content(messages[0], told)), *messages[1:]]
    if system:
        return [SystemMessage(text), *messages]
    for number, message in enumerate(messages):
        if isinstance(message, HumanMessage):
            asked = HumanMessage(_content(message, f"{text}\n\n{message.text}"))
            return [*messages[:number], asked, *messages[number + 1 :]]
    return [HumanMessage(text), *messages]


def _as_text(message: BaseMessage, how: ToolFormat) -> BaseMessage:
    if isinstance(message, ToolMessage):
        return HumanMessage(_content(message, how.result_text(message)))
    if isinstance(message, AIMessage) and (calls := calls_of(message)):
        said, called = str(message.text), how.call_text(calls)
        return AIMessage(_content(message, f"{said}\n{called}" if said else called))
    return message


def _content(message: BaseMessage, text: str) -> Any:
    """Return a text as a content, with the images and the like that a message has."""
    media = media_of(message)
    return [{"type": "text", "text": text}, *media] if media else text
