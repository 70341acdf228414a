"""The format of Mistral's models."""

from __future__ import annotations

import secrets
import string
from typing import ClassVar

from langchain_core.messages import ToolCall, ToolMessage

from langchain_wrap.chat.call_parser import Syntax
from langchain_wrap.chat.formats.base import Constraint, ToolFormat, compact, function, result
from langchain_wrap.chat.tools import Tools

_LETTERS = string.ascii_letters + string.digits
# A list without an end would fill the context of a model that cannot stop.
_MOST_CALLS = 16


def _call_id() -> str:
    # Mistral's templates refuse any other length.
    return "".join(secrets.choice(_LETTERS) for _ in range(9))


class Mistral(ToolFormat):
    """`[TOOL_CALLS] [{"name": …, "arguments": …}, …]`, or `[TOOL_CALLS]name[ARGS]{…}`."""

    name = "mistral"
    syntax: ClassVar[Syntax] = Syntax(
        open="[TOOL_CALLS]", unknown=False, named=True, new_id=_call_id
    )
    stops = ("[TOOL_RESULTS]",)

    def constraint(self, tools: Tools) -> Constraint | None:
        """Announce the calls for the model, which then writes the list of them."""
        if not tools.required:
            return None
        call = tools.call_schema(*self.keys)
        defs = call.pop("$defs", None)
        most = _MOST_CALLS if tools.parallel else 1
        schema = {"type": "array", "items": call, "minItems": 1, "maxItems": most}
        return Constraint("[TOOL_CALLS] ", {**schema, "$defs": defs} if defs else schema, "")

    def call_text(self, calls: list[ToolCall]) -> str:
        """Return the calls as a list, with their ids."""
        listed = [{**self._call(call), "id": call["id"]} for call in calls]
        return f"[TOOL_CALLS] {compact(listed)}"

    def result_text(self, message: ToolMessage) -> str:
        """Return the result with the id of its call."""
        content = {"content": result(message), "call_id": message.tool_call_id}
        return f"[TOOL_RESULTS] {compact(content)}[/TOOL_RESULTS]"

    def _offer(self, tools: Tools) -> str:
        listed = [{"type": "function", "function": function(spec)} for spec in tools.allowed]
        return (
            f"[AVAILABLE_TOOLS] {compact(listed)}[/AVAILABLE_TOOLS]\n"
            "To call a tool, write [TOOL_CALLS] and a JSON list of calls: "
            '[TOOL_CALLS] [{"name": <tool name>, "arguments": <arguments object>}]'
        )
