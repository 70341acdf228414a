"""Right models, for the mutants to spoil: one on langchain-core's class, one on ours.

Both give the same text. It depends on the prompt, does not begin with it, and has letters, blanks
and punctuation, so that every check has something to hold on to.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

from langchain_core.language_models import llms
from langchain_core.outputs import GenerationChunk

import langchain_wrap


def answer(prompt: str) -> str:
    """What the right models say to a prompt."""
    return f"So: {prompt.upper()}. Well, (that) is | all."


def pieces(text: str, size: int = 3) -> list[str]:
    """A text in chunks."""
    return [text[i : i + size] for i in range(0, len(text), size)]


def before(text: str, stop: list[str] | None) -> str:
    """A text up to its first stop."""
    found = [text.find(one) for one in stop or () if one in text]
    return text[: min(found)] if found else text


class Core(llms.LLM):
    """A model on langchain-core's own class that owes nothing, as its documents ask for it."""

    model_name: str = "so"
    """The name of the model."""

    repeat: int = 1
    """How many times the answer is said."""

    @property
    def _llm_type(self) -> str:
        return "so"

    @property
    def _identifying_params(self) -> dict[str, Any]:
        return {"model_name": self.model_name, "repeat": self.repeat}

    def text(self, prompt: str, stop: list[str] | None) -> str:
        return before(answer(prompt) * self.repeat, stop)

    def _call(self, prompt, stop=None, run_manager=None, **kwargs) -> str:
        return self.text(prompt, stop)

    async def _acall(self, prompt, stop=None, run_manager=None, **kwargs) -> str:
        await asyncio.sleep(0)
        return self.text(prompt, stop)

    def _stream(self, prompt, stop=None, run_manager=None, **kwargs) -> Iterator[GenerationChunk]:
        for piece in pieces(self.text(prompt, stop)) or [""]:
            chunk = GenerationChunk(text=piece)
            if run_manager:
                run_manager.on_llm_new_token(piece, chunk=chunk)
            yield chunk

    async def _astream(
        self, prompt, stop=None, run_manager=None, **kwargs
    ) -> AsyncIterator[GenerationChunk]:
        for piece in pieces(self.text(prompt, stop)) or [""]:
            await asyncio.sleep(0)
            chunk = GenerationChunk(text=piece)
            if run_manager:
                await run_manager.on_llm_new_token(piece, chunk=chunk)
            yield chunk


class Ours(langchain_wrap.LLM):
    """The same model on our class: it owes nothing at all."""

    model_name: str = "so"
    """The name of the model."""

    repeat: int = 1
    """How many times the answer is said."""

    def _stream(self, prompt: str) -> Iterator[str]:
        yield from pieces(answer(prompt) * self.repeat)
