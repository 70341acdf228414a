"""A chat's history as chat APIs have it: turns with a role, text, images and calls of tools."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    ChatMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
    convert_to_openai_messages,
)

_TEXTS = frozenset({"text", "text-plain", "input_text", "output_text"})
_IMAGES = frozenset({"image", "image_url", "input_image"})
_CALLS = frozenset({"tool_call", "tool_use", "function_call"})
_PASSED_OVER = frozenset(
    # What a model thought, or its provider did, before it wrote the text that is there too; and
    # parts of calls, which stand in `tool_calls` as well.
    {"reasoning", "reasoning_content", "redacted_thinking", "thinking"}
    | {"server_tool_call", "server_tool_call_chunk", "server_tool_result"}
    | {"input_json_delta", "invalid_tool_call", "tool_call_chunk"}
)
_ROLES: dict[type[BaseMessage], str] = {
    SystemMessage: "system",
    HumanMessage: "user",
    AIMessage: "assistant",
    ToolMessage: "tool",
}


@dataclass(frozen=True, slots=True)
class Image:
    """An image."""

    url: str
    """Where it is, or itself (`data:image/png;base64,…`)."""
    detail: str | None = None


@dataclass(frozen=True, slots=True)
class Call:
    """A call of a tool."""

    id: str
    name: str
    arguments: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Turn:
    """A message."""

    role: str
    parts: list[str | Image] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    name: str | None = None
    """Who speaks, where that is said; of a tool's answer, the tool."""
    answers: str | None = None
    """The id of the call that it answers."""
    reasoning: str = ""

    @property
    def text(self) -> str:
        """The text of all parts."""
        return "".join(part for part in self.parts if isinstance(part, str))

    @property
    def images(self) -> list[Image]:
        """The images among the parts."""
        return [part for part in self.parts if isinstance(part, Image)]


def turns(messages: Sequence[BaseMessage], takes: Collection[str]) -> list[Turn]:
    """Return messages of any provider as turns.

    What other providers' models thought is left out; what else cannot be expressed is an error.

    Args:
        messages: The messages.
        takes: What the model takes: `text`, `image`.

    Raises:
        ValueError: There are none, one holds something that the model does not take, or a tool's
            answer has no call.
    """
    if not messages:
        raise ValueError("there are no messages, so there is nothing to answer")
    asked: dict[str, str] = {}
    found = []
    for number, message in enumerate(messages, 1):
        turn = _Reader(message, number, takes).turn()
        asked.update((call.id, call.name) for call in turn.calls)
        if turn.answers is not None:
            if turn.answers not in asked:
                raise ValueError(
                    f"message {number} answers the tool call {turn.answers!r}, which no message "
                    "before it has made; put the AIMessage with that call before it"
                )
            turn = Turn("tool", turn.parts, name=asked[turn.answers], answers=turn.answers)
        found.append(turn)
    return found


class _Reader:
    """Reads one message."""

    def __init__(self, message: BaseMessage, number: int, takes: Collection[str]) -> None:
        self._message = message
        self._number = number
        self._takes = takes

    def turn(self) -> Turn:
        message = self._message
        parts = list(self._parts())
        if isinstance(message, ToolMessage):
            text = "".join(part for part in parts if isinstance(part, str))
            if message.status == "error" and not text.lstrip().lower().startswith("error"):
                parts.insert(0, "Error: ")
            return Turn("tool", parts, answers=message.tool_call_id)
        if isinstance(message, AIMessage):
            reasoning = message.additional_kwargs.get("reasoning_content")
            return Turn(
                "assistant",
                parts,
                list(self._calls(message)),
                name=message.name,
                reasoning=reasoning if isinstance(reasoning, str) else "",
            )
        return Turn(self._role(), parts, name=message.name)

    def _role(self) -> str:
        if isinstance(self._message, ChatMessage):
            return self._message.role
        for kind, role in _ROLES.items():
            if isinstance(self._message, kind):
                return role
        raise ValueError(
            f"message {self._number} is of the type {self._message.type!r}, which chat APIs have "
            "not; use system, human, AI and tool messages"
        )

    def _parts(self) -> Iterator[str | Image]:
        content = self._message.content
        for block in [content] if isinstance(content, str) else content:
            if isinstance(block, str):
                if block:
                    yield block
                continue
            kind = _kind(block)
            if kind in _TEXTS and isinstance(block.get("text"), str):
                if block["text"]:
                    yield block["text"]
            elif kind == "refusal":
                yield str(block.get("refusal") or "")
            elif kind == "image" and "image" in self._takes:
                yield self._image(block)
            elif not (kind in _PASSED_OVER or (kind in _CALLS and self._is_ours)):
                raise ValueError(
                    f"this model takes {' and '.join(self._takes)}; message {self._number} has "
                    f"{_a(kind)} block; leave it out, or use a model that takes it"
                )

    @property
    def _is_ours(self) -> bool:
        return isinstance(self._message, AIMessage)

    def _image(self, block: Mapping[str, Any]) -> Image:
        source = block.get("source")
        if isinstance(source, Mapping) and isinstance(source.get("url"), str):  # Anthropic's
            return Image(source["url"])
        url = block.get("image_url")
        if isinstance(url, str):
            return Image(url)
        try:
            found = convert_to_openai_messages(HumanMessage([dict(block)]))["content"][0]
            told = found["image_url"]
            return Image(told["url"], told.get("detail"))
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(
                f"message {self._number} has an image block that cannot be read: {error}"
            ) from None

    def _calls(self, message: AIMessage) -> Iterator[Call]:
        known = set()
        for number, call in enumerate(message.tool_calls):
            id = call["id"] or f"call_{self._number}_{number}"
            known.add(id)
            yield Call(id, call["name"], call["args"])
        for number, invalid in enumerate(message.invalid_tool_calls):
            id = invalid["id"] or f"invalid_{self._number}_{number}"
            known.add(id)
            yield Call(id, invalid["name"] or "", _arguments(invalid["args"]))
        for block in message.content:
            if isinstance(block, dict) and block.get("type") in _CALLS:
                id = block.get("call_id") or block.get("id") or ""
                if id not in known and block.get("name"):
                    told = block.get("args", block.get("input", block.get("arguments")))
                    yield Call(id, block["name"], _arguments(told))


def _kind(block: Mapping[str, Any]) -> str:
    kind = block.get("type")
    media = block.get("mime_type")
    if kind in _IMAGES or (kind is None and "image" in block):
        return "image"
    if kind == "media" and isinstance(media, str) and media.startswith("image/"):
        return "image"
    return str(kind or "nameless")


def _a(noun: str) -> str:
    return f"{'an' if noun[:1] in 'aeiou' else 'a'} {noun}"


def _arguments(told: Any) -> dict[str, Any]:
    """Return arguments as an object: servers read no others, not even in what has been said."""
    if isinstance(told, str):
        with suppress(ValueError, RecursionError):
            told = json.loads(told)
    if told in (None, ""):
        return {}
    return told if isinstance(told, dict) else {"invalid_arguments": told}
