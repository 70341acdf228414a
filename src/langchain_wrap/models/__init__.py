"""Built-in models: each an ordinary custom LLM on the public contract, imported on first use."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from langchain_wrap.models.llama_cpp import LlamaCpp

__all__ = ["LlamaCpp"]


def __getattr__(name: str) -> Any:
    """Import a model on first use, so that no model costs anything to those who use another."""
    if name != "LlamaCpp":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from langchain_wrap.models.llama_cpp import LlamaCpp

    return LlamaCpp


def __dir__() -> list[str]:
    return sorted(__all__)
