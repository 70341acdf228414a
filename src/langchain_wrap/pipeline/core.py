"""What we use of langchain-core that it does not promise: each piece is guarded here.

Where a name is gone in another version, what it gave is done by public means, or left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from langchain_core.load import dumpd
from langchain_core.messages import convert_to_messages
from langchain_core.prompt_values import ChatPromptValue, PromptValue

if TYPE_CHECKING:
    from langchain_core.language_models.base import LanguageModelInput
    from langchain_core.language_models.llms import BaseLLM

try:  # without it, invoke does not stream to astream_events and LangGraph
    from langchain_core.tracers._streaming import _StreamingCallbackHandler as StreamingHandler
except ImportError:  # pragma: no cover
    StreamingHandler = None  # type: ignore[assignment,misc]


def is_streaming(handlers: list[Any]) -> bool:
    """Whether one of the handlers wants to see every chunk."""
    return StreamingHandler is not None and any(isinstance(h, StreamingHandler) for h in handlers)


def streaming_kind() -> Any:
    """Return the base class of handlers that want to see every chunk; None if there is none."""
    return StreamingHandler


def serialized(llm: BaseLLM) -> dict[str, Any]:
    """Return what callbacks are told the model is."""
    known: dict[str, Any] | None = getattr(llm, "_serialized", None)
    return dumpd(llm) if known is None else known


def tracing_metadata(llm: BaseLLM, stop: Any, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return what LangSmith is told of a call."""
    tell = getattr(llm, "_get_ls_params_with_defaults", None)
    return {} if tell is None else dict(tell(stop=stop, **parameters))


def legacy_dict(llm: BaseLLM) -> dict[str, Any]:
    """Return what an author's override of `dict`, the older name of `asdict`, gives."""
    tell = getattr(llm, "_dict_for_compat", None) or llm.dict
    return dict(tell())


def prompt_of(llm: BaseLLM, value: LanguageModelInput) -> str:
    """Return an input of `invoke` as the prompt's text.

    Raises:
        ValueError: It is neither a string, a prompt value nor a list of messages.
    """
    convert = getattr(llm, "_convert_input", None)
    if convert is not None:
        return str(convert(value).to_string())
    if isinstance(value, str):
        return value
    if not isinstance(value, PromptValue):
        value = ChatPromptValue(messages=convert_to_messages(value))
    return value.to_string()


def add_version(llm: object, package: str, version: str) -> None:
    """Have traces say which version of a package has made them."""
    add = getattr(llm, "_add_version", None)
    if add is not None:
        add(package, version)
