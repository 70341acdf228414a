"""A run: what LangChain's callbacks are told of one prompt, from start to end or error."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, NoReturn

from langchain_core.callbacks import (
    AsyncCallbackManagerForLLMRun,
    CallbackManagerForLLMRun,
)
from langchain_core.outputs import GenerationChunk, LLMResult, RunInfo

from langchain_wrap.pipeline.cache import CacheEntry
from langchain_wrap.pipeline.cancel import Cancelled
from langchain_wrap.pipeline.facts import add_usage
from langchain_wrap.pipeline.generation import Generation, Request
from langchain_wrap.pipeline.reader import GRACE
from langchain_wrap.pipeline.scrub import scrub
from langchain_wrap.pipeline.shell import Shell

RunManager = CallbackManagerForLLMRun | AsyncCallbackManagerForLLMRun


class SilentRun(CallbackManagerForLLMRun):
    """What a blocking method is given as `run_manager`: the pipeline reports the tokens itself."""

    def on_llm_new_token(self, *args: Any, **kwargs: Any) -> None:
        """Do nothing; a method that reports its own tokens must not double them."""


class SilentAsyncRun(AsyncCallbackManagerForLLMRun):
    """What an async method is given as `run_manager`: the pipeline reports the tokens itself."""

    async def on_llm_new_token(self, *args: Any, **kwargs: Any) -> None:
        """Do nothing; a method that reports its own tokens must not double them."""


def silent(manager: RunManager, *, is_async: bool) -> RunManager:
    """Return a run manager of the wanted kind for the same run that reports no tokens."""
    kind: type[RunManager] = SilentAsyncRun if is_async else SilentRun
    same = kind.__new__(kind)
    same.__dict__.update(manager.__dict__)
    return same


@dataclass(eq=False, repr=False)
class Outcome:
    """How a run has ended."""

    generation: GenerationChunk | None = None
    error: BaseException | None = None
    run_id: uuid.UUID | None = None


class Run:
    """One prompt, from `on_llm_start` to `on_llm_end` or `on_llm_error`.

    Args:
        request: The prompt.
        shell: The caller's side.
        begin: Calls `on_llm_start`; gives the run managers (to be settled).
        entry: Where the completion is in the cache, if there is one.
        twin: The outcome of an equal prompt, which is to be used here too.
    """

    def __init__(
        self,
        request: Request,
        shell: Shell,
        begin: Callable[[], Any],
        *,
        entry: CacheEntry | None = None,
        twin: Outcome | None = None,
    ) -> None:
        self.request = request
        self._shell = shell
        self._begin = begin
        self._entry = entry
        self._twin = twin
        self._manager: Any = None
        self._generation: Generation | None = None
        self._replay: GenerationChunk | None = None
        self._over = True
        self.outcome = Outcome()

    async def start(self) -> None:
        """Report the start, and look into the cache."""
        manager = self._manager = (await self._shell.settle(self._begin()))[0]
        self._over = False
        self.outcome.run_id = manager.run_id
        error: BaseException | None = None
        try:
            if await self._look_up():
                return
        except BaseException as caught:
            error = caught
        if error is not None:
            await self._fail(error)
        request = self.request
        # Nothing here may refer to the request: a circle would keep the model, and its weights.
        request.run_manager = partial(silent, manager, is_async=request.method.is_async)
        if manager.handlers:
            request.on_retry = manager.on_retry
        self._generation = Generation(request, self._shell)

    async def next(self) -> GenerationChunk | None:
        """Return the next chunk, reported before; None at the end.

        Raises:
            Cancelled: The request was cancelled; the run has ended normally all the same.
            Exception: What the call has failed with.
        """
        if self._over:
            return None
        try:
            chunk = await self._next()
            if chunk is None:
                await self._end()
            elif self._manager.handlers:
                await self._shell.settle(self._manager.on_llm_new_token(chunk.text, chunk=chunk))
        except BaseException as caught:
            error = caught
        else:
            return chunk
        # Outside of the handler, so that what is raised here does not get the original error,
        # which may show a secret, for its context.
        await self._fail(error)

    @property
    def needs_model(self) -> bool:
        """Whether the run has started and the model has to be called for it."""
        return self._generation is not None and not self._over

    async def finish(self) -> None:
        """Run from here to the end; the outcome tells the rest."""
        while await self.next() is not None:
            pass

    async def drain(self) -> None:
        """Run from start to end; the outcome tells the rest."""
        await self.start()
        await self.finish()

    async def close(self) -> None:
        """The reader has stopped early: end the source, and the run normally."""
        if not self._over:
            await self._end_cancelled(GRACE)

    async def _look_up(self) -> bool:
        if self._twin is not None:
            if self._twin.error is not None:
                raise self._twin.error
            hit = self._twin.generation
        elif self._entry is not None:
            hit = await self._entry.look_up(self._shell)
        else:
            return False
        if hit is None:
            return False
        # What a completion cost when it was made is not spent again.
        info = {k: v for k, v in (hit.generation_info or {}).items() if k != "token_usage"}
        self._replay = GenerationChunk(text=hit.text, generation_info=info or None)
        self.outcome.generation = self._replay
        return True

    async def _next(self) -> GenerationChunk | None:
        if self._generation is not None:
            return await self._generation.next()
        replay, self._replay = self._replay, None
        return replay

    async def _end(self) -> None:
        generation = self._generation
        if generation is None:
            self._over = True
            await self._report_end(llm_output={"cached": True})
            return
        if self.request.cancel.cancelled:  # the model has heeded it, and ended by itself
            generation.facts.conclude(finish_reason="cancelled")
        self.outcome.generation = generation.result()
        if self._entry is not None:
            await self._entry.store(self._shell, self.outcome.generation)
        self._over = True
        await self._report_end(llm_output=self._llm_output())
        await generation.close(0)

    async def _end_cancelled(self, grace: float) -> None:
        self._over = True
        generation = self._generation
        if generation is None:
            if self._replay is not None:  # not delivered
                self.outcome.generation = GenerationChunk(
                    text="", generation_info={"finish_reason": "cancelled"}
                )
            await self._report_end(llm_output={"cached": True})
            return
        await generation.close(grace)
        generation.facts.conclude(finish_reason="cancelled")
        self.outcome.generation = generation.result()
        await self._report_end(llm_output=self._llm_output())

    async def _fail(self, error: BaseException) -> NoReturn:
        """End the run after an error, and raise it."""
        if self._over:
            raise error
        cancelled = isinstance(error, Cancelled | asyncio.CancelledError)
        if cancelled and self.request.cancel.cancelled:
            await self._end_cancelled(0)
            raise error
        self._over = True
        generation = self._generation
        partial: GenerationChunk | None = None
        if generation is not None:
            await generation.close(0)
            partial = generation.result()
        clean = self.outcome.error = scrub(error, self.request.secrets())
        if self._manager.handlers:
            response = _llm_result(partial if partial is not None and partial.text else None)
            await self._shell.settle_surely(self._manager.on_llm_error(clean, response=response))
        raise clean

    def _llm_output(self) -> dict[str, Any] | None:
        info = (self.outcome.generation and self.outcome.generation.generation_info) or {}
        output: dict[str, Any] = {}
        for key in ("token_usage", "model_name"):
            if key in info:
                output[key] = info[key]
        return output or None

    async def _report_end(self, llm_output: dict[str, Any] | None) -> None:
        if self._manager.handlers:
            result = _llm_result(self.outcome.generation, llm_output)
            await self._shell.settle_surely(self._manager.on_llm_end(result))


def _llm_result(
    generation: GenerationChunk | None, llm_output: dict[str, Any] | None = None
) -> LLMResult:
    return LLMResult(generations=[[generation]] if generation else [], llm_output=llm_output)


def llm_result(outcomes: list[Outcome]) -> LLMResult:
    """Return the result of `generate` for prompts that have all succeeded; usage is summed."""
    output: dict[str, Any] = {}
    for outcome in outcomes:
        info = (outcome.generation and outcome.generation.generation_info) or {}
        if isinstance(info.get("token_usage"), dict):
            add_usage(output.setdefault("token_usage", {}), info["token_usage"])
        if "model_name" in info:
            output["model_name"] = info["model_name"]
    return LLMResult(
        generations=[[outcome.generation] for outcome in outcomes if outcome.generation],
        llm_output=output,
        run=[RunInfo(run_id=outcome.run_id) for outcome in outcomes if outcome.run_id] or None,
    )
