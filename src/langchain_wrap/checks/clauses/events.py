"""EVENTS: astream_events."""

from __future__ import annotations

import uuid

from langchain_core.runnables import RunnableConfig

from langchain_wrap.checks.clause import Area, Skipped
from langchain_wrap.checks.probes.events import (
    CHAIN,
    TEXT,
    Events,
    asked,
    caller,
    chain,
    expect_no_error,
    in_chain,
    listen,
    read,
    watch,
)
from langchain_wrap.checks.probes.failing import BrokenModel, breaking
from langchain_wrap.checks.probes.snippets import broken
from langchain_wrap.checks.probes.tokens import streams_on
from langchain_wrap.checks.subject import Subject, describe_error, shown

area = Area("EVENTS", "astream_events")

_NAMED = "checked"


@area.clause(
    1,
    "Alone, a model gives `on_llm_start`, `on_llm_stream`s and `on_llm_end` on the run, and under "
    "the name, of the config.",
    level="contract",
    why="A program that reads events waits for a run that it never hears of.",
    source="langchain_core Runnable.astream_events: the table of events; RunnableConfig: "
    "`run_id`, `run_name`",
    fix="Leave `astream` to langchain-core and write `_astream` or `_stream`; in an `astream` of "
    "your own, hand the whole config on.",
)
def alone(model: Subject) -> None:
    found, run_id = _alone(model)
    streamed = found.kinds.count("on_llm_stream")
    call = f'llm.astream_events({model.prompt!r}, config, version="v2")'
    setup = [
        "import uuid",
        "",
        f"config = {{'run_id': uuid.uuid4(), 'run_name': {_NAMED!r}}}",
        f"events = asyncio.run(read({call}))",
        "kinds = [event['event'] for event in events]",
        "streamed = kinds.count('on_llm_stream')",
        "assert kinds == ['on_llm_start', *['on_llm_stream'] * streamed, 'on_llm_end'], kinds",
        "for event in events:",
        "    assert event['run_id'] == str(config['run_id']), event",
        f"    assert event['name'] == {_NAMED!r}, event",
        "    assert event['parent_ids'] == [], event",
    ]
    model.expect(
        found.kinds == ["on_llm_start", *["on_llm_stream"] * streamed, "on_llm_end"],
        f"the events of the model are {_short(found)}",
        *setup,
    )
    for event in found.of_llm:
        wanted = {"run_id": str(run_id), "name": _NAMED, "parent_ids": []}
        for key, value in wanted.items():
            model.expect(
                event[key] == value,
                f"{event['event']} has the {key} {shown(event[key])} instead of {shown(value)}",
                *setup,
            )


def _alone(model: Subject) -> tuple[Events, uuid.UUID]:
    """Return the events of the model itself, under a run id of ours; made once for all checks."""
    model.answered("astream")

    def make() -> tuple[Events, uuid.UUID]:
        config: RunnableConfig = {"run_id": uuid.uuid4(), "run_name": _NAMED}
        return watch(model, model.llm, config), config["run_id"]  # type: ignore[return-value]

    found, run_id = model.once("events alone", make)
    expect_no_error(model, found, read(repr(model.prompt), "llm"))
    return found, run_id


def _short(found: Events) -> str:
    """Return the kinds of the model's events in order, repeated ones once."""
    kinds = found.kinds
    short = [k for i, k in enumerate(kinds) if i == 0 or kinds[i - 1] != k]
    return ", ".join(short) or "none at all"


@area.clause(
    2,
    "In a chain, the model's events are one run under the chain's, named and with its prompt.",
    level="contract",
    why="Traces show the model beside the chain, or not at all, and filters by name find nothing.",
    source="langchain_core Runnable.astream_events: «parent_ids», «name», and the table of events",
    fix="Leave `astream` to langchain-core and write `_astream` or `_stream`; in an `astream` of "
    "your own, hand the whole config on.",
)
def in_a_chain(model: Subject) -> None:
    found = in_chain(model)
    name, prompts = model.llm.get_name(), {"prompts": [model.prompt]}
    lines = [
        CHAIN,
        read(asked(model)),
        "own = [event for event in events if event['event'].startswith('on_llm_')]",
        "kinds = [event['event'] for event in own]",
        "streamed = kinds.count('on_llm_stream')",
        "assert kinds == ['on_llm_start', *['on_llm_stream'] * streamed, 'on_llm_end'], kinds",
        "assert len({event['run_id'] for event in own}) == 1, own",
        "for event in own:",
        "    assert event['parent_ids'] == [events[0]['run_id']], event",
        "    assert event['name'] == llm.get_name(), event",
        f"assert own[0]['data']['input'] == {prompts!r}, own[0]",
    ]
    streamed = found.kinds.count("on_llm_stream")
    model.expect(
        found.kinds == ["on_llm_start", *["on_llm_stream"] * streamed, "on_llm_end"],
        f"the events of the model are {_short(found)}",
        *lines,
    )
    runs = {event["run_id"] for event in found.of_llm}
    model.expect(len(runs) == 1, f"the events of the model are on {len(runs)} runs", *lines)
    for event in found.of_llm:
        for key, value in {"parent_ids": [found.all[0]["run_id"]], "name": name}.items():
            model.expect(
                event[key] == value,
                f"{event['event']} has the {key} {shown(event[key])} instead of {shown(value)}",
                *lines,
            )
    given = found.of_llm[0]["data"].get("input")
    model.expect(
        given == prompts, f"on_llm_start has the input {shown(given)} instead of {prompts}", *lines
    )


@area.clause(
    3,
    "Joined, the texts of `on_llm_stream` are the result, alone and in a chain.",
    level="contract",
    why="What users see while it is written is not what they end with.",
    source="langchain_core Runnable.astream_events: on_llm_stream is «Hello», on_llm_end is «Hello "
    "human!»",
    fix="Report in `on_llm_new_token` the text and the chunk that you then yield, and no other.",
)
def joined(model: Subject) -> str | None:
    by_itself, chained = _alone(model)[0], in_chain(model)
    seen = 0
    cases = ((by_itself, "llm", repr(model.prompt)), (chained, "chain", asked(model)))
    for found, name, value in cases:
        ends = found.ended
        if len(ends) != 1 or not (found.streamed or isinstance(found.output, str)):
            continue  # EVENTS-01, 02 and 04 report it
        result = found.output if isinstance(found.output, str) else ends[0]
        seen += 1
        text = "".join(found.streamed) if found.streamed else ends[0]
        model.expect(
            text == result == ends[0],
            f"{name}.astream_events: joined on_llm_stream is {shown(text)}, on_llm_end has "
            f"{shown(ends[0])}, and the result is {shown(result)}",
            f"{TEXT}{CHAIN}",
            read(value, name),
            "joined = ''.join(text_of(e) for e in events if e['event'] == 'on_llm_stream')",
            "(end,) = [e for e in events if e['event'] == 'on_llm_end']",
            "text = end['data']['output']['generations'][0][0]['text']",
            "result = events[-1]['data']['output']",
            "result = result if isinstance(result, str) else text",
            "assert joined in ('', text) and text == result, (joined, text, result)",
        )
    if not seen:
        raise Skipped("there are no events of the model to join")
    if not (by_itself.streamed or chained.streamed):
        return "there are no on_llm_stream events: only on_llm_end was compared"
    return None


@area.clause(
    4,
    "A model that streams gives its chunks as `on_llm_stream` events, in a chain too.",
    level="contract",
    why="A web interface that reads events shows nothing until the whole answer is there.",
    source="langchain_core Runnable.astream_events: on_llm_stream; inside of a chain it is made of "
    "on_llm_new_token",
    fix="In `_stream` and `_astream`, report each chunk: "
    "`run_manager.on_llm_new_token(chunk.text, chunk=chunk)`, awaited in `_astream`.",
)
def chunks_are_events(model: Subject) -> str | None:
    if not streams_on(model, "astream"):
        raise Skipped("the model does not stream")
    found = in_chain(model)
    count = len(found.delivered)
    if count < 2:
        raise Skipped("the answer came in one piece")
    model.expect(
        len(found.streamed) > 1,
        f"a chain with the model gave {count} chunks, and {len(found.streamed)} on_llm_stream "
        "events",
        f"{TEXT}{CHAIN}",
        read(asked(model)),
        "given = [e for e in events if e['event'] == 'on_chain_stream']",
        "own = [e for e in events if e['event'] == 'on_llm_stream' and text_of(e)]",
        "assert len(own) > 1 or len(given) < 2, own",
    )
    if not model.deterministic:
        return None
    by_itself = _alone(model)[0]
    told = len(by_itself.streamed)
    model.expect(
        told > 1 or by_itself.pieces == 1,
        f"alone, the model gave {told} on_llm_stream events, and {count} chunks in a chain",
        TEXT.rstrip(),
        "",
        read(repr(model.prompt), "llm"),
        "own = [e for e in events if e['event'] == 'on_llm_stream' and text_of(e)]",
        "assert len(own) > 1, own",
    )
    return None


@area.clause(
    5,
    "An error shows as an exception, and not as an `on_llm_end`.",
    level="contract",
    why="A failed answer is shown, and stored, as a finished one.",
    source="langchain_core Runnable.astream_events: on_llm_end is the end of a run that succeeded",
    fix="Let errors out of the methods, and leave `astream` to langchain-core.",
)
def errors_are_raised(model: Subject) -> None:
    model.answered("astream")
    seen = 0
    for name, value in (("llm", repr(model.prompt)), ("chain", asked(model))):
        llm = model.fresh()
        given = model.prompt if name == "llm" else {"text": model.prompt}
        with model.spy(llm, around=breaking) as spy:
            found = listen(model, llm if name == "llm" else chain(llm), given)
        if not spy.visits:
            continue
        seen += 1
        error = found.error
        model.expect(
            type(error) is BrokenModel and "on_llm_end" not in found.kinds,
            f"the model raised an error, and {name}.astream_events "
            f"{f'raised {describe_error(error)}' if error else 'raised none'} and gave "
            f"{_short(found)}",
            CHAIN,
            broken(model.llm),
            "",
            "events = []",
            "",
            "",
            "async def run():",
            f"    async for event in {name}.astream_events({value}, version='v2'):",
            "        events.append(event['event'])",
            "",
            "",
            "try:",
            "    asyncio.run(run())",
            "except Broken:",
            "    assert 'on_llm_end' not in events, events",
            "else:",
            "    raise AssertionError(f'no error, but {events}')",
        )
    if not seen:
        raise Skipped("astream does not go through the methods of a custom LLM")


@area.clause(
    6,
    "`ainvoke` inside of another runnable streams its tokens to `astream_events`.",
    level="production",
    why="Agents, graphs and functions that call the model by `ainvoke` show nothing until it ends.",
    source="This project's. langchain-core's chat models do so; its BaseLLM does not look whether "
    "anybody listens to tokens.",
    fix="Use `langchain_wrap.LLM`, or call the model by `astream` inside of your own functions.",
)
def invoke_streams_inside(model: Subject) -> None:
    if not streams_on(model, "astream"):
        raise Skipped("the model does not stream")
    if len([text for text in model.answered("astream").chunks if text]) < 2:
        raise Skipped("the answer comes in one piece")
    found = watch(model, caller(model.llm))
    text = "".join(found.streamed)
    lines = [
        f"{TEXT}from langchain_core.runnables import RunnableConfig, RunnableLambda",
        "",
        "",
        "async def ask(text, config: RunnableConfig):",
        "    return await llm.ainvoke(text, config)",
        "",
        "",
        read(repr(model.prompt), "RunnableLambda(ask)"),
        "own = [text_of(e) for e in events if e['event'] == 'on_llm_stream']",
        "assert len(own) > 1, own",
        "assert ''.join(own) == events[-1]['data']['output'], (own, events[-1])",
    ]
    expect_no_error(model, found, "\n".join(lines))
    model.expect(
        len(found.streamed) >= (1 if found.pieces == 1 or not model.deterministic else 2),
        f"ainvoke inside of a RunnableLambda gave {len(found.streamed)} on_llm_stream events, "
        "although the model streams",
        *lines,
    )
    model.expect(
        text == found.output,
        f"joined on_llm_stream is {shown(text)}, and the result is {shown(found.output)}",
        *lines,
    )
