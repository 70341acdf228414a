"""Other people's models: langchain-core's fakes, those of two services, and the seed's example."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from langchain_core.language_models import llms
from langchain_core.language_models.fake import FakeListLLM, FakeStreamingListLLM
from langchain_core.language_models.llms import BaseLLM
from langchain_core.outputs import GenerationChunk
from servers import KEY, MODEL, apart

import langchain_wrap

SAID = ["one two three, four five."]


class SeedMethods:
    """What LangChain's page on custom LLM classes has an author write, told in our words."""

    n: int

    def _call(self, prompt, stop=None, run_manager=None, **kwargs) -> str:
        if stop is not None:
            raise ValueError("this model takes no stop sequences")
        return prompt[: self.n]

    def _stream(self, prompt, stop=None, run_manager=None, **kwargs) -> Iterator[GenerationChunk]:
        for character in prompt[: self.n]:
            chunk = GenerationChunk(text=character)
            if run_manager is not None:
                run_manager.on_llm_new_token(character, chunk=chunk)
            yield chunk

    @property
    def _identifying_params(self) -> dict[str, Any]:
        return {"model_name": "CustomChatModel"}

    @property
    def _llm_type(self) -> str:
        return "custom"


class SeedOnCore(SeedMethods, llms.LLM):
    """Gives back the beginning of the prompt."""

    n: int
    """How many characters."""


class SeedOnOurs(SeedMethods, langchain_wrap.LLM):
    """Gives back the beginning of the prompt."""

    n: int
    """How many characters."""


@contextmanager
def others() -> Iterator[dict[str, Callable[[], BaseLLM]]]:
    """Ways to make each model, by name, as long as the servers run that two of them talk to.

    Raises:
        ImportError: langchain-openai or langchain-ollama is not installed.
    """
    from langchain_ollama import OllamaLLM
    from langchain_openai import OpenAI

    with apart("openai") as openai, apart("ollama") as ollama:
        yield {
            "SeedOnCore": lambda: SeedOnCore(n=5),
            "FakeListLLM": lambda: FakeListLLM(responses=SAID),
            "FakeStreamingListLLM": lambda: FakeStreamingListLLM(responses=SAID),
            "OpenAI": lambda: OpenAI(
                base_url=f"{openai.url}/v1", api_key=KEY, model=MODEL, temperature=0
            ),
            "OllamaLLM": lambda: OllamaLLM(base_url=ollama.url, model=MODEL, temperature=0),
        }


NAMES = ("SeedOnCore", "FakeListLLM", "FakeStreamingListLLM", "OpenAI", "OllamaLLM")
