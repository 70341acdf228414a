"""langchain-wrap: a custom LLM is one method; everything else is derived from it, and proven."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from langchain_wrap._version import __version__

if TYPE_CHECKING:
    from langchain_wrap.chat.model import ChatModel
    from langchain_wrap.chat.template import ChatTemplate
    from langchain_wrap.errors import CommandError, MissingExtraError, QueueFullError
    from langchain_wrap.llm import LLM
    from langchain_wrap.loading import init_llm
    from langchain_wrap.pipeline.cancel import CancelToken
    from langchain_wrap.pipeline.timeout import Timeout
    from langchain_wrap.wrapping import wrap

__all__ = [
    "LLM",
    "CancelToken",
    "ChatModel",
    "ChatTemplate",
    "CommandError",
    "MissingExtraError",
    "QueueFullError",
    "Timeout",
    "__version__",
    "init_llm",
    "wrap",
]

_HOMES = {
    "LLM": "llm",
    "CancelToken": "pipeline.cancel",
    "ChatModel": "chat.model",
    "ChatTemplate": "chat.template",
    "CommandError": "errors",
    "MissingExtraError": "errors",
    "QueueFullError": "errors",
    "Timeout": "pipeline.timeout",
    "init_llm": "loading",
    "wrap": "wrapping",
}


def __getattr__(name: str) -> Any:
    """Import a public name on first use, so that importing the package costs next to nothing."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
