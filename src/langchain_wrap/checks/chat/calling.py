"""Calling: a tool call by the model, and how it was had."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from langchain_core.language_models import BaseChatModel

from langchain_wrap.checks.chat.paths import ChatTrace, raw
from langchain_wrap.checks.chat.subject import ChatSubject
from langchain_wrap.checks.clause import Failed, Skipped
from langchain_wrap.checks.probes.paths import script
from langchain_wrap.checks.shared import describe_error

ADD = {
    "type": "function",
    "function": {
        "name": "add",
        "description": "Add two integers.",
        "parameters": {
            "type": "object",
            "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}},
            "required": ["a", "b"],
        },
    },
}
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Tell the weather in a city.",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}},
            "required": ["city"],
        },
    },
}
NAMES = ("add", "get_weather")

ASKING = (
    "Call the tool add with a=3 and b=4.",
    "What is 3 plus 4? Use the tool add.",
    "What is the weather in Paris? Use the tool get_weather.",
)
"""Prompts at which a model that has tools calls one."""

GREETING = "Hello there!"
"""A prompt at which no tool is needed."""


@dataclass(frozen=True)
class Calling:
    """A call of the model that was answered by tool calls."""

    choice: str | None
    prompt: str
    bound: Any
    trace: ChatTrace

    @property
    def calls(self) -> list[Any]:
        """The tool calls of the answer."""
        return list(self.trace.message.tool_calls)

    @property
    def lines(self) -> tuple[str, ...]:
        """The lines of a script that make `bound`."""
        return binding(self.choice)

    def raw(self, path: str, **kwargs: Any) -> str:
        """Return the Python that does the call."""
        return raw(path, [self.prompt], of="bound", **kwargs)


def binding(choice: str | None) -> tuple[str, ...]:
    """Return the lines of a script that bind the tools."""
    more = "" if choice is None else f", tool_choice={choice!r}"
    return (f"tools = [{ADD!r}, {WEATHER!r}]", f"bound = llm.bind_tools(tools{more})")


def need_tools(model: ChatSubject) -> None:
    """Leave the clause if the model has no tools.

    Raises:
        Skipped: It does not override `bind_tools`.
    """
    if type(model.llm).bind_tools is BaseChatModel.bind_tools:
        raise Skipped("the model has no tools: it does not override `bind_tools`")


def bind(model: ChatSubject, choice: str | None = None) -> Any:
    """Return the model with the tools bound.

    Raises:
        Skipped: It has no tools.
        Failed: Binding raises something else.
    """
    need_tools(model)
    given = {} if choice is None else {"tool_choice": choice}
    try:
        return model.llm.bind_tools([ADD, WEATHER], **given)
    except NotImplementedError as error:
        raise Skipped(
            f"the model has no tools: bind_tools raised {describe_error(error)}"
        ) from None
    except Exception as error:
        if choice is not None:
            raise Skipped(
                f"the model does not take tool_choice={choice!r}: {describe_error(error)}"
            ) from None
        message = f"bind_tools of two OpenAI-style tools raised {describe_error(error)}"
        raise Failed(message, script(*binding(choice))) from None


def calling(model: ChatSubject) -> Calling:
    """Return a tool call of the model, the same for all clauses.

    Raises:
        Skipped: It has no tools, or makes no call.
        Failed: It fails as soon as tools are offered.
    """
    bind(model)
    found = model.once("calling", lambda: _find(model))
    if isinstance(found, Calling):
        return found
    raise Skipped(
        f"the model made no tool call when it was asked to, so this cannot be told{found}"
    )


def _find(model: ChatSubject) -> Calling | str:
    said = ""
    for choice in (None, "any", "add"):
        try:
            bound = bind(model, choice)
        except Skipped:
            continue
        for prompt in ASKING[:1] if model.slow else ASKING:
            trace = model.attempt("invoke", prompt, llm=bound)
            if trace.error is not None:
                said = f" (invoke raised {describe_error(trace.error)})"
                break
            if getattr(trace.message, "tool_calls", None):
                return Calling(choice, prompt, bound, trace)
    return said


@dataclass
class Pieces:
    """The pieces of one tool call in a stream, put together by their index."""

    names: list[str]
    ids: list[str]
    args: str


def pieces(trace: ChatTrace) -> list[Any]:
    """Return all tool call chunks of a stream, in their order."""
    return [piece for chunk in trace.chunks for piece in getattr(chunk, "tool_call_chunks", ())]


def together(trace: ChatTrace) -> dict[Any, Pieces]:
    """Return the tool calls of a stream by the index of their pieces."""
    found: dict[Any, Pieces] = {}
    for n, piece in enumerate(pieces(trace)):
        index = piece.get("index")
        call = found.setdefault(("alone", n) if index is None else index, Pieces([], [], ""))
        call.names += [piece["name"]] if piece.get("name") else []
        call.ids += [piece["id"]] if piece.get("id") else []
        call.args += piece.get("args") or ""
    return found


def is_object(text: str) -> bool:
    """Whether a text is a JSON object."""
    try:
        return isinstance(json.loads(text or "{}"), dict)
    except ValueError:
        return False


def plain(calls: Any) -> list[Any]:
    """Return tool calls without their ids, which differ from call to call."""
    return [(call["name"], call["args"]) for call in calls or ()]
