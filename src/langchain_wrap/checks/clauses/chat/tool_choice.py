"""CHAT-TOOL, its clauses about `tool_choice`, and about calls that were cut off."""

from __future__ import annotations

from typing import Any

from langchain_wrap.checks.chat.calling import GREETING, Calling, bind, binding, calling, plain
from langchain_wrap.checks.chat.paths import raw
from langchain_wrap.checks.chat.snippets import MERGING
from langchain_wrap.checks.chat.subject import ChatSubject
from langchain_wrap.checks.clause import Skipped
from langchain_wrap.checks.clauses.chat.tool import area
from langchain_wrap.checks.shared import describe_error, shown

_SOURCE = (
    'langchain_core BaseChatModel.bind_tools, on `tool_choice`: «The tool to use. If "any" then '
    "any tool can be used.»"
)


def _chosen(model: ChatSubject, choice: str, prompt: str) -> list[Any]:
    """Return the calls under a choice.

    Raises:
        Skipped: The model does not take it.
    """
    trace = model.attempt("invoke", prompt, llm=bind(model, choice))
    if trace.error is not None:
        raise Skipped(
            f"the model does not take tool_choice={choice!r}: {describe_error(trace.error)}"
        )
    return plain(trace.message.tool_calls)


def _lines(choice: str, prompt: str, *asserted: str) -> tuple[str, ...]:
    call = f"got = {raw('invoke', [prompt], of='bound')}.tool_calls"
    return (*binding(choice), call, *asserted)


@area.clause(
    8,
    '`tool_choice="any"` makes the model call a tool.',
    level="production",
    why="`with_structured_output` is made of it: it returns None, or fails, whenever the model "
    "would rather talk.",
    source=_SOURCE,
    fix="Hand `tool_choice` to the service (many call it `required`), constrain the answer, or "
    "raise ValueError if it cannot be had.",
)
def any_tool(model: ChatSubject) -> None:
    calling(model)
    found = _chosen(model, "any", GREETING) or _chosen(model, "any", GREETING)
    model.expect(
        found,
        f'with tool_choice="any", {GREETING!r} was answered without a tool call',
        *_lines("any", GREETING, "assert got, 'no tool was called'"),
    )


@area.clause(
    9,
    '`tool_choice="none"` makes the model call no tool.',
    level="production",
    why="A program that wants a summary at the end gets one more call, and has nobody to make it.",
    source=f"{_SOURCE} OpenAI's API: «`none` means the model will not call any tool»",
    fix="Hand `tool_choice` to the service, or leave out the tools; raise ValueError if it cannot "
    "be had.",
)
def no_tool(model: ChatSubject) -> None:
    prompt = calling(model).prompt
    found = _chosen(model, "none", prompt)
    model.expect(
        not found,
        f'with tool_choice="none", {prompt!r} was answered by the call {shown(found)}',
        *_lines("none", prompt, "assert not got, got"),
    )


@area.clause(
    10,
    "`tool_choice` with a name makes the model call that tool, and no other.",
    level="production",
    why="The schema of an extraction is not the one that was asked for.",
    source=_SOURCE,
    fix="Hand the name to the service in its form, such as "
    '`{"type": "function", "function": {"name": …}}`.',
)
def named_tool(model: ChatSubject) -> None:
    found = calling(model)
    called = {name for name, _ in plain(found.calls)}
    other = "get_weather" if "add" in called else "add"
    names = {name for name, _ in _chosen(model, other, found.prompt)}
    model.expect(
        names == {other},
        f"with tool_choice={other!r}, {found.prompt!r} was answered by "
        f"{f'calls of {sorted(names)}' if names else 'no call'}",
        *_lines(other, found.prompt, f"assert {{call['name'] for call in got}} == {{{other!r}}}"),
    )


@area.clause(
    11,
    "Arguments that were cut off are not taken for a call.",
    level="production",
    why='`delete(path="/home/me/old")` is cut off by the token limit, and `delete(path="/home")` '
    "is made.",
    source="this project's: langchain-core completes what is cut off in a stream "
    "(`parse_partial_json`), and takes it for a call",
    fix="At the end of a stream that was cut off, yield a last piece of arguments that makes them "
    "unreadable (`}}`), so that the call is among `invalid_tool_calls`. "
    "`langchain_wrap.ChatModel` does that.",
)
def cut_off(model: ChatSubject) -> str | None:
    found = calling(model)
    whole = plain(found.calls)
    seen = 0
    for path in ("invoke", "stream") if model.streams else ("invoke",):
        for limit in _limits(model):
            trace = model.attempt(path, found.prompt, llm=found.bound, max_tokens=limit)
            if trace.error is not None:
                break
            message = trace.message
            if message is None or not _was_cut(message.response_metadata):
                continue
            seen += 1
            wrong = [call for call in plain(message.tool_calls) if _is_part(call, whole)]
            model.expect(
                not wrong,
                f"{path} was cut off by max_tokens={limit}, and gave the call {shown(wrong)}; "
                f"whole it is {shown(whole)}",
                *_cut_lines(found, path, limit),
            )
    if not seen:
        raise Skipped("no call was cut off: the model takes no `max_tokens`, or does not say so")
    return None


def _cut_lines(found: Calling, path: str, limit: int) -> tuple[str, ...]:
    got = found.raw(path, max_tokens=limit)
    return (
        MERGING,
        *found.lines,
        f"got = {f'reduce(add, {got})' if path == 'stream' else got}.tool_calls",
        f"want = {found.raw('invoke')}.tool_calls",
        "got, want = ([(c['name'], c['args']) for c in calls] for calls in (got, want))",
        "assert all(call in want for call in got), (got, want)",
    )


def _limits(model: ChatSubject) -> tuple[int, ...]:
    return (8,) if model.slow else (2, 4, 6, 8, 10, 12, 16, 20)


def _was_cut(metadata: dict[str, Any]) -> bool:
    reason = metadata.get("finish_reason") or metadata.get("stop_reason")
    return reason in ("length", "max_tokens", "MAX_TOKENS")


def _is_part(call: Any, whole: list[Any]) -> bool:
    """Whether a call has some of the arguments of the whole one, or the beginnings of them."""
    name, args = call
    return call not in whole and any(
        name == full and args != known and all(_begins(args.get(k), known[k]) for k in known)
        for full, known in whole
    )


def _begins(value: Any, whole: Any) -> bool:
    return value is None or value == whole or str(whole).startswith(str(value))
