"""The format of Llama 3.1 and later."""

from __future__ import annotations

from typing import ClassVar

from langchain_core.messages import ToolCall, ToolMessage

from langchain_wrap.chat.call_parser import Syntax
from langchain_wrap.chat.formats.base import ToolFormat, compact, function, result
from langchain_wrap.chat.tools import Tools


class Llama3(ToolFormat):
    """`{"name": …, "parameters": …}`, several separated by `; `."""

    name = "llama3"
    syntax: ClassVar[Syntax] = Syntax(tag="<|python_tag|>", separators=";,")
    keys = ("name", "parameters")
    stops = ("<|eom_id|>",)

    def call_text(self, calls: list[ToolCall]) -> str:
        """Return the calls in one line."""
        return "; ".join(compact(self._call(call)) for call in calls)

    def result_text(self, message: ToolMessage) -> str:
        """Return the result as JSON, with the name of the tool."""
        output = {"output": result(message)}
        return compact({"name": message.name, **output} if message.name else output)

    def _offer(self, tools: Tools) -> str:
        listed = "\n".join(compact(function(spec)) for spec in tools.allowed)
        several = "" if not tools.parallel else " Separate several calls with a semicolon."
        return (
            "You have these functions, each with the JSON schema of its parameters:\n"
            f"{listed}\n\n"
            "If a function helps with the request, answer with nothing but a JSON object that "
            'calls it: {"name": <function name>, "parameters": <object of argument names and '
            f"values>}}.{several} Otherwise answer in plain words."
        )
