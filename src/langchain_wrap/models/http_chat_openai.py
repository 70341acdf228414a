"""`POST /chat/completions` of OpenAI-compatible servers.

https://platform.openai.com/docs/api-reference/chat
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from langchain_core import exceptions
from langchain_core.messages import AIMessageChunk
from langchain_core.messages.ai import UsageMetadata
from langchain_core.messages.tool import ToolCallChunk, tool_call_chunk

from langchain_wrap.models.http_chat_dialect import Answer, Asked, joined, made_id, usage_metadata
from langchain_wrap.models.http_chat_history import Call, Image, Turn
from langchain_wrap.models.http_errors import Peer
from langchain_wrap.models.http_format import StreamFormat
from langchain_wrap.models.http_parameters import same

BODY: dict[str, Any] = {
    **same("model messages tools tool_choice response_format stop"),
    **same(
        "temperature top_p max_tokens max_completion_tokens seed presence_penalty "
        "frequency_penalty logit_bias user parallel_tool_calls reasoning_effort verbosity "
        "chat_template_kwargs"
    ),
}
STREAM_BODY: dict[str, Any] = {"stream": True, "stream_options": {"include_usage": True}}
STREAM = StreamFormat(format="sse", done="[DONE]")
NATIVE = frozenset({"tools", "tool_choice", "json_schema"})

_CHOICES = {"auto": "auto", "any": "required", "required": "required", "none": "none"}
_REASONS = {"eos_token": "stop", "stop_sequence": "stop"}
"""What TGI has called `stop`."""
_NO_NAME = re.compile(r"[^a-zA-Z0-9_-]+")


def values(asked: Asked) -> dict[str, Any]:
    """Return the values for `BODY`."""
    found: dict[str, Any] = {"messages": [_message(turn) for turn in asked.turns]}
    if asked.stop:
        found["stop"] = list(asked.stop)
    if asked.offered:
        found["tools"] = asked.offered
        if asked.chosen is not None:
            found["tool_choice"] = {"type": "function", "function": {"name": asked.chosen}}
        elif asked.tool_choice is not None:
            found["tool_choice"] = _CHOICES[asked.tool_choice]
    if asked.any_object:
        found["response_format"] = {"type": "json_object"}
    elif asked.json_schema is not None:
        name = _NO_NAME.sub("_", str(asked.json_schema.get("title", "")))[:64]
        declared = {"name": name or "answer", "schema": asked.json_schema, "strict": True}
        found["response_format"] = {"type": "json_schema", "json_schema": declared}
    return found


def answer(asked: Asked, model: str | None) -> Answer:
    """Return what reads the answer."""
    return _Answer(asked, model)


# --- what is asked ---


def _message(turn: Turn) -> dict[str, Any]:
    message: dict[str, Any] = {"role": turn.role}
    if turn.images:
        message["content"] = [_part(part) for part in turn.parts]
    else:
        # Some servers refuse "" beside calls, and none refuses null there.
        message["content"] = turn.text or (None if turn.calls else "")
    if turn.answers is not None:
        message["tool_call_id"] = turn.answers
    elif turn.name:
        message["name"] = turn.name
    if turn.calls:
        message["tool_calls"] = [_call(call) for call in turn.calls]
    return message


def _part(part: str | Image) -> dict[str, Any]:
    if isinstance(part, str):
        return {"type": "text", "text": part}
    detail = {} if part.detail is None else {"detail": part.detail}
    return {"type": "image_url", "image_url": {"url": part.url, **detail}}


def _call(call: Call) -> dict[str, Any]:
    arguments = json.dumps(call.arguments, ensure_ascii=False)
    return {
        "id": call.id,
        "type": "function",
        "function": {"name": call.name, "arguments": arguments},
    }


# --- what is answered ---


class _Answer(Answer):
    def __init__(self, asked: Asked, model: str | None) -> None:
        super().__init__(model)
        self._calls = _Calls()
        self._refusal = ""
        self._is_structured = asked.json_schema is not None

    def read(self, value: Any, peer: Peer) -> AIMessageChunk | None:
        if not isinstance(value, Mapping):
            return None
        if isinstance(value.get("model"), str) and value["model"]:
            self._model = value["model"]
        self._usage = _usage(value.get("usage")) or self._usage
        choice = _choice(value)
        if choice is None:
            return None
        self._begun = True
        reason = choice.get("finish_reason")
        if isinstance(reason, str) and reason:
            self._finish_reason = _REASONS.get(reason, reason)
        whole = "delta" not in choice
        said = choice.get("message" if whole else "delta")
        return self._said(said, peer, whole=whole) if isinstance(said, Mapping) else None

    def _said(self, said: Mapping[str, Any], peer: Peer, *, whole: bool) -> AIMessageChunk | None:
        text, thought = _content(said.get("content"), peer)
        thought += joined(said.get("reasoning_content") or said.get("reasoning"), peer)
        refusal = joined(said.get("refusal"), peer)
        calls = list(self._calls.read(said.get("tool_calls"), peer, whole=whole))
        self._refusal += refusal
        more = {"reasoning_content": thought, "refusal": refusal}
        if not (text or thought or refusal or calls):
            return None
        return AIMessageChunk(
            content=text + refusal,
            tool_call_chunks=calls,
            additional_kwargs={name: told for name, told in more.items() if told},
        )

    def end(self, peer: Peer) -> AIMessageChunk:
        end = super().end(peer)
        # Only who needs what was refused must not take the refusal for it.
        kind = getattr(exceptions, "ModelRefusalError", None)
        if self._refusal and self._is_structured and kind is not None:
            error = kind(f"the model of {peer.url} has refused: {peer.clean(self._refusal)}")
            error.partial_text = self._refusal
            raise error
        return end


class _Calls:
    """The calls of an answer: each gets its id and name once, whatever the server repeats."""

    def __init__(self) -> None:
        self._ids: set[str] = set()
        self._by_key: dict[Any, _Begun] = {}
        self._last: Any = None

    def read(self, told: Any, peer: Peer, *, whole: bool) -> Iterator[ToolCallChunk]:
        if not told:
            return
        for part in told if isinstance(told, list) else [told]:  # TGI streams one alone
            if not isinstance(part, Mapping):
                raise peer.unexpected("something else than a tool call", part)
            if whole:
                self._by_key.clear()  # each is a call of its own
            yield self._chunk(part, peer)

    def _chunk(self, part: Mapping[str, Any], peer: Peer) -> ToolCallChunk:
        function = part.get("function")
        function = function if isinstance(function, Mapping) else {}
        id, name = joined(part.get("id"), peer), joined(function.get("name"), peer)
        call, new = self._call(part.get("index"), id, name)
        # Some servers repeat the name with every part, and LangChain would put them together.
        told = name if name and not call.name else None
        call.name = call.name or name
        return tool_call_chunk(
            index=call.index,
            id=call.id if new else None,
            name=told,
            args=_arguments(function.get("arguments")),
        )

    def _call(self, index: Any, id: str, name: str) -> tuple[_Begun, bool]:
        """Return the call that a part belongs to, and whether it is the call's first."""
        key = self._last if index is None else index
        known = self._by_key.get(key)
        # Some servers give all calls the index 0, or none, and each its own id.
        other = bool(name) and known is not None and (id != known.id if id else index is None)
        if known is not None and not other:
            self._last = key
            return known, False
        # TGI gives all calls the id "0".
        begun = _Begun(len(self._ids), id if id and id not in self._ids else made_id())
        self._ids.add(begun.id)
        self._last = key
        self._by_key[key] = begun
        return begun, True


class _Begun:
    """A call that has begun."""

    __slots__ = ("id", "index", "name")

    def __init__(self, index: int, id: str) -> None:
        self.index = index
        self.id = id
        self.name = ""


def _choice(value: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return the first choice that a server tells of; it may tell of none."""
    choices = value.get("choices")
    for choice in choices if isinstance(choices, list) else ():
        if isinstance(choice, Mapping) and not choice.get("index"):
            return choice
    return None


def _content(told: Any, peer: Peer) -> tuple[str, str]:
    """Return the text of a content, and what the model thought: some servers give both as parts."""
    if not isinstance(told, list):
        return joined(told, peer), ""
    text = thought = ""
    for part in told:
        kind = part.get("type") if isinstance(part, Mapping) else None
        if kind == "thinking":
            thought += _content(part.get("thinking"), peer)[0]
        elif kind == "text":
            text += joined(part.get("text"), peer)
        else:
            raise peer.unexpected("something else than text", part)
    return text, thought


def _arguments(told: Any) -> str:
    if told is None:
        return ""
    return told if isinstance(told, str) else json.dumps(told, ensure_ascii=False)


def _usage(told: Any) -> UsageMetadata | None:
    if not isinstance(told, Mapping):
        return None
    cached = _detail(told, "prompt_tokens_details", "cached_tokens")
    return usage_metadata(
        told.get("prompt_tokens"),
        told.get("completion_tokens"),
        told.get("total_tokens"),
        cached=told.get("prompt_cache_hit_tokens") if cached is None else cached,
        reasoning=_detail(told, "completion_tokens_details", "reasoning_tokens"),
    )


def _detail(told: Mapping[str, Any], where: str, name: str) -> Any:
    details = told.get(where)
    return details.get(name) if isinstance(details, Mapping) else None
