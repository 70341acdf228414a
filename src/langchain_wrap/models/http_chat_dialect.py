"""What a dialect of chat APIs is: how a chat is asked, and how its answer is read."""

from __future__ import annotations

import uuid
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from langchain_core.messages import AIMessageChunk
from langchain_core.messages.ai import InputTokenDetails, OutputTokenDetails, UsageMetadata

from langchain_wrap.models.http_chat_history import Turn
from langchain_wrap.models.http_errors import Peer
from langchain_wrap.models.http_format import StreamFormat


@dataclass(frozen=True, slots=True)
class Asked:
    """What a chat is asked."""

    turns: Sequence[Turn]
    stop: Sequence[str] | None = None
    tools: Sequence[Mapping[str, Any]] | None = None
    """Tools in OpenAI's format."""
    tool_choice: str | None = None
    """`auto`, `any`, `none`, or the name of a tool."""
    json_schema: Mapping[str, Any] | None = None

    @property
    def chosen(self) -> str | None:
        """The name of the tool that is to be called."""
        return None if self.tool_choice in _CHOICES else self.tool_choice

    @property
    def any_object(self) -> bool:
        """Whether any JSON object is as good as another."""
        return self.json_schema == {"type": "object"}

    @property
    def offered(self) -> list[Mapping[str, Any]]:
        """The tools that may be called: where one is chosen, that one.

        Raises:
            ValueError: A call is demanded of a tool that is not there.
        """
        tools = list(self.tools or ())
        if self.chosen is not None:
            tools = [one for one in tools if one.get("function", {}).get("name") == self.chosen]
        if not tools and self.tool_choice not in (None, "auto", "none"):
            raise ValueError(f"tool_choice is {self.tool_choice!r}, and there is no such tool")
        return tools


_CHOICES = frozenset({None, "auto", "any", "required", "none"})


class Answer(ABC):
    """An answer being read, event by event; a whole one is one event.

    Args:
        model: The name of the model, where the server does not tell it.
    """

    def __init__(self, model: str | None) -> None:
        self._model = model
        self._finish_reason: str | None = None
        self._usage: UsageMetadata | None = None
        self._begun = False

    @abstractmethod
    def read(self, value: Any, peer: Peer) -> AIMessageChunk | None:
        """Return what an event tells; None where that is nothing."""

    def end(self, peer: Peer) -> AIMessageChunk:
        """Return the last chunk, which has the facts.

        Raises:
            ModelError: There was no answer, or the model has refused.
        """
        if not self._begun:
            raise peer.unexpected("no message")
        facts = {"model_name": self._model, "finish_reason": self._finish_reason}
        return AIMessageChunk(
            content="",
            response_metadata={name: fact for name, fact in facts.items() if fact},
            usage_metadata=self._usage,
        )

    def whole(self, value: Any, peer: Peer) -> AIMessageChunk:
        """Return an answer that has come whole."""
        chunk, end = self.read(value, peer), self.end(peer)
        return end if chunk is None else chunk + end


class Dialect(Protocol):
    """A dialect: a module."""

    BODY: dict[str, Any]
    """The body of a request: a template. What it names besides `values` are parameters."""
    STREAM_BODY: dict[str, Any]
    """What is added to it for a stream."""
    STREAM: StreamFormat
    NATIVE: frozenset[str]
    """What the API does itself: `tools`, `tool_choice`, `json_schema`."""

    def values(self, asked: Asked) -> dict[str, Any]:
        """Return the values for the template."""

    def answer(self, asked: Asked, model: str | None) -> Answer:
        """Return what reads the answer."""


def joined(told: Any, peer: Peer) -> str:
    """Return text that a server tells, which may be nothing.

    Raises:
        ModelAPIError: It is something else.
    """
    if told is None:
        return ""
    if not isinstance(told, str):
        raise peer.unexpected("something else than text", told)
    return told


def made_id() -> str:
    """Return an id for a call that the server has given none."""
    return f"call_{uuid.uuid4().hex[:24]}"


def usage_metadata(
    prompt: Any, completion: Any, total: Any = None, cached: Any = None, reasoning: Any = None
) -> UsageMetadata | None:
    """Return counts as LangChain has them; None where they are not told."""
    if not (_is_count(prompt) and _is_count(completion)):
        return None
    usage = UsageMetadata(
        input_tokens=prompt,
        output_tokens=completion,
        total_tokens=total if _is_count(total) else prompt + completion,
    )
    if _is_count(cached):
        usage["input_token_details"] = InputTokenDetails(cache_read=cached)
    if _is_count(reasoning):
        usage["output_token_details"] = OutputTokenDetails(reasoning=reasoning)
    return usage


def _is_count(told: Any) -> bool:
    return isinstance(told, int) and not isinstance(told, bool)
