"""Events: what `astream_events` tells of a model, alone or inside of a chain."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from langchain_core.language_models.llms import BaseLLM
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import PromptTemplate
from langchain_core.runnables import Runnable, RunnableConfig, RunnableLambda

from langchain_wrap.checks.probes.deadline import NoAnswer
from langchain_wrap.checks.probes.spy import STREAMS, Spy, spying
from langchain_wrap.checks.subject import Subject, describe_error

CHAIN = """\
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import PromptTemplate

chain = PromptTemplate.from_template("{text}") | llm | StrOutputParser()"""
"""Defines `chain` in a script."""

TEXT = """\
def text_of(event):
    chunk = event["data"]["chunk"]
    return chunk if isinstance(chunk, str) else chunk.text


"""
"""Defines `text_of` in a script; langchain-core gives a str where the model is the root."""


@dataclass
class Events:
    """What one run of `astream_events` has told."""

    all: list[dict[str, Any]] = field(default_factory=list)
    error: BaseException | None = None
    pieces: int | None = None
    """How many texts a stream of the author's gave to its end; None if none did, or none looked."""

    @property
    def of_llm(self) -> list[dict[str, Any]]:
        """The events of the model."""
        return [event for event in self.all if event["event"].startswith("on_llm_")]

    @property
    def kinds(self) -> list[str]:
        """What was told of the model, in order."""
        return [event["event"] for event in self.of_llm]

    @property
    def streamed(self) -> list[str]:
        """The texts of the model's chunks, as far as they have any."""
        return chunks(self.of_llm)

    @property
    def delivered(self) -> list[str]:
        """The texts of the chunks that the outermost runnable has given."""
        root = self.all[0]["run_id"] if self.all else None
        return chunks([event for event in self.all if event["run_id"] == root])

    @property
    def ended(self) -> list[str]:
        """The texts in the ends of the model's runs."""
        ends = [event for event in self.of_llm if event["event"] == "on_llm_end"]
        return [event["data"]["output"]["generations"][0][0]["text"] for event in ends]

    @property
    def output(self) -> Any:
        """What the outermost runnable has ended with."""
        return self.all[-1]["data"].get("output") if self.all else None


def chunks(events: list[dict[str, Any]]) -> list[str]:
    """Return the texts of stream events, as far as they have any."""
    given = [event["data"]["chunk"] for event in events if event["event"].endswith("_stream")]
    found = [chunk if isinstance(chunk, str) else getattr(chunk, "text", "") for chunk in given]
    return [text for text in found if text]


def listen(
    model: Subject,
    runnable: Runnable[Any, Any],
    value: Any,
    config: RunnableConfig | None = None,
) -> Events:
    """Run a runnable under `astream_events`; an error of it is among what is returned.

    Raises:
        NoAnswer: It takes longer than a call may take.
    """
    found = Events()

    async def read() -> None:
        async for event in runnable.astream_events(value, config, version="v2"):
            found.all.append(dict(event))

    model.calls += 1
    try:
        model.run_async(read)
    except NoAnswer:
        raise
    except BaseException as error:
        found.error = error
    return found


def watch(
    model: Subject, runnable: Runnable[Any, Any], config: RunnableConfig | None = None
) -> Events:
    """Do `listen` with the prompt, and count what the author's stream gives meanwhile.

    How many pieces an answer comes in may be another number at each call: what reads from a
    program or from a socket gives what is there.

    Raises:
        NoAnswer: It takes longer than a call may take.
    """
    with spying(model.llm, Spy()) as spy:
        found = listen(model, runnable, model.prompt, config)
    whole = [visit for visit in spy.visits if visit.method in STREAMS and visit.whole]
    found.pieces = max((visit.pieces for visit in whole), default=None)
    return found


def chain(llm: BaseLLM) -> Runnable[Any, Any]:
    """Return a prompt, the model and a parser as one runnable."""
    return PromptTemplate.from_template("{text}") | llm | StrOutputParser()


def in_chain(model: Subject) -> Events:
    """Return the events of the model in a chain that works; made once for all checks.

    Raises:
        Failed: The chain fails.
    """
    model.answered("astream")
    made = chain(model.llm)
    found = model.once("events in a chain", lambda: listen(model, made, {"text": model.prompt}))
    expect_no_error(model, found, f"{CHAIN}\n\n" + read(asked(model)))
    return found


def expect_no_error(model: Subject, found: Events, script: str) -> None:
    """Fail the clause if a run under `astream_events` has failed where `astream` has not."""
    if found.error is not None:
        model.expect(False, f"astream_events raised {describe_error(found.error)}", script)


def asked(model: Subject) -> str:
    """Return Python for the input of a chain."""
    return f"{{'text': {model.prompt!r}}}"


def caller(llm: BaseLLM) -> Runnable[Any, Any]:
    """Return a runnable that calls the model by `ainvoke`."""

    async def ask(text: str, config: RunnableConfig) -> str:
        return await llm.ainvoke(text, config)

    return RunnableLambda(ask)


def read(value: str, runnable: str = "chain") -> str:
    """Return Python that gives the list of events."""
    return f'events = asyncio.run(read({runnable}.astream_events({value}, version="v2")))'
