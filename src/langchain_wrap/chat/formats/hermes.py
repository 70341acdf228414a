"""The format of Hermes, Qwen and many that came after them."""

from __future__ import annotations

from typing import ClassVar

from langchain_core.messages import ToolCall, ToolMessage

from langchain_wrap.chat.call_parser import Syntax
from langchain_wrap.chat.formats.base import Constraint, ToolFormat, compact, function, result
from langchain_wrap.chat.tools import Tools


class Hermes(ToolFormat):
    """`<tool_call>{"name": …, "arguments": …}</tool_call>`, one for each call."""

    name = "hermes"
    syntax: ClassVar[Syntax] = Syntax(open="<tool_call>", close="</tool_call>", unknown=False)
    # Models go on with a result of their own making.
    stops = ("<tool_response>",)

    def constraint(self, tools: Tools) -> Constraint | None:
        """Open the tags for the model, and close them."""
        if not tools.required:
            return None
        return Constraint("<tool_call>\n", tools.call_schema(*self.keys), "\n</tool_call>")

    def call_text(self, calls: list[ToolCall]) -> str:
        """Return each call in its tags."""
        return "\n".join(
            f"<tool_call>\n{compact(self._call(call))}\n</tool_call>" for call in calls
        )

    def result_text(self, message: ToolMessage) -> str:
        """Return the result in its tags, with the name of the tool."""
        content = {"content": result(message)}
        named = {"name": message.name, **content} if message.name else content
        return f"<tool_response>\n{compact(named)}\n</tool_response>"

    def _offer(self, tools: Tools) -> str:
        listed = "\n".join(
            compact({"type": "function", "function": function(spec)}) for spec in tools.allowed
        )
        return (
            "You can call functions to help with the user's request. These are there, each with "
            f"the JSON schema of its arguments:\n<tools>\n{listed}\n</tools>\n\n"
            "To call a function, write a JSON object with its name and arguments between "
            "<tool_call> tags:\n"
            '<tool_call>\n{"name": <function name>, "arguments": <arguments object>}\n</tool_call>'
        )
