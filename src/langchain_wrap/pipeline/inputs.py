"""Inputs: what is given to `batch`, each either a prompt to complete or an error already."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from langchain_core.language_models.base import LanguageModelInput
from langchain_core.runnables import RunnableConfig

from langchain_wrap.pipeline.core import prompt_of
from langchain_wrap.pipeline.listener import Listener
from langchain_wrap.pipeline.live import check_bound
from langchain_wrap.pipeline.plan import Plan
from langchain_wrap.pipeline.run import Outcome
from langchain_wrap.pipeline.shell import Shell

if TYPE_CHECKING:
    from langchain_wrap.contract import Contract


class Inputs:
    """The inputs of one `batch`; what is no prompt has its error already."""

    def __init__(
        self,
        llm: Contract,
        shell: Shell,
        inputs: list[LanguageModelInput],
        config: RunnableConfig | list[RunnableConfig] | None,
        kwargs: dict[str, Any],
        *,
        keep_errors: bool,
    ) -> None:
        self._keep_errors = keep_errors
        self._texts: list[Any] = [None] * len(inputs)
        self._plan = Plan(llm, shell, stop=kwargs.pop("stop", None), parameters=kwargs)
        listeners, self._limit = Listener.each(config, len(inputs))
        check_bound("max_concurrency", self._limit, 1)
        self._prompts: dict[int, str] = {}
        self._listeners = []
        for index, (input_, listener) in enumerate(zip(inputs, listeners, strict=True)):
            try:
                self._prompts[index] = prompt_of(llm, input_)
                self._listeners.append(listener)
            except Exception as error:
                if not keep_errors:
                    raise
                self._texts[index] = error

    async def complete(self) -> list[Outcome]:
        """Complete the prompts among the inputs."""
        return await self._plan.complete(
            list(self._prompts.values()),
            self._listeners,
            limit=self._limit,
            keep_errors=self._keep_errors,
        )

    def texts(self, outcomes: list[Outcome]) -> list[str]:
        """Return for each input its text, or its error where errors are kept."""
        for index, outcome in zip(self._prompts, outcomes, strict=True):
            text = outcome.generation.text if outcome.generation is not None else ""
            self._texts[index] = text if outcome.error is None else outcome.error
        return self._texts
