"""Histories: LangChain's messages, checked, and as the dicts that chat templates take."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    ChatMessage,
    FunctionMessage,
    HumanMessage,
    RemoveMessage,
    SystemMessage,
    ToolCall,
    ToolMessage,
)

_ROLES: tuple[tuple[type[BaseMessage], str], ...] = (
    (SystemMessage, "system"),
    (HumanMessage, "user"),
    (AIMessage, "assistant"),
    (ToolMessage, "tool"),
)
_TEXTS = ("text", "input_text", "output_text", "text-plain", "refusal")
_THOUGHTS = ("reasoning", "thinking", "reasoning_content")
_CALLS = ("tool_use", "tool_call", "function_call", "invalid_tool_call", "tool_call_chunk")
# What a provider did on its side before it wrote the text that is there too.
_INWARD = ("redacted_thinking", "server_tool_call", "server_tool_call_chunk", "server_tool_result")
_KINDS = {
    "image": "image",
    "image_url": "image",
    "input_image": "image",
    "audio": "audio",
    "input_audio": "audio",
    "video": "video",
    "video_url": "video",
    "file": "file",
    "input_file": "file",
    "document": "document",
    "media": "media",
}


MEDIA = frozenset(_KINDS.values())
"""What a message may hold besides text."""


class _Read(NamedTuple):
    """What the blocks of a content hold."""

    text: str
    thoughts: str
    calls: list[dict[str, Any]]
    media: bool
    """Whether there is an image or the like, which the model takes."""


def checked(
    messages: Sequence[BaseMessage], *, takes: Collection[str] = (), parts: bool = False
) -> list[BaseMessage]:
    """Return a conversation whose contents are text, whoever wrote it.

    Text blocks are joined as LangChain's `message.text` joins them. Thoughts of an answer, in
    whatever block a provider gives them, are in `additional_kwargs["reasoning_content"]`; its calls
    are in `tool_calls`. The messages themselves are not changed.

    Args:
        messages: The conversation.
        takes: What the model takes besides text, of `MEDIA`; a message with such a block keeps its
            content as it is.
        parts: Whether they may be a part of a conversation, or in another order: with answers to
            calls that are not there.

    Raises:
        ValueError: There are none; one holds an image or something else that is no text; one
            answers a call that was not made; one is not part of a conversation.
        TypeError: Something is not a message.
    """
    if not messages:
        raise ValueError("there are no messages; give at least one")
    found: list[BaseMessage] = []
    asked: dict[str, str] = {}
    """The calls made so far: id to name."""
    for number, message in enumerate(messages, 1):
        kept = _as_text(number, message, takes)
        if isinstance(kept, AIMessage):
            asked |= {str(call["id"]): call["name"] for call in calls_of(kept)}
        elif parts:
            pass
        elif isinstance(kept, FunctionMessage):
            kept = _as_tool_message(number, kept, asked)
        elif isinstance(kept, ToolMessage):
            _check_answer(number, kept, asked)
        found.append(kept)
    return found


def as_dicts(messages: Sequence[BaseMessage]) -> list[dict[str, Any]]:
    """Return a conversation as the dicts that chat templates take, after `checked`.

    Each has `role` and `content`; answers of the assistant `tool_calls` (with arguments as
    objects) and `reasoning_content` where there are any; answers of tools `tool_call_id` and
    `name`, and a content that begins with "Error" if they have failed. A call whose arguments
    could not be read is given with what the model had written as its argument `invalid_arguments`.

    Raises:
        ValueError, TypeError: As for `checked`.
    """
    names: dict[str, str] = {}
    dicts: list[dict[str, Any]] = []
    for message in checked(messages):
        one: dict[str, Any] = {"role": _role(message), "content": str(message.content)}
        if isinstance(message, AIMessage):
            calls = calls_of(message)
            names |= {str(call["id"]): call["name"] for call in calls}
            if thoughts := message.additional_kwargs.get("reasoning_content"):
                one["reasoning_content"] = thoughts
            if calls:
                one["tool_calls"] = [_call_dict(call) for call in calls]
        elif isinstance(message, ToolMessage):
            one["content"] = _outcome(message)
            one["tool_call_id"] = message.tool_call_id
            if name := message.name or names.get(message.tool_call_id):
                one["name"] = name
        dicts.append(one)
    return dicts


def _role(message: BaseMessage) -> str:
    if isinstance(message, ChatMessage):
        return message.role
    return next(role for kind, role in _ROLES if isinstance(message, kind))


def _outcome(message: ToolMessage) -> str:
    text = str(message.content)
    failed = message.status == "error" and not text.lstrip().lower().startswith("error")
    return f"Error: {text}" if failed else text


def _call_dict(call: ToolCall) -> dict[str, Any]:
    function = {"name": call["name"] or "unknown", "arguments": call["args"]}
    return {"type": "function", "id": call["id"] or "", "function": function}


def calls_of(message: AIMessage) -> list[ToolCall]:
    """Return the calls that an answer makes, those that could not be read last.

    The arguments of such a one are what the model had written, as `invalid_arguments`.
    """
    unread = [
        ToolCall(
            name=call["name"] or "",
            args={"invalid_arguments": call["args"] or ""},
            id=call["id"],
        )
        for call in message.invalid_tool_calls
    ]
    return [*message.tool_calls, *unread]


def media_of(message: BaseMessage) -> list[dict[str, Any]]:
    """Return the blocks of a content that are images or the like."""
    blocks = [] if isinstance(message.content, str) else message.content
    return [b for b in blocks if isinstance(b, dict) and str(b.get("type")) in _KINDS]


def _as_text(number: int, message: BaseMessage, takes: Collection[str]) -> BaseMessage:
    """Return a message whose content is text, thoughts and calls being where they belong."""
    if not isinstance(message, BaseMessage):
        raise TypeError(f"message {number} is no message of LangChain: {message!r}")
    if isinstance(message, RemoveMessage):
        raise ValueError(
            f"message {number} is a RemoveMessage, an order to a graph's state and no part of a "
            "conversation; apply it first (LangGraph's add_messages does)"
        )
    if not isinstance(message, ChatMessage | FunctionMessage) and not isinstance(
        message, tuple(kind for kind, _ in _ROLES)
    ):
        raise ValueError(
            f"message {number} is a {type(message).__name__}, which has no role that is known; "
            "use ChatMessage(role=...)"
        )
    read = _read(number, message, takes)
    update: dict[str, Any] = {}
    if read.text != message.content and not read.media:
        update["content"] = read.text
    if isinstance(message, AIMessage):
        if read.thoughts and not message.additional_kwargs.get("reasoning_content"):
            thoughts = {"reasoning_content": read.thoughts}
            update["additional_kwargs"] = {**message.additional_kwargs, **thoughts}
        if more := _unlisted(number, message, read.calls):
            good = [call for call in more if call["type"] == "tool_call"]
            bad = [call for call in more if call["type"] == "invalid_tool_call"]
            update["tool_calls"] = [*message.tool_calls, *good]
            update["invalid_tool_calls"] = [*message.invalid_tool_calls, *bad]
    return message.model_copy(update=update) if update else message


def _unlisted(
    number: int, message: AIMessage, blocks: list[dict[str, Any]]
) -> list[dict[str, Any]]:
    """Return the calls in blocks and in the old `function_call` that `tool_calls` does not have."""
    listed = {call["id"] for call in calls_of(message)}
    found = [_call(block) for block in blocks]
    old = message.additional_kwargs.get("function_call")
    if isinstance(old, Mapping) and not listed and not found:
        found.append(_call({**old, "id": f"function_call_{number}"}))
    return [call for call in found if call["id"] not in listed]


def _call(block: Mapping[str, Any]) -> dict[str, Any]:
    """Return a provider's block of a call as LangChain has it."""
    keys = ("input", "arguments", "args")
    written: Any = next((block[key] for key in keys if block.get(key)), {})
    arguments = written
    if isinstance(written, str):
        try:
            arguments = json.loads(written)
        except ValueError:
            arguments = None
    call = {"name": block.get("name"), "id": block.get("call_id") or block.get("id")}
    if isinstance(arguments, Mapping):
        return {**call, "args": dict(arguments), "type": "tool_call"}
    error = "the arguments are no JSON object"
    return {**call, "args": str(written), "error": error, "type": "invalid_tool_call"}


def _read(number: int, message: BaseMessage, takes: Collection[str]) -> _Read:
    """Read the blocks of a content.

    Raises:
        ValueError: A block is no text.
    """
    texts: list[str] = []
    thoughts: list[str] = []
    calls: list[dict[str, Any]] = []
    media = False
    for block in [message.content] if isinstance(message.content, str) else message.content:
        if isinstance(block, str):
            texts.append(block)
            continue
        kind = block.get("type") or ("text" if isinstance(block.get("text"), str) else None)
        own = isinstance(message, AIMessage)
        text = block.get("text", block.get("refusal"))
        if kind in _TEXTS and isinstance(text, str):
            texts.append(text)
        elif own and kind in _THOUGHTS:
            thoughts.extend(_thoughts(block))
        elif own and kind in _CALLS:
            calls.append(block)
        elif _KINDS.get(str(kind)) in takes:
            media = True
        elif not (own and (kind in _INWARD or str(kind).endswith(("_call", "_call_output")))):
            raise ValueError(_complaint(number, kind))
    return _Read("".join(texts), "\n\n".join(thoughts), calls, media)


def _thoughts(block: Mapping[str, Any]) -> Iterator[str]:
    """Yield the texts of a block of thoughts, in the ways of several providers."""
    for key in ("reasoning", "thinking", "reasoning_content", "text", "summary", "content"):
        value = block.get(key)
        if isinstance(value, str) and value:
            yield value
        elif isinstance(value, Mapping):
            yield from _thoughts(value)
        elif isinstance(value, list):
            for item in value:
                if isinstance(item, Mapping):
                    yield from _thoughts(item)


def _complaint(number: int, kind: object) -> str:
    if kind == "tool_result":
        return f"message {number} has a tool_result block; give it as a ToolMessage of its own"
    if medium := _KINDS.get(str(kind)):
        article = "an" if medium[0] in "ai" else "a"
        many = medium if medium in ("audio", "video", "media") else f"{medium}s"
        return (
            f"this model takes text; message {number} has {article} {medium} block; leave it out, "
            f"or use a model that takes {many}"
        )
    return (
        f"this model takes text; message {number} has a block of type {kind!r}, which is none; "
        "leave it out, or give what it says as text"
    )


def _check_answer(number: int, message: ToolMessage, asked: Mapping[str, str]) -> None:
    if message.tool_call_id in asked:
        return
    calls = f"only {', '.join(map(repr, asked))} were" if asked else "no call was"
    raise ValueError(
        f"message {number} answers the tool call {message.tool_call_id!r}, but no message before "
        f"it made that call ({calls} made); give the AIMessage with the call too, or leave the "
        "ToolMessage out"
    )


def _as_tool_message(
    number: int, message: FunctionMessage, asked: Mapping[str, str]
) -> ToolMessage:
    """Return the answer of a function as that of the tool whose last call it belongs to."""
    ids = [id_ for id_, name in asked.items() if name == message.name]
    if not ids:
        raise ValueError(
            f"message {number} answers the function {message.name!r}, but no message before it "
            "called that; give the AIMessage with the call too, or leave the FunctionMessage out"
        )
    return ToolMessage(message.content, name=message.name, tool_call_id=ids[-1], id=message.id)
