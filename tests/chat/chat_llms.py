"""Scripted LLMs for the tests of chat."""

from __future__ import annotations

from typing import Any

from langchain_core.outputs import GenerationChunk
from pydantic import Field

from langchain_wrap import LLM


class Scripted(LLM):
    """Gives its answers one after another, in pieces; remembers what it was asked."""

    answers: list[str]
    width: int = 3
    asked: list[str] = Field(default_factory=list)
    reason: str | None = None
    seen: list[dict[str, Any]] = Field(default_factory=list)

    def _stream(self, prompt, **params):
        self.asked.append(prompt)
        self.seen.append(params)
        text = self.answers[len(self.asked) - 1]
        for i in range(0, len(text), self.width):
            yield text[i : i + self.width]
        info = {"token_usage": {"prompt_tokens": 10, "completion_tokens": 5}}
        yield GenerationChunk(text="", generation_info={**info, "finish_reason": self.reason})


class Held(Scripted):
    """Can be held to a schema."""

    def _schema_parameters(self, schema):
        return {"json_schema": schema}
