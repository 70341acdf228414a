"""A family of right models: what they say, in what pieces and at what pace varies with a seed.

Those on langchain-core's class hold the contract, those on ours and those of `wrap` hold
everything, so whatever the kit has against one of them is a false alarm.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

from langchain_core.language_models import llms
from langchain_core.language_models.llms import BaseLLM
from langchain_core.outputs import GenerationChunk
from mutants.right import answer, pieces

import langchain_wrap

LETTERS = (
    "abcdefghijklmnopqrstuvwxyz     .,;",
    "ab ",
    "äößéñḉ̈ naïve ",
    "日本語の文章です。、 ",
    "😀👩‍👩‍👧🇩🇪❤️ ok ",
    "שלום عليكم 123 ",
    "{}[]()|.*+?^$\\<|end|>\n\t \"'",
)
"""What the answers of a model are made of."""

LENGTHS = ((20, 120), (60, 60), (1, 6), (0, 2), (0, 0), (200, 400))
"""How many characters an answer has, from the least to the most."""


class Manner:
    """How a model speaks; its fields are those of a model below."""

    seed: int
    letters: str
    least: int
    most: int
    piece: int
    delay: float
    deaf: bool
    varies: bool

    def says(self, prompt: str) -> str:
        """The whole answer."""
        told = random.random() if self.varies else "" if self.deaf else prompt
        rng = random.Random(f"{self.seed}:{told!r}")
        length = rng.randint(self.least, max(self.least, self.most))
        return "".join(rng.choice(self.letters or " ") for _ in range(length))

    def cut(self, text: str) -> list[str]:
        """A text in pieces of random sizes, an empty one among them now and then."""
        rng = random.Random(f"{self.seed}:{text!r}")
        found, at = [], 0
        while at < len(text):
            # A long answer in one piece would not be streamed at all.
            largest = self.piece if len(text) < 100 else min(self.piece, len(text) // 2)
            size = rng.randint(0 if rng.random() < 0.1 else 1, max(1, largest))
            found.append(text[at : at + size])
            at += size
        return found

    def waits(self) -> float:
        return random.random() * self.delay


def until(text: str, stop: list[str] | None, keep: bool) -> str:
    """A text up to its first stop, or up to the end of it."""
    found = [(text.find(one), len(one)) for one in stop or () if one in text]
    if not found:
        return text
    at, length = min(found)
    return text[: at + length * keep]


# --- on langchain-core's class ---


class CoreMember(llms.LLM, Manner):
    """A model of the family on langchain-core's class; it owes the contract."""

    seed: int = 0
    """What its answers are made from."""

    letters: str = LETTERS[0]
    """The characters of its answers."""

    least: int = 20
    """The fewest characters of an answer."""

    most: int = 120
    """The most characters of an answer."""

    piece: int = 3
    """The most characters of a piece."""

    delay: float = 0.0
    """The most seconds before a piece."""

    deaf: bool = False
    """Whether it says the same to every prompt."""

    varies: bool = False
    """Whether it says something else every time."""

    keeps_stop: bool = False
    """Whether the stop stays in the text."""

    refuses_stop: bool = False
    """Whether it takes no stops."""

    @property
    def _llm_type(self) -> str:
        return "family"

    @property
    def _identifying_params(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in CoreMember.__annotations__}

    def text(self, prompt: str, stop: list[str] | None) -> str:
        if stop and self.refuses_stop:
            raise NotImplementedError("this model takes no stop")
        return until(self.says(prompt), stop, self.keeps_stop)

    def _call(self, prompt, stop=None, run_manager=None, **kwargs) -> str:
        time.sleep(self.waits())
        return self.text(prompt, stop)


class CoreAsync(CoreMember):
    """The same, with a coroutine of its own."""

    async def _acall(self, prompt, stop=None, run_manager=None, **kwargs) -> str:
        await asyncio.sleep(self.waits())
        return self.text(prompt, stop)


class CoreStreaming(CoreMember):
    """The same, with a blocking stream."""

    def _stream(self, prompt, stop=None, run_manager=None, **kwargs) -> Iterator[GenerationChunk]:
        for piece in self.cut(self.text(prompt, stop)) or [""]:
            time.sleep(self.waits())
            chunk = GenerationChunk(text=piece)
            if run_manager:
                run_manager.on_llm_new_token(piece, chunk=chunk)
            yield chunk


class CoreBoth(CoreStreaming, CoreAsync):
    """The same, with everything in both kinds, and facts on its last chunk."""

    async def _astream(
        self, prompt, stop=None, run_manager=None, **kwargs
    ) -> AsyncIterator[GenerationChunk]:
        found = self.cut(self.text(prompt, stop)) or [""]
        for number, piece in enumerate(found, 1):
            await asyncio.sleep(self.waits())
            info = {"finish_reason": "stop", "model_name": "family"}
            chunk = GenerationChunk(
                text=piece, generation_info=info if number == len(found) else None
            )
            if run_manager:
                await run_manager.on_llm_new_token(piece, chunk=chunk)
            yield chunk


# --- on ours ---


class OurMember(langchain_wrap.LLM, Manner):
    """A model of the family on our class; it owes everything."""

    seed: int = 0
    """What its answers are made from."""

    letters: str = LETTERS[0]
    """The characters of its answers."""

    least: int = 20
    """The fewest characters of an answer."""

    most: int = 120
    """The most characters of an answer."""

    piece: int = 3
    """The most characters of a piece."""

    delay: float = 0.0
    """The most seconds before a piece."""

    deaf: bool = False
    """Whether it says the same to every prompt."""

    varies: bool = False
    """Whether it says something else every time."""

    refuses_stop: bool = False
    """Whether it takes no stops."""

    def text(self, prompt: str, stop: list[str] | None) -> str:
        if stop and self.refuses_stop:
            raise NotImplementedError("this model takes no stop")
        return self.says(prompt)


class OurCall(OurMember):
    """By a blocking function."""

    def _call(self, prompt, stop=None):
        time.sleep(self.waits())
        return self.text(prompt, stop)


class OurACall(OurMember):
    """By a coroutine."""

    async def _acall(self, prompt, stop=None, run_manager=None, **kwargs):
        await asyncio.sleep(self.waits())
        return self.text(prompt, stop)


class OurStream(OurMember):
    """By a blocking generator."""

    def _stream(self, prompt, stop=None, temperature=0.0):
        for piece in self.cut(self.text(prompt, stop)):
            time.sleep(self.waits())
            yield piece


class OurAStream(OurMember):
    """By an async generator of chunks that repeat what is known."""

    async def _astream(self, prompt, stop=None):
        info = {"finish_reason": "stop", "model_name": "family"}
        for piece in self.cut(self.text(prompt, stop)):
            await asyncio.sleep(self.waits())
            yield GenerationChunk(text=piece, generation_info=dict(info))


class OurBatch(OurMember):
    """By a function from a list to a list."""

    def _batch(self, prompts, stop=None):
        time.sleep(self.waits())
        return [self.text(prompt, stop) for prompt in prompts]


class OurABatch(OurMember):
    """By a coroutine from a list to a list."""

    async def _abatch(self, prompts, stop=None):
        await asyncio.sleep(self.waits())
        return [self.text(prompt, stop) for prompt in prompts]


class OurMany(OurCall, OurStream, OurAStream, OurBatch):
    """By several methods at once."""


CORES: tuple[type[CoreMember], ...] = (CoreMember, CoreAsync, CoreStreaming, CoreBoth)
OURS: tuple[type[OurMember], ...] = (
    OurCall, OurACall, OurStream, OurAStream, OurBatch, OurABatch, OurMany,
)  # fmt: skip


def member(seed: int, kinds: tuple[type[Any], ...]) -> Callable[[], BaseLLM]:
    """A way to make one model of the family: always the same for a seed."""
    rng = random.Random(seed)
    kind = rng.choice(kinds)
    least, most = rng.choice(LENGTHS[:1] * 3 + LENGTHS)
    fields: dict[str, Any] = {
        "seed": seed,
        "letters": rng.choice(LETTERS),
        "least": least,
        "most": most,
        "piece": rng.choice((1, 3, 10, 1000)),
        "delay": rng.choice((0.0, 0.0, 0.002)),
        "deaf": rng.random() < 0.15,
        "varies": rng.random() < 0.15,
        "refuses_stop": rng.random() < 0.1,
    }
    if issubclass(kind, OurMember):
        fields["include_stop"] = rng.random() < 0.3
        fields["concurrency"] = rng.choice((None, 1, 2, 4))
        if kind in (OurBatch, OurMany):
            fields["max_batch_size"] = rng.choice((None, 1, 3))
    else:
        fields["keeps_stop"] = rng.random() < 0.3
    return lambda: kind(**fields)


# --- by wrap ---


def function(prompt):
    return answer(prompt)


async def coroutine(prompt):
    await asyncio.sleep(0)
    return answer(prompt)


def generator(prompt):
    yield from pieces(answer(prompt))


async def async_generator(prompt):
    for piece in pieces(answer(prompt)):
        await asyncio.sleep(0)
        yield piece


def batch(prompts):
    return [answer(prompt) for prompt in prompts]


class Engine:
    """An object with methods."""

    def generate(self, prompt):
        return answer(prompt)

    def stream(self, prompt):
        yield from pieces(answer(prompt))


WRAPPED: dict[str, Callable[[], BaseLLM]] = {
    "a function": lambda: langchain_wrap.wrap(function),
    "a coroutine function": lambda: langchain_wrap.wrap(coroutine),
    "a generator function": lambda: langchain_wrap.wrap(generator),
    "an async generator function": lambda: langchain_wrap.wrap(async_generator),
    "a batch function": lambda: langchain_wrap.wrap(batch, batch=True),
    "an object": lambda: langchain_wrap.wrap(Engine()),
}
