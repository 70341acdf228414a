"""Chat: how often a small model's tool calls and objects are valid, and what chat costs.

Runs alone: `python -m benchmarks.chat [--quick]`; with `--write` it writes docs/measured-chat.md.
`LANGCHAIN_WRAP_LARGER` names the GGUF file of a second model, which is measured as well.
"""

import asyncio
import gc
import importlib.util
import os
import platform
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jsonschema
from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel, SimpleChatModel
from langchain_core.messages import AIMessageChunk, BaseMessage
from langchain_core.outputs import ChatGenerationChunk
from pydantic import PrivateAttr

from benchmarks.measure import in_turn
from langchain_wrap import LLM
from langchain_wrap.models import LlamaCpp, weights

PAGE = Path(__file__).parent.parent / "docs" / "measured-chat.md"
MAX_TOKENS = 64
TOKENS, CALLS = 2000, 300

TEXT = {"type": "string", "maxLength": 40}
"""Without a bound, a small model may go on with a text until its tokens are used up."""

# --- what is asked: 10 templates x 10 values, the same in every run ---

CITIES = ["Rome", "Oslo", "Lima", "Cairo", "Paris", "Tokyo", "Delhi", "Quito", "Bern", "Accra"]
NUMBERS = [3, 7, 12, 15, 20, 25, 30, 45, 60, 90]
THINGS = [
    "bread",
    "house",
    "water",
    "friend",
    "music",
    "garden",
    "winter",
    "bridge",
    "letter",
    "morning",
]
NAMES = ["Anna", "Ben", "Carla", "David", "Emma", "Farid", "Greta", "Hugo", "Ines", "Jonas"]
JOBS = [
    "baker",
    "nurse",
    "pilot",
    "teacher",
    "farmer",
    "doctor",
    "painter",
    "driver",
    "cook",
    "judge",
]


def tool(name: str, description: str, **properties: dict[str, Any]) -> dict[str, Any]:
    parameters = {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }
    return {
        "type": "function",
        "function": {"name": name, "description": description, "parameters": parameters},
    }


TOOLS = [
    tool("get_weather", "Tell the weather in a city.", city=TEXT),
    tool(
        "calculate",
        "Compute with two numbers.",
        left={"type": "number"},
        operation={"enum": ["add", "subtract", "multiply", "divide"]},
        right={"type": "number"},
    ),
    tool("set_timer", "Ring after some minutes.", minutes={"type": "integer", "minimum": 1}),
    tool(
        "translate",
        "Translate a text.",
        text=TEXT,
        language={"enum": ["French", "German", "Spanish"]},
    ),
]
PARAMETERS = {each["function"]["name"]: each["function"]["parameters"] for each in TOOLS}
QUESTIONS: list[tuple[str, str, list[Any]]] = [
    ("get_weather", "What is the weather in {}?", CITIES),
    ("get_weather", "Is it raining in {} now?", CITIES),
    ("get_weather", "Do I need a coat in {} today?", CITIES),
    ("calculate", "What is {} times 17?", NUMBERS),
    ("calculate", "Add {} and 45.", NUMBERS),
    ("calculate", "How much is {} divided by 4?", NUMBERS),
    ("set_timer", "Set a timer for {} minutes.", NUMBERS),
    ("set_timer", "Remind me in {} minutes.", NUMBERS),
    ("translate", "Translate the word {} to French.", THINGS),
    ("translate", "How do you say {} in German?", THINGS),
]
PERSON = {
    "title": "Person",
    "description": "A person that a text tells of.",
    "type": "object",
    "properties": {
        "name": TEXT,
        "age": {"type": "integer", "minimum": 0, "maximum": 120},
        "profession": TEXT,
        "has_children": {"type": "boolean"},
    },
    "required": ["name", "age", "profession", "has_children"],
    "additionalProperties": False,
}
TEXTS = [
    "{name} is {age}, works as a {job} and has two children.",
    "My neighbour {name}, a {job} of {age} years, lives alone.",
    "At {age}, {name} is still a {job}. There are no children.",
    "{name} ({age}), {job}, mother or father of one.",
    "The {job} is called {name} and has just turned {age}.",
    "I met {name} today: {age} years old, a {job}, three children.",
    "We are looking for {name}, aged {age}, a {job} without children.",
    "{name} became a {job} long ago and is {age} now, with a son.",
    "Name: {name}. Age: {age}. Profession: {job}. Children: none.",
    "For {age} years {name} has lived here, the last ten as a {job}.",
]


def tool_prompts() -> list[tuple[str, str]]:
    """What is asked, and the tool that is right for it."""
    return [(text.format(value), name) for name, text, values in QUESTIONS for value in values]


def object_prompts() -> list[tuple[str, str, int]]:
    """What is asked, and the name and age that are right."""
    people = list(zip(NAMES, NUMBERS, JOBS, strict=True))
    return [
        ("Who is this? " + text.format(name=name, age=age, job=job), name, age)
        for text in TEXTS
        for name, age, job in people
    ]


# --- valid tool calls and objects ---


class Free(LlamaCpp):
    """The same model, which cannot be held to a schema."""

    _said: dict[str, list[Any]] = PrivateAttr(default_factory=dict)

    def _schema_parameters(self, schema: dict[str, Any]) -> None:  # type: ignore[override]
        return None

    def _stream(self, prompt: str, stop: Any = None, cancel: Any = None, **params: Any) -> Any:
        # At temperature 0 a first attempt is what it was: it need not be computed again.
        if prompt not in self._said:
            self._said[prompt] = list(super()._stream(prompt, stop, cancel, **params))
        yield from self._said[prompt]


@dataclass(frozen=True, slots=True)
class Rate:
    """One line: of `total` answers, how many were what."""

    model: str
    work: str
    how: str
    valid: int
    right: int
    cut: int
    total: int


def model(kind: type[LlamaCpp], path: str) -> LlamaCpp:
    # The steps of a small model are so short that its threads would mostly wait for each other.
    threads = 1 if path == weights.DEFAULT else None
    llm = kind(
        model_path=path, temperature=0, max_tokens=MAX_TOKENS, n_threads=threads, n_parallel=4
    )
    llm.invoke("a", max_tokens=1)
    return llm


def is_valid(value: object, schema: dict[str, Any]) -> bool:
    return bool(jsonschema.Draft202012Validator(schema).is_valid(value))


def called(llm: LlamaCpp, how: str, repairs: int, step: int) -> Rate:
    asked = tool_prompts()[::step]
    chat = llm.as_chat(max_repairs=repairs).bind_tools(TOOLS, tool_choice="any")
    answers = chat.batch([text for text, _ in asked])
    valid = right = 0
    for answer, (_, wanted) in zip(answers, asked, strict=True):
        calls = answer.tool_calls
        if not calls or answer.invalid_tool_calls:
            continue
        if all(
            call["name"] in PARAMETERS and is_valid(call["args"], PARAMETERS[call["name"]])
            for call in calls
        ):
            valid += 1
            right += calls[0]["name"] == wanted
    return Rate(named(llm), "tool calls", how, valid, right, cut_off(answers), len(asked))


def objects(llm: LlamaCpp, how: str, step: int) -> Rate:
    asked = object_prompts()[::step]
    chat = llm.as_chat().with_structured_output(PERSON, include_raw=True)
    answers = chat.batch([text for text, _, _ in asked])
    valid = right = 0
    for answer, (_, name, age) in zip(answers, asked, strict=True):
        value = answer["parsed"]
        if value is not None and is_valid(value, PERSON):
            valid += 1
            right += (value["name"], value["age"]) == (name, age)
    cut = cut_off([answer["raw"] for answer in answers])
    return Rate(named(llm), "objects", how, valid, right, cut, len(asked))


def cut_off(answers: list[Any]) -> int:
    return sum(each.response_metadata.get("finish_reason") == "length" for each in answers)


def named(llm: LlamaCpp) -> str:
    return weights.model_name(llm.model_path)


def all_rates(step: int = 1) -> Iterator[Rate]:
    for path in (weights.DEFAULT, os.environ.get("LANGCHAIN_WRAP_LARGER")):
        if path:
            yield from rates(path, step)


def rates(path: str, step: int) -> Iterator[Rate]:
    held, free = model(LlamaCpp, path), model(Free, path)
    yield called(held, "held to the schema", 0, step)
    yield called(free, "not held", 0, step)
    yield called(free, "not held, 2 repairs", 2, step)
    yield objects(held, "held to the schema", step)
    yield objects(free, "not held", step)


# --- what chat costs ---


class Tokens(LLM):
    """Streams without end, but for `TOKENS`."""

    def _stream(self, prompt: str) -> Iterator[str]:
        for _ in range(TOKENS):
            yield "tok "


class Once(LLM):
    """Answers at once."""

    def _call(self, prompt: str) -> str:
        return "tok"


class CoreTokens(BaseChatModel):
    """The same stream by langchain-core's own base class."""

    def _generate(self, *_: Any, **__: Any) -> Any:
        raise NotImplementedError

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        for _ in range(TOKENS):
            chunk = ChatGenerationChunk(message=AIMessageChunk(content="tok "))
            if run_manager:
                run_manager.on_llm_new_token("tok ", chunk=chunk)
            yield chunk

    @property
    def _llm_type(self) -> str:
        return "benchmark"


class CoreOnce(SimpleChatModel):
    """The same answer by langchain-core's own base class."""

    def _call(self, messages: list[BaseMessage], *_: Any, **__: Any) -> str:
        return "tok"

    @property
    def _llm_type(self) -> str:
        return "benchmark"


@dataclass(frozen=True, slots=True)
class Cost:
    """One line, in microseconds."""

    work: str
    chat: float
    llm: float
    core: float


async def drain(model: Any) -> None:
    async for _ in model.astream("x"):
        pass


async def repeat(model: Any) -> None:
    for _ in range(CALLS):
        await model.ainvoke("x")


def costs(repeats: int = 9) -> Iterator[Cost]:
    # Else each third of the shorter works also pays for a collection of all that was ever loaded.
    gc.collect()
    gc.freeze()
    tokens, once = Tokens(), Once()
    streams = (tokens.as_chat(), tokens, CoreTokens())
    calls = (once.as_chat(), once, CoreOnce())
    works: list[tuple[str, int, tuple[Any, ...], Callable[[Any], object]]] = [
        ("`stream`, per token", TOKENS, streams, lambda each: list(each.stream("x"))),
        ("`astream`, per token", TOKENS, streams, lambda each: asyncio.run(drain(each))),
        ("`invoke`, per call", CALLS, calls, lambda each: [each.invoke("x") for _ in range(CALLS)]),
        ("`ainvoke`, per call", CALLS, calls, lambda each: asyncio.run(repeat(each))),
    ]
    for work, count, models, way in works:
        chat, llm, core = (
            1e6 * taken / count
            for taken in in_turn(
                repeats, *(lambda way=way, each=each: way(each) for each in models)
            )
        )
        yield Cost(work, chat, llm, core)
    gc.unfreeze()


# --- the page ---

HEAD = """# Chat, measured

Written by `make bench`, or by `python -m benchmarks.chat --write` alone. How chat works is told in
[chat](chat.md).

## Valid calls and objects

Each line is {count} prompts, the same in every run: 10 sentences x 10 values; temperature 0, at
most {most} tokens for an answer. The models are run by [LlamaCpp](llama-cpp.md). SmolLM2-135M is
about the smallest that follows instructions at all, and not tuned to call tools; Qwen2.5-Coder-1.5B
is small and tuned to, and its template has a place for tools (`python tests/qwen.py` fetches it).
What a model chooses shows its wit; what is held to a schema is valid with any model.

- **held to the schema**: `LlamaCpp` as it is. **not held**: a subclass whose `_schema_parameters`
  gives `None`, so that tools and schema are told in words alone. **2 repairs**: `max_repairs=2`.
- Tool calls: four tools, `tool_choice="any"`. *Valid*: a known tool is called, and jsonschema finds
  the arguments right. *Right*: it is also the tool that the question is about; one and the same
  tool for all would be right 20 or 30 times.
- Objects: `with_structured_output` by a JSON schema with four keys. *Valid*: jsonschema finds the
  object right. *Right*: its name and age are also those of the text.
- *Cut off*: the answer has reached its most tokens. A call or object that breaks off there is never
  taken for one, and so never valid.
- Texts in the schemas have at most 40 characters (`maxLength`).

| model | work | | valid | right | cut off | of |
| --- | --- | --- | --- | --- | --- | --- |
"""
COSTS = """
## What chat costs

A model that does nothing, called as a chat (`as_chat()`, template `plain`), as the LLM that it is,
and written on langchain-core's own chat classes (`BaseChatModel._stream`, `SimpleChatModel._call`),
in turn; medians in microseconds. A model's own token takes thousands.

| work | chat | the LLM itself | langchain-core's chat | chat - LLM | chat / core's |
| --- | --- | --- | --- | --- | --- |
"""


def rate_line(rate: Rate) -> str:
    counts = f"**{rate.valid}** | {rate.right} | {rate.cut} | {rate.total}"
    return f"| {rate.model} | {rate.work} | {rate.how} | {counts} |"


def cost_line(cost: Cost) -> str:
    return (
        f"| {cost.work} | {cost.chat:.4g} | {cost.llm:.4g} | {cost.core:.4g} "
        f"| {cost.chat - cost.llm:+.3g} | **{cost.chat / cost.core:.2f}** |"
    )


def shown(lines: Iterator[str]) -> str:
    kept = []
    for line in lines:
        print(line, flush=True)
        kept.append(line + "\n")
    return "".join(kept)


def write() -> None:
    """Measure all, and write docs/measured-chat.md."""
    if importlib.util.find_spec("xllamacpp") is None:
        print("chat is not measured: xllamacpp is not installed", file=sys.stderr)
        return
    page = HEAD.format(count=len(tool_prompts()), most=MAX_TOKENS)
    page += shown(map(rate_line, all_rates())) + COSTS + shown(map(cost_line, costs()))
    page += (
        f"\n{date.today():%Y-%m-%d}, Python {platform.python_version()}, langchain-core "
        f"{version('langchain-core')}, xllamacpp {version('xllamacpp')}, {platform.machine()}.\n"
    )
    PAGE.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    if "--write" in sys.argv:
        write()
    else:
        quick = "--quick" in sys.argv
        shown(map(rate_line, all_rates(20 if quick else 1)))
        shown(map(cost_line, costs(3 if quick else 9)))
