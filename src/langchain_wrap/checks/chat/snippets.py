"""Lines that scripts which show a failure have in common."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage

MESSAGES = "from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage"

MERGING = """\
from functools import reduce
from operator import add
"""

LISTENER = """\
from langchain_core.callbacks import AsyncCallbackHandler, BaseCallbackHandler


class Listener(BaseCallbackHandler):
    run_inline = True

    def __init__(self):
        self.seen = []

    def on_chat_model_start(self, serialized, messages, *, run_id, **kwargs):
        self.seen.append(("start", run_id, messages))

    def on_llm_new_token(self, token, *, run_id, chunk=None, **kwargs):
        self.seen.append(("token", run_id, chunk))

    def on_llm_end(self, response, *, run_id, **kwargs):
        self.seen.append(("end", run_id, response))

    def on_llm_error(self, error, *, run_id, **kwargs):
        self.seen.append(("error", run_id, error))


listener = Listener()
"""

LISTENING = "{'callbacks': [listener]}"

BREAKING = """\
from langchain_wrap.checks.chat.seam import Seam, standing


class Broken(Exception):
    pass


def fail(text):
    if "POISON" in text:
        raise Broken("the model is broken")
"""
"""The model is to be used `with standing(llm, Seam(before=fail)) as llm:`."""


def messages_code(messages: Sequence[BaseMessage]) -> str:
    """Return a list of messages as Python."""
    return f"[{', '.join(map(_code, messages))}]"


def _code(message: Any) -> str:
    more = ""
    if isinstance(message, AIMessage) and message.tool_calls:
        more = f", tool_calls={message.tool_calls!r}"
    if message.type == "tool":
        more = f", tool_call_id={message.tool_call_id!r}"
    return f"{type(message).__name__}({message.content!r}{more})"
