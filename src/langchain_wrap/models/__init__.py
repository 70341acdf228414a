"""Built-in models: each an ordinary custom LLM on the public contract, imported on first use."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from langchain_wrap.errors import MissingExtraError

if TYPE_CHECKING:
    from langchain_wrap.models.command import Command
    from langchain_wrap.models.http_endpoint import HTTPEndpoint
    from langchain_wrap.models.llama_cpp import LlamaCpp
    from langchain_wrap.models.transformers import Transformers

__all__ = ["Command", "HTTPEndpoint", "LlamaCpp", "Transformers"]

_HOMES = {
    "Command": "command",
    "HTTPEndpoint": "http_endpoint",
    "LlamaCpp": "llama_cpp",
    "Transformers": "transformers",
}
_EXTRAS = {
    "httpx": "http",
    "jmespath": "http",
    "torch": "transformers",
    "transformers": "transformers",
}


def __getattr__(name: str) -> Any:
    """Import a model on first use, so that no model costs anything to those who use another."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    except ImportError as error:
        if error.name not in _EXTRAS:
            raise
        raise MissingExtraError(name, _EXTRAS[error.name]) from error


def __dir__() -> list[str]:
    return sorted(__all__)
