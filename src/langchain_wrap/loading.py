"""`init_llm`: one name to load any model by."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, overload

from langchain_core.language_models.llms import BaseLLM
from langchain_core.runnables import ConfigurableField, Runnable

from langchain_wrap.errors import did_you_mean
from langchain_wrap.models import providers
from langchain_wrap.spec import SpecError, imported, split_spec
from langchain_wrap.wrapping import wrap

_WHOLE = frozenset({"model", "model_provider", "provider"})


@overload
def init_llm(
    model: str, *, configurable_fields: None = None, config_prefix: str = "", **fields: Any
) -> BaseLLM: ...
@overload
def init_llm(
    model: str,
    *,
    configurable_fields: Sequence[str] | Literal["any"],
    config_prefix: str = "",
    **fields: Any,
) -> Runnable[Any, str]: ...
def init_llm(
    model: str,
    *,
    configurable_fields: Sequence[str] | Literal["any"] | None = None,
    config_prefix: str = "",
    **fields: Any,
) -> BaseLLM | Runnable[Any, str]:
    """Load a model by its name, as `langchain.chat_models.init_chat_model` does for chat.

    Args:
        model: `provider:model`, such as `llama-cpp:smollm2`, `ollama:llama3`,
            `http+openai:http://host:8000/v1#name`, `command:./main --fast` or
            `transformers:/path`; or `pkg.module:object`: an LLM, a class of LLMs, or a function.
        configurable_fields: Fields that a call may set by
            `config={"configurable": {"temperature": 0}}`. `"any"`: all of them, the URL, the key
            and the program to run included; give it only where whoever writes the config may
            choose these.
        config_prefix: What their names begin with there: `prefix_temperature`.
        **fields: Fields of the model.

    Returns:
        The model; with `configurable_fields`, what langchain-core's `configurable_fields` gives.

    Raises:
        MissingExtraError: The provider needs an extra that is not installed.
        TypeError: The object is no model, or a function, and an option does not exist.
        ValueError: There is no such provider, module, object or field.
    """
    llm = _made(model, fields)
    if configurable_fields is None:
        return llm
    if isinstance(configurable_fields, str) and configurable_fields != "any":
        raise ValueError(f"configurable_fields is a list, or 'any': [{configurable_fields!r}]")
    known = set(type(llm).model_fields)
    chosen = sorted(known) if configurable_fields == "any" else configurable_fields
    for name in chosen:
        if name not in known:
            raise ValueError(_unknown(name, llm, known))
    prefix = f"{config_prefix}_" if config_prefix else ""
    return llm.configurable_fields(
        **{name: ConfigurableField(id=f"{prefix}{name}") for name in chosen}
    )


def _made(model: str, fields: dict[str, Any]) -> BaseLLM:
    name, target = split_spec(model)
    provider = providers.find(name)
    if provider is not None:
        return providers.make(name, provider, target, fields)
    try:
        thing = imported(name, target)
    except SpecError as error:
        raise ValueError(f"{model!r} names no model: {error}") from error
    if isinstance(thing, type) and issubclass(thing, BaseLLM):
        return thing(**fields)
    if isinstance(thing, BaseLLM):
        own = {name: getattr(thing, name) for name in type(thing).model_fields}
        return type(thing)(**{**own, **fields}) if fields else thing
    return wrap(thing, **fields)


def _unknown(name: str, llm: BaseLLM, known: set[str]) -> str:
    text = f"configurable_fields names {name!r}, which {type(llm).__name__} does not have."
    if name in _WHOLE:
        return f"{text} To choose between whole models, use configurable_alternatives"
    return f"{text}{did_you_mean(name, known)} It has: {', '.join(sorted(known))}"
