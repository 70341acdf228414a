"""CHAT-TOOL: tools, and the calls of them."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage

from langchain_wrap.checks.chat.calling import (
    ASKING,
    GREETING,
    NAMES,
    Calling,
    bind,
    binding,
    calling,
    is_object,
    need_tools,
    pieces,
    plain,
    together,
)
from langchain_wrap.checks.chat.paths import ChatTrace, raw
from langchain_wrap.checks.chat.snippets import MERGING, MESSAGES, messages_code
from langchain_wrap.checks.chat.subject import ChatSubject
from langchain_wrap.checks.clause import Area, Skipped
from langchain_wrap.checks.probes.paths import Expression
from langchain_wrap.checks.shared import describe_error, first_then, shown

area = Area("CHAT-TOOL", "Tools")

_CHUNKS = (
    "langchain_core ToolCallChunk: «When merging `ToolCallChunk` objects (e.g., via "
    "`AIMessageChunk.__add__`), all string attributes are concatenated. Chunks are only merged if "
    "their values of `index` are equal and not `None`.»"
)


@area.clause(
    1,
    "`bind_tools` returns a new runnable, and leaves the model as it is.",
    level="contract",
    why="A program with two agents gives each the tools of the other; a model that is only to talk "
    "begins to call tools.",
    source="langchain_core BaseChatModel.bind_tools: «Returns: A Runnable that returns a message.»",
    fix="`return self.bind(tools=[convert_to_openai_tool(tool) for tool in tools], **kwargs)`; set "
    "nothing on `self`.",
)
def binds_a_copy(model: ChatSubject) -> None:
    need_tools(model)
    prompts = ASKING[:1] if model.slow else ASKING
    before = {prompt: _calls(model, prompt) for prompt in prompts}
    shown_before = repr(model.llm)
    bound = bind(model)
    made = "tools = " + binding(None)[0].partition(" = ")[2]
    model.expect(
        bound is not model.llm,
        "bind_tools returned the model itself",
        made,
        "assert llm.bind_tools(tools) is not llm",
    )
    model.expect(
        repr(model.llm) == shown_before,
        "bind_tools changed the model",
        made,
        "before = repr(llm)",
        "llm.bind_tools(tools)",
        "assert repr(llm) == before, llm",
    )
    for prompt, calls in before.items():
        found = plain(_calls(model, prompt))
        model.expect(
            calls or not found,
            f"after bind_tools the model itself, without tools, calls {shown(found)}",
            made,
            "llm.bind_tools(tools)",
            f"got = {raw('invoke', [prompt])}",
            "assert not got.tool_calls, got.tool_calls",
        )


def _calls(model: ChatSubject, prompt: str) -> list[object]:
    message = model.attempt("invoke", prompt, again=True).message
    return list(getattr(message, "tool_calls", None) or ())


@area.clause(
    2,
    "With tools, the model answers, and its calls have a name, arguments and an id of their own.",
    level="contract",
    why="Agents answer each call by its id: results get lost, or go to the wrong call.",
    source="langchain_core ToolCall: `name: str`, `args: dict`, `id`; ToolMessage.tool_call_id: "
    "«Tool call that this message is responding to.»",
    fix='Give `AIMessage(tool_calls=[{"name": …, "args": {…}, "id": "call_" + uuid4().hex}])`, '
    "with arguments already parsed.",
)
def calls_are_whole(model: ChatSubject) -> None:
    bound = bind(model)
    plain_answer = model.attempt("invoke", GREETING, llm=bound)
    lines = (*binding(None), f"got = {raw('invoke', [GREETING], of='bound')}")
    if plain_answer.error is not None:
        message = f"with tools, invoke raised {describe_error(plain_answer.error)}"
        model.expect(False, message, *lines)
    found = calling(model)
    lines = (*found.lines, f"got = {found.raw('invoke')}")
    for call in found.calls:
        model.expect(
            call["name"] in NAMES and isinstance(call["args"], dict),
            f"the call is {shown(call)}",
            *lines,
            f"assert all(call['name'] in {NAMES} for call in got.tool_calls), got.tool_calls",
            "assert all(isinstance(call['args'], dict) for call in got.tool_calls), got.tool_calls",
        )
    again = model.attempt("invoke", found.prompt, llm=found.bound)
    ids = [call["id"] for call in found.calls]
    more = [call["id"] for call in getattr(again.message, "tool_calls", None) or ()]
    model.expect(
        all(isinstance(id_, str) and id_ for id_ in ids) and len(set(ids)) == len(ids),
        f"the ids of the calls are {shown(ids)}",
        *lines,
        "ids = [call['id'] for call in got.tool_calls]",
        "assert all(ids) and len(set(ids)) == len(ids), ids",
    )
    model.expect(
        not set(ids) & set(more),
        f"calls of two answers have the same id: {shown(sorted(set(ids) & set(more)))}",
        *lines,
        f"again = {found.raw('invoke')}",
        "ids = [call['id'] for one in (got, again) for call in one.tool_calls]",
        "assert len(set(ids)) == len(ids), ids",
    )


@area.clause(
    3,
    "The pieces of a call in a stream have the index of the call.",
    level="contract",
    why="The pieces stay pieces: agents see several calls, each broken.",
    source=_CHUNKS,
    fix="`tool_call_chunk(name=…, args=…, id=…, index=number_of_the_call)`, the index on every "
    "piece.",
)
def indexed(model: ChatSubject) -> None:
    for path, found, trace in _streamed(model):
        without = [piece for piece in pieces(trace) if piece.get("index") is None]
        broken = [p for p in without if not (p.get("name") and is_object(p.get("args") or ""))]
        model.expect(
            not broken,
            f"{path} gave {len(broken)} pieces of calls without an index, such as "
            f"{shown(broken[0]) if broken else ''}",
            *_pieces(found, path),
            "broken = [p for p in pieces if p['index'] is None and not (p['name'] and p['args'])]",
            "assert not broken, broken",
        )


@area.clause(
    4,
    "The pieces of a call say its name once, and one id.",
    level="contract",
    why="Pieces are joined: the agent is asked for a tool `addadd`, or answers a call that nobody "
    "has made.",
    source=_CHUNKS,
    fix="Put `name` and `id` into the first piece of a call, and None into the others.",
)
def named_once(model: ChatSubject) -> None:
    for path, found, trace in _streamed(model):
        for call in together(trace).values():
            lines = (
                *_pieces(found, path),
                "for index in {p['index'] for p in pieces}:",
                "    own = [p for p in pieces if p['index'] == index]",
                f"    assert ''.join(p['name'] or '' for p in own) in {NAMES}, own",
                "    assert len({p['id'] for p in own if p['id']}) == 1, own",
            )
            if not call.names and not call.ids:
                continue  # without an index, as CHAT-TOOL-03 reports
            name = "".join(call.names)
            model.expect(name in NAMES, f"the pieces by {path} say the name {name!r}", *lines)
            model.expect(
                len(set(call.ids)) == 1,
                f"the pieces by {path} have the ids {shown(list(dict.fromkeys(call.ids)))}",
                *lines,
            )


@area.clause(
    5,
    "The pieces of a call make up arguments that are a JSON object.",
    level="contract",
    why="The call cannot be made, or is made with arguments that langchain-core has guessed.",
    source=_CHUNKS,
    fix="Yield the text of the arguments in order, each part once; no Python `repr`, no text so "
    "far.",
)
def arguments_are_json(model: ChatSubject) -> None:
    for path, found, trace in _streamed(model):
        if any(piece.get("index") is None for piece in pieces(trace)):
            raise Skipped(f"pieces by {path} have no index: see CHAT-TOOL-03")
        for call in together(trace).values():
            model.expect(
                is_object(call.args),
                f"the pieces by {path} make up the arguments {shown(call.args)}",
                *_pieces(found, path),
                "import json",
                "for index in {p['index'] for p in pieces}:",
                "    args = ''.join(p['args'] or '' for p in pieces if p['index'] == index)",
                "    assert isinstance(json.loads(args or '{}'), dict), args",
            )


def _streamed(model: ChatSubject) -> Iterator[tuple[str, Calling, ChatTrace]]:
    """Yield streams that have tool calls in them.

    Raises:
        Skipped: There is none.
    """
    model.need_streams()
    found = calling(model)
    seen = False
    for path in ("stream", "astream"):
        trace = model.once(
            f"calls by {path}", partial(model.attempt, path, found.prompt, llm=found.bound)
        )
        if trace.error is None and pieces(trace):
            seen = True
            model.timeline = trace
            yield path, found, trace
    if not seen:
        raise Skipped("no stream has a tool call in it, as CHAT-TOOL-06 reports")


def _pieces(found: Calling, path: str) -> tuple[str, ...]:
    return (
        *found.lines,
        f"got = {found.raw(path)}",
        "pieces = [piece for chunk in got for piece in chunk.tool_call_chunks]",
    )


@area.clause(
    6,
    "A stream makes the calls that `invoke` makes.",
    level="contract",
    why="An agent acts in production, where it streams, otherwise than in its tests.",
    source="langchain_core BaseChatModel._stream; AIMessageChunk.tool_calls",
    fix="Yield `AIMessageChunk(content='', tool_call_chunks=[…])` for what `_generate` gives as "
    "`tool_calls`.",
)
def streams_calls(model: ChatSubject) -> str | None:
    model.need_streams()
    found = calling(model)
    broken = model.failed("CHAT-TOOL-03", "CHAT-TOOL-04", "CHAT-TOOL-05")
    if broken:
        raise Skipped(f"the pieces do not make up calls, as {broken[0]} reports")
    wanted = plain(found.calls)
    for path in ("stream", "astream"):

        def got(path: str = path) -> list[object]:
            trace = model.ask(path, found.prompt, llm=found.bound)
            return plain(getattr(trace.message, "tool_calls", None))

        lines = (
            MERGING,
            *found.lines,
            f"got = reduce(add, {found.raw(path)}).tool_calls",
            f"want = {found.raw('invoke')}.tool_calls",
            "got, want = ([(c['name'], c['args']) for c in calls] for calls in (got, want))",
            "assert got == want, (got, want)",
        )
        if model.deterministic:
            model.expect_same(
                first_then(wanted, lambda: plain(_again(model, found))),
                got,
                f"the calls of {path} are not those of invoke",
                *lines,
            )
        else:
            model.expect(
                any(got() for _ in range(3)),
                f"invoke called {shown(wanted)}, and three times {path} called nothing",
                *lines,
            )
    return None if model.deterministic else "the model's answers vary: arguments were not compared"


def _again(model: ChatSubject, found: Calling) -> list[object]:
    message = model.ask("invoke", found.prompt, llm=found.bound).message
    return list(message.tool_calls)


@area.clause(
    7,
    "A history with tool calls and their results is answered.",
    level="contract",
    why="Agents stop at their first tool; conversations that were begun with another model cannot "
    "be gone on with.",
    source="langchain_core ToolMessage; AIMessage.tool_calls; langchain.agents.create_agent sends "
    "such histories",
    fix="Give tool calls and tool messages to the model in its own form, ids and all.",
)
def history(model: ChatSubject) -> None:
    bound = bind(model)
    for status in ("success", "error"):
        messages = _history(status)
        trace = model.attempt("invoke", messages, llm=bound)
        model.expect(
            trace.error is None and isinstance(trace.message, AIMessage),
            f"a history with a tool call and its result ({status}) gave "
            + (describe_error(trace.error) if trace.error else shown(trace.message)),
            MESSAGES,
            *binding(None),
            f"messages = {messages_code(messages)}",
            f"messages[-1].status = {status!r}",
            raw("invoke", [Expression("messages")], of="bound"),
        )


def _history(status: str) -> list[BaseMessage]:
    call = {"name": "add", "args": {"a": 3, "b": 4}, "id": "call_1", "type": "tool_call"}
    return [
        HumanMessage("What is 3 plus 4?"),
        AIMessage("", tool_calls=[call]),
        ToolMessage("7" if status == "success" else "no", tool_call_id="call_1", status=status),
    ]
