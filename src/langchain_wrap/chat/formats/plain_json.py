"""JSON alone: the format for any model."""

from __future__ import annotations

from typing import ClassVar

from langchain_core.messages import ToolCall, ToolMessage

from langchain_wrap.chat.call_parser import Syntax
from langchain_wrap.chat.formats.base import ToolFormat, compact, function, result
from langchain_wrap.chat.tools import Tools


class PlainJson(ToolFormat):
    """`{"name": …, "arguments": …}`, a line for each call."""

    name = "json"
    syntax: ClassVar[Syntax] = Syntax(separators=";,")

    def call_text(self, calls: list[ToolCall]) -> str:
        """Return a line for each call."""
        return "\n".join(compact(self._call(call)) for call in calls)

    def result_text(self, message: ToolMessage) -> str:
        """Return the result in plain words, as a model without training for it can read."""
        of = f" of {message.name}" if message.name else ""
        return f"Result{of}:\n{result(message)}"

    def _offer(self, tools: Tools) -> str:
        listed = "\n".join(compact(function(spec)) for spec in tools.allowed)
        several = " For several calls, write one such line for each." if tools.parallel else ""
        return (
            "You have these functions, each with the JSON schema of its arguments:\n"
            f"{listed}\n\n"
            "To call a function, answer with one line of JSON and nothing else:\n"
            '{"name": <function name>, "arguments": <arguments object>}\n'
            f"You will then be told its result.{several}"
        )
