"""CHAT-STREAM: the answer in chunks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from langchain_core.messages import AIMessageChunk

from langchain_wrap.checks.chat.paths import ChatTrace, raw
from langchain_wrap.checks.chat.snippets import LISTENER, LISTENING, MERGING
from langchain_wrap.checks.chat.subject import ChatSubject
from langchain_wrap.checks.clause import Area, Check, Skipped
from langchain_wrap.checks.probes.paths import Expression
from langchain_wrap.checks.shared import describe_error, first_then, shown

area = Area("CHAT-STREAM", "Streams")

STREAMS = ("stream", "astream")

_MERGE = "langchain_core AIMessageChunk: chunks add up to the message (`chunk + chunk`)"


def _alike(path: str, other: str) -> Check:
    def check(model: ChatSubject) -> str | None:
        model.need_streams()
        trace, wanted = model.ask(path), model.ask(other)
        if not model.deterministic:
            model.expect(
                trace.chunks and isinstance(trace.chunks[0], AIMessageChunk),
                f"{path} gave {shown(trace.chunks)}",
                f"got = {raw(path, [model.prompt])}",
                "from langchain_core.messages import AIMessageChunk",
                "assert got and isinstance(got[0], AIMessageChunk), got",
            )
            return "the model's answers vary: only the types were compared"
        model.expect_same(
            first_then(wanted.text, lambda: model.ask(other, again=True).text),
            first_then(trace.text, lambda: model.ask(path, again=True).text),
            f"{path} gives another text than {other}",
            f"got = {model.code(path, [model.prompt])}",
            f"want = {model.code(other, [model.prompt])}",
            "assert got == want, (got, want)",
        )
        return None

    return check


for _number, (_path, _other) in enumerate((("stream", "invoke"), ("astream", "ainvoke")), 1):
    area.clause(
        _number,
        f"`{_path}` gives the text that `{_other}` gives.",
        level="contract",
        why="What a user reads while it comes is not what the program goes on with.",
        source="langchain_core Runnable.stream; BaseChatModel._stream: «Stream the output of the "
        "model.»",
        fix=f"Let `_{_path}` send the same request as `_generate`, and yield all text, once, as "
        "deltas, not as the text so far.",
    )(_alike(_path, _other))


@area.clause(
    3,
    "The chunks of a stream add up to its message.",
    level="contract",
    why="LangGraph, agents and `astream_events` keep the sum of the chunks; it raises, or is not "
    "what was read.",
    source=_MERGE,
    fix="Yield `ChatGenerationChunk(message=AIMessageChunk(content=delta))`, the content always a "
    "text or always a list of blocks with `index`, metadata that adds up or comes once.",
)
def adds_up(model: ChatSubject) -> None:
    for path, trace in traces(model):
        model.expect(
            all(isinstance(chunk, AIMessageChunk) for chunk in trace.chunks),
            f"{path} gave {shown(trace.chunks)}, not all AIMessageChunk",
            f"got = {raw(path, [model.prompt])}",
            "from langchain_core.messages import AIMessageChunk",
            "assert all(isinstance(chunk, AIMessageChunk) for chunk in got), got",
        )
        lines = (
            MERGING,
            f"got = {raw(path, [model.prompt])}",
            "whole = reduce(add, got)",
            "assert whole.text == ''.join(chunk.text for chunk in got), (whole.text, got)",
        )
        if trace.unmerged is not None:
            said = f"the chunks of {path} cannot be added: {describe_error(trace.unmerged)}"
            model.expect(False, said, *lines)
        whole = "" if trace.message is None else str(trace.message.text)
        model.expect(
            whole == trace.text,
            f"the chunks of {path} add up to {shown(whole)}, and say {shown(trace.text)}",
            *lines,
        )


@area.clause(
    4,
    "All chunks of a stream have one id, that of the message in `on_llm_end`.",
    level="contract",
    why="User interfaces put chunks together by their id: the answer falls into pieces, or shows "
    "twice, once as it came and once as a whole.",
    source="langchain_core BaseChatModel.stream: chunks without an id get that of the run; "
    "LangGraph's messages mode finds duplicates by it",
    fix="Leave `id` out (langchain-core sets it), or set the service's own id on every chunk.",
)
def one_id(model: ChatSubject) -> None:
    for path, trace in traces(model):
        ends = trace.of("end")
        run = next((f"lc_run--{mark.run_id}" for mark in trace.of("start")), None)
        ids = [chunk.id for chunk in trace.chunks if not _is_added(chunk, run)]
        lines = (
            LISTENER,
            f"got = {raw(path, [model.prompt], config=Expression(LISTENING))}",
            "run = f'lc_run--{listener.seen[0][1]}'",
            "ids = {chunk.id for chunk in got if chunk.id != run or chunk.text}",
            "assert len(ids) <= 1 and None not in ids, ids",
            "own = [one for one in ids if one.startswith('lc_run-')]",
            "assert not own or own == [run], (own, run)",
        )
        model.expect(
            len(set(ids)) <= 1 and None not in ids,
            f"the chunks of {path} have {len(set(ids))} ids: {shown(list(dict.fromkeys(ids)))}",
            *lines,
        )
        id_ = ids[0] if ids else None
        own = id_ is None or run is None or not id_.startswith("lc_run-")
        model.expect(own or id_ == run, f"the chunks of {path} have the id of another run", *lines)
        for end in ends:
            generations = end.payload.generations
            message = getattr(generations[0][0], "message", None) if any(generations) else None
            told = getattr(message, "id", None)
            model.expect(
                told in (None, id_, run),
                f"the chunks of {path} have the id {id_}, the message in on_llm_end {told}",
                *lines,
                "told = [one for kind, _, one in listener.seen if kind == 'end']",
                "assert told[0].generations[0][0].message.id in {*ids, run}, told",
            )


def _is_added(chunk: Any, run: str | None) -> bool:
    """Whether langchain-core has added a chunk, because the model gave none that is the last."""
    last = getattr(chunk, "chunk_position", None) == "last"
    return last and chunk.id == run and not chunk.content and not chunk.usage_metadata


@area.clause(
    5,
    "The last chunk, and no other, says that it is the last.",
    level="contract",
    why="Tool calls are made final, and content blocks closed, at the chunk that says so: what "
    "comes after it is lost to those who stop there.",
    source='langchain_core AIMessageChunk.chunk_position: «If a chunk with `chunk_position="last"` '
    "is aggregated into a stream, `tool_call_chunks` in message content will be parsed into "
    "`tool_calls`.»",
    fix='Set `chunk_position="last"` on the very last chunk (that with the usage), or leave it to '
    "langchain-core, which then adds one.",
)
def last(model: ChatSubject) -> None:
    for path, trace in traces(model):
        places = [
            n
            for n, chunk in enumerate(trace.chunks)
            if getattr(chunk, "chunk_position", None) == "last"
        ]
        end = len(trace.chunks) - 1
        model.expect(
            places == [end],
            f"of {end + 1} chunks of {path}, "
            + (f"those at {places} say that they are the last" if places else "none is the last"),
            f"got = {raw(path, [model.prompt])}",
            "said = [n for n, chunk in enumerate(got) if chunk.chunk_position == 'last']",
            "assert said == [len(got) - 1], (said, len(got))",
        )


_FACTS = (
    "finish_reason",
    "stop_reason",
    "done_reason",
    "model_name",
    "model",
    "model_provider",
)


@area.clause(
    6,
    "A stream says the finish reason and the model's name as `invoke` does, once.",
    level="contract",
    why="Programs that look for `length` or `tool_calls` find nothing, or `stopstop`; costs are "
    "counted for a model `gpt-4gpt-4`.",
    source=f"langchain_core AIMessage.response_metadata; {_MERGE}, and texts in it are joined",
    fix="Put `finish_reason` and `model_name` into the `response_metadata` (or `generation_info`) "
    "of one chunk, the last.",
)
def facts(model: ChatSubject) -> str | None:
    seen = False
    for path, trace in traces(model):
        if trace.message is None:
            continue
        whole = "ainvoke" if path == "astream" else "invoke"
        wanted = model.ask(whole).message.response_metadata
        got = trace.message.response_metadata
        for name in _FACTS:
            if name not in wanted or not isinstance(wanted[name], str | None):
                continue
            seen = True
            # What differs may be chance (a limit that was met); what is said twice is not.
            twice = _repeats(trace, name)
            same = got.get(name) == wanted[name]
            model.expect(
                not twice and (same or not model.deterministic),
                f"{path} gives {name}={shown(got.get(name))} in its sum, and {whole} "
                f"{shown(wanted[name])}",
                MERGING,
                f"got = reduce(add, {raw(path, [model.prompt])}).response_metadata",
                f"want = {raw(whole, [model.prompt])}.response_metadata",
                f"assert got.get({name!r}) == want[{name!r}], (got, want)",
            )
    if not seen:
        raise Skipped("invoke says neither a finish reason nor the name of a model")
    return None if model.deterministic else "the model's answers vary: only repetition was checked"


def _repeats(trace: ChatTrace, name: str) -> bool:
    """Whether several chunks say a fact, so that their sum repeats it."""
    said = [
        chunk.response_metadata[name]
        for chunk in trace.chunks
        if isinstance(chunk.response_metadata.get(name), str) and chunk.response_metadata[name]
    ]
    total = trace.message.response_metadata.get(name)
    return len(said) > 1 and total == "".join(said) and total != said[0]


def traces(model: ChatSubject) -> Iterator[tuple[str, ChatTrace]]:
    """Yield the streams of both kinds, with their traces.

    Raises:
        Skipped: The model does not stream.
    """
    model.need_streams()
    for path in STREAMS:
        yield path, model.ask(path)
