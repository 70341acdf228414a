"""Prompts: a conversation, its tools and its schema as one text for an LLM."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from langchain_core.messages import BaseMessage

from langchain_wrap.chat.asking import has_calls, with_schema, with_tools
from langchain_wrap.chat.formats.base import ToolFormat
from langchain_wrap.chat.history import as_dicts
from langchain_wrap.chat.template import ChatTemplate
from langchain_wrap.chat.tools import Tools

Hold = Callable[[dict[str, Any]], dict[str, Any] | None]


@dataclass(frozen=True, kw_only=True)
class Prompt:
    """What an LLM is given for a conversation, and how what it adds is to be read."""

    text: str
    format: ToolFormat
    """How the model writes its calls."""
    before: str = ""
    """What the answer begins with, because the prompt ends with it."""
    after: str = ""
    """What an answer under a constraint would have ended with."""
    stops: tuple[str, ...] = ()
    parameters: Mapping[str, Any] = field(default_factory=dict)
    """Those by which the LLM is held to a schema."""
    certain: bool = False
    """Whether the call that is required is surely made."""


def prompt_of(
    messages: list[BaseMessage],
    template: ChatTemplate,
    how: ToolFormat,
    *,
    tools: Tools,
    json_schema: dict[str, Any] | None = None,
    hold: Hold = lambda schema: None,
    variables: Mapping[str, Any],
) -> Prompt:
    """Return the prompt of a conversation.

    Args:
        messages: The conversation, checked.
        template: How messages become a text.
        how: How the model writes its calls.
        tools: What may be called.
        json_schema: What the answer has to be valid for.
        hold: Gives the parameters by which the LLM is held to a schema; None where it cannot be.
        variables: More variables for the template.

    Raises:
        ValueError: The template cannot express the conversation.
    """
    constraint = how.constraint(tools) if tools.required else None
    schema = json_schema
    if constraint is not None:
        schema = constraint.schema
    elif schema is not None:
        messages = with_schema(messages, schema, system=_takes_system(template))
    held = None if schema is None else hold(schema)
    text = _render(messages, template, how, tools, variables)
    if constraint is not None and held is not None:
        return Prompt(
            text=text + constraint.prefix,
            format=how,
            before=constraint.prefix,
            after=constraint.suffix,
            parameters=held,
            certain=True,
        )
    if held is not None:  # what ends a turn elsewhere may be a part of the object
        return Prompt(text=text, format=how, parameters=held)
    stops = (*template.stops, *(how.stops if tools.offered else ()))
    return Prompt(text=text, format=how, stops=stops)


def _render(
    messages: list[BaseMessage],
    template: ChatTemplate,
    how: ToolFormat,
    tools: Tools,
    variables: Mapping[str, Any],
) -> str:
    if template.takes_tools:
        offered = tools.specs if tools.offered else None
        try:
            return template.render(as_dicts(messages), tools=offered, **variables)
        except ValueError:
            if not has_calls(messages):
                raise
            # Some templates have a place for tools, and none for their calls or results.
    if tools.offered or has_calls(messages):
        messages = with_tools(messages, tools, how, system=_takes_system(template))
    return template.render(as_dicts(messages), **variables)


@lru_cache(maxsize=64)
def template_named(value: str, special_tokens: tuple[tuple[str, str], ...]) -> ChatTemplate:
    """Return the template that a family's name or a text stands for; it is read once.

    Raises:
        ValueError: There is no such family.
    """
    return ChatTemplate.of(value, special_tokens=dict(special_tokens))


@lru_cache(maxsize=64)
def _takes_system(template: ChatTemplate) -> bool:
    """Whether a template has a place for system messages; some refuse them."""
    talk = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello."}]
    try:
        template.render(talk)
    except ValueError:
        return False
    return True
