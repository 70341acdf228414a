"""Messages: pieces of an answer and the facts about it as LangChain's message chunks."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from langchain_core.messages import AIMessage, AIMessageChunk, InvalidToolCall, ToolCall
from langchain_core.messages.ai import UsageMetadata
from langchain_core.messages.tool import tool_call_chunk
from langchain_core.utils.json import parse_partial_json

from langchain_wrap.chat.pieces import CallDelta, Piece, Reasoning, Text
from langchain_wrap.pipeline.facts import USAGE_KEYS


def chunk_of(piece: Piece) -> AIMessageChunk:
    """Return a piece as a message chunk."""
    if isinstance(piece, Text):
        return AIMessageChunk(content=piece.text)
    if isinstance(piece, Reasoning):
        # Where langchain-core looks for the reasoning of providers that have no blocks for it.
        return AIMessageChunk(content="", additional_kwargs={"reasoning_content": piece.text})
    if isinstance(piece, CallDelta):
        call = tool_call_chunk(name=piece.name, args=piece.args, id=piece.id, index=piece.index)
    else:
        args = piece.text + unreadable_end(piece.text)
        call = tool_call_chunk(
            name=piece.name, args=args, id=f"call_{uuid.uuid4().hex[:24]}", index=piece.index
        )
    return AIMessageChunk(content="", tool_call_chunks=[call])


_ENDS = ("]", "}", '"]', '"}', '\\"]', '\\"}')


def unreadable_end(args: str) -> str:
    """Return what makes the start of a JSON text unreadable to langchain-core.

    It completes what is cut off (`{"path": "/` becomes `{"path": "/"}`) and takes that for a
    call, which an agent then makes. A bracket that closes what is not open keeps it from that.
    """
    for end in _ENDS:
        try:
            if not isinstance(parse_partial_json(args + end), dict):
                return end
        except ValueError:
            return end
    return ""


def whole(chunks: Sequence[AIMessageChunk], errors: Mapping[int, str]) -> AIMessage:
    """Return the message that chunks make up.

    Args:
        chunks: All chunks of an answer.
        errors: What is wrong with the calls that cannot be read, by their index.
    """
    merged = chunks[0] + list(chunks[1:]) if len(chunks) > 1 else chunks[0]
    known = {call["id"]: errors.get(call.get("index") or 0) for call in merged.tool_call_chunks}
    invalid = [
        InvalidToolCall(**{**call, "error": call["error"] or known.get(call["id"])})
        for call in merged.invalid_tool_calls
    ]
    return AIMessage(
        content=merged.content,
        additional_kwargs=merged.additional_kwargs,
        response_metadata=merged.response_metadata,
        tool_calls=[ToolCall(**call) for call in merged.tool_calls],
        invalid_tool_calls=invalid,
        usage_metadata=merged.usage_metadata,
        id=merged.id,
    )


def last_chunk(facts: Mapping[str, Any], *, called: bool) -> AIMessageChunk:
    """Return the chunk that ends an answer: nothing but what is known about the whole.

    Args:
        facts: Facts about the completion, as the pipeline has gathered them.
        called: Whether the answer has tool calls.
    """
    metadata = {name: value for name, value in facts.items() if name not in USAGE_KEYS}
    if called and metadata.get("finish_reason") in (None, "stop"):
        metadata["finish_reason"] = "tool_calls"
    return AIMessageChunk(
        content="",
        response_metadata=metadata,
        usage_metadata=usage_of(facts.get("token_usage")),
        chunk_position="last",
    )


def usage_of(usage: Mapping[str, Any] | None) -> UsageMetadata | None:
    """Return counts of tokens as LangChain's chat models tell them; None where one is missing."""
    if not usage:
        return None
    given, made = usage.get("prompt_tokens"), usage.get("completion_tokens")
    if not isinstance(given, int) or not isinstance(made, int):
        return None
    found = UsageMetadata(input_tokens=given, output_tokens=made, total_tokens=given + made)
    details = usage.get("input_token_details")
    cached = (usage.get("prompt_tokens_details") or {}).get("cached_tokens")
    if isinstance(details, Mapping):
        found["input_token_details"] = {**details}  # type: ignore[typeddict-item]
    elif isinstance(cached, int):
        found["input_token_details"] = {"cache_read": cached}
    thought = (usage.get("completion_tokens_details") or {}).get("reasoning_tokens")
    details = usage.get("output_token_details")
    if isinstance(details, Mapping):
        found["output_token_details"] = {**details}  # type: ignore[typeddict-item]
    elif isinstance(thought, int):
        found["output_token_details"] = {"reasoning": thought}
    return found
