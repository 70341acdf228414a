"""`POST /api/chat` of Ollama.

https://github.com/ollama/ollama/blob/main/docs/api.md#generate-a-chat-completion
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from langchain_core.messages import AIMessageChunk
from langchain_core.messages.tool import ToolCallChunk, tool_call_chunk

from langchain_wrap.models.http_chat_dialect import Answer, Asked, joined, made_id, usage_metadata
from langchain_wrap.models.http_chat_history import Call, Image, Turn
from langchain_wrap.models.http_errors import Peer
from langchain_wrap.models.http_format import StreamFormat
from langchain_wrap.models.http_parameters import same

BODY: dict[str, Any] = {
    **same("model messages tools format think keep_alive"),
    "stream": False,
    "options": {
        "num_predict": "{max_tokens}",
        **same("stop temperature top_p top_k seed"),
    },
}
STREAM_BODY: dict[str, Any] = {"stream": True}
STREAM = StreamFormat(format="ndjson")
NATIVE = frozenset({"tools", "json_schema"})


def values(asked: Asked) -> dict[str, Any]:
    """Return the values for `BODY`.

    Ollama knows no choice of tools: `none` is no tools, a name is that tool alone, and none can be
    made to be called.
    """
    found: dict[str, Any] = {"messages": [_message(turn) for turn in asked.turns]}
    if asked.stop:
        found["stop"] = list(asked.stop)
    if asked.offered and asked.tool_choice != "none":
        found["tools"] = asked.offered
    if asked.json_schema is not None:
        found["format"] = "json" if asked.any_object else asked.json_schema
    return found


def answer(asked: Asked, model: str | None) -> Answer:
    """Return what reads the answer."""
    return _Answer(model)


def _message(turn: Turn) -> dict[str, Any]:
    message: dict[str, Any] = {"role": turn.role, "content": turn.text}
    if turn.images:
        message["images"] = [_data(image) for image in turn.images]
    if turn.reasoning:
        message["thinking"] = turn.reasoning
    if turn.calls:
        message["tool_calls"] = [_call(call) for call in turn.calls]
    if turn.answers is not None:
        message["tool_name"] = turn.name
        message["tool_call_id"] = turn.answers
    return message


def _call(call: Call) -> dict[str, Any]:
    return {
        "id": call.id,
        "type": "function",
        "function": {"name": call.name, "arguments": call.arguments},
    }


def _data(image: Image) -> str:
    head, comma, data = image.url.partition(";base64,")
    if not (comma and head.startswith("data:")):
        raise ValueError("Ollama takes images themselves (base64), no URLs")
    return data


class _Answer(Answer):
    def __init__(self, model: str | None) -> None:
        super().__init__(model)
        self._count = 0

    def read(self, value: Any, peer: Peer) -> AIMessageChunk | None:
        if not isinstance(value, Mapping):
            return None
        if isinstance(value.get("model"), str) and value["model"]:
            self._model = value["model"]
        if isinstance(value.get("done_reason"), str):
            self._finish_reason = value["done_reason"]
        counts = usage_metadata(value.get("prompt_eval_count"), value.get("eval_count"))
        self._usage = counts or self._usage
        said = value.get("message")
        if not isinstance(said, Mapping):
            return None
        self._begun = True
        text = joined(said.get("content"), peer)
        thought = joined(said.get("thinking"), peer)
        calls = list(self._calls(said.get("tool_calls"), peer))
        if not (text or thought or calls):
            return None
        return AIMessageChunk(
            content=text,
            tool_call_chunks=calls,
            additional_kwargs={"reasoning_content": thought} if thought else {},
        )

    def _calls(self, told: Any, peer: Peer) -> Iterator[ToolCallChunk]:
        for call in told or ():
            function = call.get("function") if isinstance(call, Mapping) else None
            if not isinstance(function, Mapping):
                raise peer.unexpected("something else than a tool call", call)
            arguments = function.get("arguments") or {}
            if not isinstance(arguments, str):
                arguments = json.dumps(arguments, ensure_ascii=False)
            yield tool_call_chunk(
                index=self._count,
                id=joined(call.get("id"), peer) or made_id(),
                name=joined(function.get("name"), peer),
                args=arguments,
            )
            self._count += 1
