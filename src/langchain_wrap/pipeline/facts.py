"""Facts about a completion (finish reason, model, usage): gathered, then reported once.

`GenerationChunk.__add__` of langchain-core joins strings and adds numbers, so a model name that
stands on every chunk becomes "mmm" in the merged one. Here such facts are taken off the chunks
(the last value holds) and put on the last chunk.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

USAGE_KEYS = ("token_usage", "usage", "usage_metadata")
_USAGE_NAMES = {"input_tokens": "prompt_tokens", "output_tokens": "completion_tokens"}


def is_delta(value: object) -> bool:
    """Whether a value belongs to its own chunk: lists (logprobs) and what holds lists."""
    if isinstance(value, Mapping):
        return any(is_delta(inner) for inner in value.values())
    return isinstance(value, list | tuple)


def normal_usage(usage: Mapping[str, Any]) -> dict[str, Any]:
    """Return token usage under the names that `llm_output["token_usage"]` has in LangChain."""
    return {_USAGE_NAMES.get(key, key): value for key, value in usage.items()}


def add_usage(total: dict[str, Any], usage: Mapping[str, Any]) -> None:
    """Add the counts of one completion's usage to those of others, in place."""
    for key, value in usage.items():
        if isinstance(value, Mapping):
            add_usage(total.setdefault(key, {}), value)
        elif isinstance(value, int | float):
            total[key] = total.get(key, 0) + value


class Facts:
    """What is known about one completion so far."""

    def __init__(self) -> None:
        self._facts: dict[str, Any] = {}
        self._undelivered = False

    def take(self, info: Mapping[str, Any]) -> dict[str, Any] | None:
        """Keep the facts in a chunk's `generation_info`; return what stays on the chunk."""
        delta: dict[str, Any] = {}
        for key, value in info.items():
            if key in USAGE_KEYS and isinstance(value, Mapping):
                known = self._facts.get("token_usage", {})
                self._set("token_usage", {**known, **normal_usage(value)})
            elif is_delta(value):
                delta[key] = value
            elif value is not None:
                self._set(key, value)
        return delta or None

    def _set(self, key: str, value: object) -> None:
        self._facts[key] = value
        self._undelivered = True

    def conclude(self, **facts: object) -> None:
        """Add what the pipeline itself knows; it does not ask for a chunk of its own."""
        self._facts.update(facts)

    @property
    def undelivered(self) -> bool:
        """Whether the model reported facts that no delivered chunk carries yet."""
        return self._undelivered

    @property
    def usage(self) -> dict[str, Any] | None:
        """Token usage, where the model reported it."""
        usage = self._facts.get("token_usage")
        if usage is None:
            return None
        prompt, completion = usage.get("prompt_tokens"), usage.get("completion_tokens")
        if (
            "total_tokens" in usage
            or not isinstance(prompt, int)
            or not isinstance(completion, int)
        ):
            return dict(usage)
        return {**usage, "total_tokens": prompt + completion}

    def deliver(self) -> dict[str, Any] | None:
        """Return all facts, for the last chunk; a copy, or None where there are none."""
        self._undelivered = False
        if not self._facts:
            return None
        usage = self.usage
        return {**self._facts, "token_usage": usage} if usage else dict(self._facts)
