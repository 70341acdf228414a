"""How an endpoint chats: what is declared of it, and the parts that follow from that."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, field_validator

from langchain_wrap.models import http_chat_ollama, http_chat_openai, template
from langchain_wrap.models.http_chat_dialect import Asked, Dialect
from langchain_wrap.models.http_format import Url

_DIALECTS: dict[str, Dialect] = {"openai": http_chat_openai, "ollama": http_chat_ollama}
_OURS = frozenset({"messages", "stop", "tools", "tool_choice"})


class ChatFormat(BaseModel):
    """How an endpoint chats."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    dialect: Literal["openai", "ollama"]
    """Which API it is: OpenAI's `/chat/completions`, which most servers have, or Ollama's."""

    url: Url
    """The URL, such as `http://host/v1/chat/completions`."""

    takes: tuple[Literal["text", "image"], ...] = ("text",)
    """What messages may hold. Anything else is an error, and is not sent."""

    native: tuple[Literal["tools", "tool_choice", "json_schema"], ...] | None = None
    """What the server does itself; the rest is done by prompt and parse. None: all of the dialect.

    Ollama has no `tool_choice`. Some servers take `tools` and pass over them, since the template
    of their model has no place for them: there, leave `tools` out.
    """

    streams: bool | None = None
    """Whether it streams. None: where the endpoint has `stream`."""

    stream_body: dict[str, Any] | None = None
    """What is added to the body for a stream, in the place of what the dialect says.

    For `openai` that is `{"stream": True, "stream_options": {"include_usage": True}}`.
    """

    body: dict[str, Any] | None = None
    """What is added to the dialect's body, such as more parameters; a template too."""

    names: dict[str, str] = {}
    """Other names of parameters: `{"num_predict": "max_tokens"}`."""

    @field_validator("takes")
    @classmethod
    def _check_takes(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if "text" not in value:
            raise ValueError("a chat takes text at least")
        return value

    @property
    def spoken(self) -> Dialect:
        """The dialect itself."""
        return _DIALECTS[self.dialect]

    @property
    def does(self) -> frozenset[str]:
        """What the server does itself: `tools`, `tool_choice`, `json_schema`."""
        return self.spoken.NATIVE if self.native is None else frozenset(self.native)

    def template(self, *, streaming: bool) -> dict[str, Any]:
        """Return the body of a request, as a template."""
        merged: dict[str, Any] = template.merge(self.spoken.BODY, self.body or {})
        if not streaming:
            return merged
        more = self.spoken.STREAM_BODY if self.stream_body is None else self.stream_body
        return {**template.merge(merged, more)}

    def values(self, asked: Asked, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return the values for the template that no parameter may give as well.

        Raises:
            ValueError: One does.
        """
        found = self.spoken.values(asked)
        for name in found:
            if name in given:
                raise ValueError(f"the parameter {name!r} stands for what is asked already")
        return found

    def parameters(self, *more: str) -> frozenset[str]:
        """Return the names of the parameters that a call may give."""
        asked = template.names(self.template(streaming=True))
        return (asked | {*self.names, *more}) - _OURS

    def renamed(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return parameters under the names that the template has for them.

        Raises:
            TypeError: A parameter is given twice.
        """
        found: dict[str, Any] = {}
        for name, value in given.items():
            known = self.names.get(name, name)
            if known in found:
                raise TypeError(f"{name!r} and {known!r} are the same parameter; give one of them")
            found[known] = value
        return found
