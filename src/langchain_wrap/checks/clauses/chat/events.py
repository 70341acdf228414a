"""CHAT-EVENTS: what callbacks, `astream_events` and LangGraph are told."""

from __future__ import annotations

import importlib.util
from functools import partial
from typing import Any

from langchain_core.messages import AIMessageChunk
from langchain_core.runnables import RunnableLambda

from langchain_wrap.checks.chat.paths import ChatTrace, raw
from langchain_wrap.checks.chat.snippets import BREAKING, LISTENER, LISTENING
from langchain_wrap.checks.chat.subject import ChatSubject
from langchain_wrap.checks.clause import Area, Skipped
from langchain_wrap.checks.clauses.chat.batch import Broken, break_poison
from langchain_wrap.checks.probes.paths import PATHS, STREAMS, Expression
from langchain_wrap.checks.shared import describe_error, first_then, shown

area = Area("CHAT-EVENTS", "Callbacks and events")

_CALLBACKS = "langchain_core BaseCallbackHandler"


def _listened(model: ChatSubject, path: str) -> str:
    return raw(path, [model.prompt], config=Expression(LISTENING))


@area.clause(
    1,
    "A run starts once, by `on_chat_model_start`, and ends once, by `on_llm_end`.",
    level="contract",
    why="Traces have runs without an end, or two for one call: counts, costs and dashboards are "
    "wrong.",
    source=f"{_CALLBACKS}.on_chat_model_start, on_llm_end; BaseChatModel calls them",
    fix="Call neither yourself; write `_generate` and `_stream`, and leave `invoke`, `stream` and "
    "`generate` to langchain-core.",
)
def starts_and_ends(model: ChatSubject) -> None:
    for path in PATHS:
        trace = model.ask(path)
        kinds = [kind for kind in trace.kinds if kind in ("start", "end", "error")]
        runs = {mark.run_id for mark in trace.marks if mark.kind != "chunk"}
        model.expect(
            kinds == ["start", "end"] and len(runs) == 1,
            f"{path} told callbacks {', '.join(kinds) or 'nothing'}, of {len(runs)} run(s)",
            LISTENER,
            _listened(model, path),
            "kinds = [kind for kind, *_ in listener.seen if kind != 'token']",
            "assert kinds == ['start', 'end'], kinds",
            "assert len({run for _, run, _ in listener.seen}) == 1, listener.seen",
        )


@area.clause(
    2,
    "Callbacks are told each chunk once, before it goes out.",
    level="contract",
    why="Live displays and token counts show text twice, or none; a handler that stops a stream "
    "does so too late.",
    source=f"{_CALLBACKS}.on_llm_new_token; BaseChatModel.stream calls it for each chunk",
    fix="Leave `stream` and `astream` to langchain-core, which tells callbacks of each chunk that "
    "`_stream` gives; give it no text that it does not yield.",
)
def tokens(model: ChatSubject) -> None:
    model.need_streams()
    for path in sorted(STREAMS, reverse=True):
        trace = model.ask(path)
        marks = [mark for mark in trace.marks if mark.kind in ("token", "chunk")]
        waiting: list[Any] = []
        wrong = ""
        for mark in marks:
            if mark.kind == "token":
                waiting.append(mark)
            elif not waiting:
                wrong = "a chunk went out before any callback was told of it"
            else:
                waiting.pop(0)
            wrong = wrong or ("a chunk was told twice, or did not go out" if waiting[1:] else "")
        wrong = wrong or ("callbacks were told more than went out" if waiting else "")
        told = "".join(_text(mark.payload) for mark in marks if mark.kind == "token")
        if not wrong and told != trace.text:
            wrong = f"callbacks were told {shown(told)}, and {shown(trace.text)} went out"
        loop = "for chunk in llm.stream(PROMPT, config):\n    went.append(chunk)\n    check()"
        if path == "astream":
            loop = (
                "async def main():\n"
                "    async for chunk in llm.astream(PROMPT, config):\n"
                "        went.append(chunk)\n"
                "        check()\n"
                "asyncio.run(main())"
            )
        model.expect(
            not wrong,
            f"{path}: {wrong}",
            LISTENER,
            "config, went = {'callbacks': [listener]}, []",
            "",
            "def check():",
            "    told = [chunk for kind, _, chunk in listener.seen if kind == 'token']",
            "    assert len(told) == len(went), f'{len(told)} told, {len(went)} went out'",
            "",
            loop.replace("PROMPT", repr(model.prompt)),
        )


def _text(payload: Any) -> str:
    message = getattr(payload, "message", None)
    return str(message.text) if message is not None else ""


@area.clause(
    3,
    "An error of the model ends the run as an error, once, and reaches the caller as it is.",
    level="contract",
    why="Failures show as successes with an empty answer: no alarm, no retry, no fallback.",
    source=f"{_CALLBACKS}.on_llm_error; BaseChatModel calls it and raises the error",
    fix="Let errors out of `_generate` and `_stream`; do not turn them into text.",
)
def errors(model: ChatSubject) -> None:
    prompt = "POISON: fail"
    looked = False
    for path in PATHS:
        with model.seam(before=break_poison) as (llm, seam):
            trace = model.attempt(path, prompt, llm=llm)
        if not seam.visits:
            continue
        looked = True
        lines = (
            LISTENER,
            BREAKING,
            "",
            "with standing(llm, Seam(before=fail)) as llm:",
            "    try:",
            f"        got = {raw(path, [prompt], config=Expression(LISTENING))}",
            "    except Broken:",
            "        got = None",
            "assert got is None, got",
            "kinds = [kind for kind, *_ in listener.seen if kind != 'token']",
            "assert kinds == ['start', 'error'], kinds",
        )
        got = "no error" if trace.error is None else describe_error(trace.error)
        model.expect(
            isinstance(trace.error, Broken),
            f"the model raised Broken, and {path} gave {got}"
            + ("" if trace.error else f" but {shown(trace.texts)}"),
            *lines,
        )
        kinds = [kind for kind in trace.kinds if kind in ("start", "end", "error")]
        model.expect(
            kinds == ["start", "error"],
            f"the model raised an error, and {path} told callbacks {', '.join(kinds) or 'nothing'}",
            *lines,
        )
    if not looked:
        raise Skipped("no call comes to the author's methods")


@area.clause(
    4,
    "`on_llm_end` is given the message that the caller gets, with its usage.",
    level="contract",
    why="Traces and cost counts are of another answer than the one that was given.",
    source=f"{_CALLBACKS}.on_llm_end; langchain_core UsageMetadataCallbackHandler reads "
    "`usage_metadata` of it",
    fix="Put usage into the message (`AIMessage(usage_metadata=…)`), not only into `llm_output`; "
    "in a stream into one of the chunks.",
)
def end_is_told(model: ChatSubject) -> None:
    for path in ("invoke", "ainvoke", *(("stream", "astream") if model.streams else ())):
        trace = model.ask(path)
        ends = trace.of("end")
        if not ends or trace.message is None:
            continue
        told = _told(trace)
        for name in ("text", "usage_metadata", "tool_calls"):
            want, got = getattr(trace.message, name, None), getattr(told, name, None)
            model.expect(
                want == got,
                f"{path} gave a message with {name}={shown(want)}, and on_llm_end was told "
                f"{shown(got)}",
                LISTENER,
                f"got = {_listened(model, path)}",
                *(
                    ("from functools import reduce", "from operator import add")
                    if path in STREAMS
                    else ()
                ),
                "got = reduce(add, got)" if path in STREAMS else "",
                "(end,) = [one for kind, _, one in listener.seen if kind == 'end']",
                "told = end.generations[0][0].message",
                f"assert told.{name} == got.{name}, (told, got)",
            )


def _told(trace: ChatTrace) -> Any:
    generations = trace.of("end")[-1].payload.generations
    return getattr(generations[0][0], "message", None) if any(generations) else None


@area.clause(
    5,
    "Tokens reach `astream_events` from an `invoke` inside of a chain.",
    level="contract",
    why="The answer of an agent or a chain comes all at once, though the model streams.",
    source="langchain_core BaseChatModel._generate_with_cache streams when a streaming handler "
    "listens",
    fix="Write `_stream`, and leave `invoke`, `generate` and `_generate_with_cache` to "
    "langchain-core; hand on the config in code that you call the model from.",
)
def reach_events(model: ChatSubject) -> str | None:
    model.need_streams()
    pieces = len(model.ask("astream").chunks)
    for how in ("invoke", "ainvoke"):
        chunks = _events(model, how)
        told = [str(chunk.text) for chunk in chunks]
        lines = _event_lines(model, how)
        model.expect(
            pieces < 3 or len(chunks) > 1,
            f"astream_events of a chain that calls {how} had {len(chunks)} chunk(s) of the answer; "
            f"astream has {pieces}",
            *lines,
            f"assert len(got) > 1, f'{{len(got)}} chunks, where astream has {pieces}'",
        )
        if model.deterministic:
            model.expect_same(
                first_then(model.text(), lambda: model.ask("invoke", again=True).text),
                first_then("".join(told), partial(_joined, model, how)),
                f"the chunks in astream_events of a chain that calls {how} give another text",
                *lines,
                "text = ''.join(chunk.text for chunk in got)",
                f"want = {model.code('invoke', [model.prompt])}",
                "assert text == want, (text, want)",
            )
    return None


def _events(model: ChatSubject, how: str) -> list[AIMessageChunk]:
    llm, prompt = model.llm, model.prompt

    def chain(_: Any) -> str:
        return str(llm.invoke(prompt).text)

    async def achain(_: Any, config: Any) -> str:
        return str((await llm.ainvoke(prompt, config)).text)

    async def listen() -> list[AIMessageChunk]:
        runnable: Any = RunnableLambda(achain if how == "ainvoke" else chain)
        return [
            event["data"]["chunk"]
            async for event in runnable.astream_events("x", version="v2")
            if event["event"] == "on_chat_model_stream"
        ]

    model.calls += 1
    return model.run_async(listen)


def _joined(model: ChatSubject, how: str) -> str:
    return "".join(str(chunk.text) for chunk in _events(model, how))


def _event_lines(model: ChatSubject, how: str) -> tuple[str, ...]:
    if how == "invoke":
        body = ("def chain(_):", f"    return llm.invoke({model.prompt!r}).text")
    else:
        body = (
            "async def chain(_, config):",
            f"    return (await llm.ainvoke({model.prompt!r}, config)).text",
        )
    return (
        "import asyncio",
        "from langchain_core.runnables import RunnableLambda",
        "",
        *body,
        "",
        "async def listen():",
        "    events = RunnableLambda(chain).astream_events('x', version='v2')",
        "    return [e['data']['chunk'] async for e in events if e['event'] == "
        "'on_chat_model_stream']",
        "",
        "got = asyncio.run(listen())",
    )


@area.clause(
    6,
    'Tokens reach LangGraph\'s `stream_mode="messages"` from an `invoke` in a node.',
    level="contract",
    why="LangGraph programs stream this way: users wait for the whole answer, or see it twice.",
    source="langgraph StreamMessagesHandler: the chunks of `on_llm_new_token`, and the message of "
    "`on_llm_end` where none of its id has been seen",
    fix="As CHAT-EVENTS-05; and give all chunks, and the message, one id.",
)
def reach_langgraph(model: ChatSubject) -> str | None:
    model.need_streams()
    if importlib.util.find_spec("langgraph") is None:
        raise Skipped("langgraph is not installed")
    pieces = len(model.ask("stream").chunks)
    got = model.run(lambda: _through_langgraph(model))
    lines = _graph_lines(model)
    model.expect(
        pieces < 3 or len(got) > 1,
        f'stream_mode="messages" gave {len(got)} piece(s) of the answer; stream gives {pieces}',
        *lines,
        "assert len(got) > 1, got",
    )
    if not model.deterministic:
        return "the model's answers vary: only that it comes in pieces was checked"
    model.expect_same(
        first_then(model.text(), lambda: model.ask("invoke", again=True).text),
        first_then("".join(got), lambda: "".join(model.run(lambda: _through_langgraph(model)))),
        'the pieces of stream_mode="messages" give another text',
        *lines,
        f"want = {model.code('invoke', [model.prompt])}",
        "assert ''.join(got) == want, (got, want)",
    )
    return None


def _through_langgraph(model: ChatSubject) -> list[str]:
    from langgraph.graph import START, MessagesState, StateGraph

    llm = model.llm

    def node(state: Any) -> Any:
        return {"messages": [llm.invoke(state["messages"])]}

    graph: Any = StateGraph(MessagesState)
    graph.add_node("model", node)
    graph.add_edge(START, "model")
    given: Any = {"messages": [("human", model.prompt)]}
    model.calls += 1
    stream = graph.compile().stream(given, stream_mode="messages")
    return [str(chunk.text) for chunk, _ in stream]


def _graph_lines(model: ChatSubject) -> tuple[str, ...]:
    return (
        "from langgraph.graph import START, MessagesState, StateGraph",
        "",
        "graph = StateGraph(MessagesState)",
        "graph.add_node('model', lambda state: {'messages': [llm.invoke(state['messages'])]})",
        "graph.add_edge(START, 'model')",
        f"given = {{'messages': [('human', {model.prompt!r})]}}",
        "stream = graph.compile().stream(given, stream_mode='messages')",
        "got = [chunk.text for chunk, _ in stream]",
    )
