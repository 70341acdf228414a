"""ToolFormat: how a family of models writes tool calls, and reads their results."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

from langchain_core.messages import ToolCall, ToolMessage

from langchain_wrap.chat.call_parser import CallParser, Syntax, TextParser
from langchain_wrap.chat.pieces import Parser
from langchain_wrap.chat.tool_schema import Schema
from langchain_wrap.chat.tools import Tools


@dataclass(frozen=True, slots=True)
class Constraint:
    """How a model that can be held to a JSON schema is made to call a tool.

    `prefix` goes at the end of the prompt; what the model adds under `schema` is the call; the
    parser is fed `prefix`, the completion and `suffix`.
    """

    prefix: str
    schema: Schema
    suffix: str


class ToolFormat(ABC):
    """How a family of models was trained to call tools. A pure object without state."""

    name: ClassVar[str]
    """Its name in `FORMATS`."""
    syntax: ClassVar[Syntax]
    """How its calls are told from text."""
    keys: ClassVar[tuple[str, str]] = ("name", "arguments")
    """The keys of a call in its JSON."""
    stops: ClassVar[tuple[str, ...]] = ()
    """Texts after which nothing of use comes."""

    def parser(self, tools: Tools) -> Parser:
        """Return a new parser for an answer."""
        return CallParser(tools.names, self.syntax) if tools.offered else TextParser()

    def instructions(self, tools: Tools) -> str:
        """Return what to tell a model whose template takes no tools; empty if none are offered."""
        if not tools.offered:
            return ""
        return "\n\n".join(filter(None, (self._offer(tools), self._demand(tools))))

    def constraint(self, tools: Tools) -> Constraint | None:
        """Return how a call that the choice requires is guaranteed; None if it requires none."""
        return Constraint("", tools.call_schema(*self.keys), "") if tools.required else None

    @abstractmethod
    def call_text(self, calls: list[ToolCall]) -> str:
        """Return calls of an earlier answer as the model would have written them."""

    @abstractmethod
    def result_text(self, message: ToolMessage) -> str:
        """Return a tool's result as the text of a message to the model."""

    @abstractmethod
    def _offer(self, tools: Tools) -> str:
        """Say which tools there are and how to call one."""

    def _demand(self, tools: Tools) -> str:
        """Say which calls the choice requires."""
        must = ""
        if tools.choice == "named":
            must = f'You must call the function "{tools.chosen}" now.'
        elif tools.required:
            must = "You must call a function now."
        return " ".join(filter(None, (must, "" if tools.parallel else "Make one call only.")))

    def _call(self, call: ToolCall) -> dict[str, Any]:
        return {self.keys[0]: call["name"], self.keys[1]: call["args"]}


def compact(value: Any) -> str:
    """Return JSON in one line, spaced as models have seen it most."""
    return json.dumps(value, ensure_ascii=False, default=str)


def function(spec: dict[str, Any]) -> dict[str, Any]:
    """Return what a model needs to know of a tool."""
    return {key: value for key, value in spec["function"].items() if key != "strict"}


def result(message: ToolMessage) -> str:
    """Return the text of a tool's result, in which an error is seen to be one."""
    text = str(message.text)
    if message.status == "error" and not text.lower().lstrip().startswith("error"):
        return f"Error: {text}"
    return text
