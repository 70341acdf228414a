"""Mutants of TOKEN."""

from __future__ import annotations

import asyncio

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.outputs import GenerationChunk, LLMResult

from mutants.mutant import Mutant
from mutants.right import Core, Ours


class Silent(Core):
    def _stream(self, prompt, stop=None, run_manager=None, **kwargs):
        return super()._stream(prompt, stop)


class ReportsAllSoFar(Core):
    def _stream(self, prompt, stop=None, run_manager=None, **kwargs):
        text = ""
        for chunk in super()._stream(prompt, stop):
            text += chunk.text
            if run_manager:
                run_manager.on_llm_new_token(text, chunk=GenerationChunk(text=text))
            yield chunk


class SilentInAsync(Core):
    async def _astream(self, prompt, stop=None, run_manager=None, **kwargs):
        async for chunk in super()._astream(prompt, stop):
            yield chunk


class ReportsTwiceInAsync(Core):
    async def _astream(self, prompt, stop=None, run_manager=None, **kwargs):
        async for chunk in super()._astream(prompt, stop, run_manager):
            if run_manager:
                await run_manager.on_llm_new_token(chunk.text, chunk=chunk)
            yield chunk


class ReportsAfterwards(Core):
    def _stream(self, prompt, stop=None, run_manager=None, **kwargs):
        for chunk in super()._stream(prompt, stop):
            yield chunk
            if run_manager:
                run_manager.on_llm_new_token(chunk.text, chunk=chunk)


class GivesNoChunk(Core):
    def _stream(self, prompt, stop=None, run_manager=None, **kwargs):
        for chunk in super()._stream(prompt, stop):
            if run_manager:
                run_manager.on_llm_new_token(chunk.text)
            yield chunk


class NotAwaited(Core):
    async def _astream(self, prompt, stop=None, run_manager=None, **kwargs):
        async for chunk in super()._astream(prompt, stop):
            if run_manager:
                run_manager.on_llm_new_token(chunk.text, chunk=chunk)
            yield chunk


class NotWaitedFor(Core):
    async def _astream(self, prompt, stop=None, run_manager=None, **kwargs):
        tasks = []
        async for chunk in super()._astream(prompt, stop):
            if run_manager:
                report = run_manager.on_llm_new_token(chunk.text, chunk=chunk)
                tasks.append(asyncio.create_task(report))
            yield chunk
        await asyncio.gather(*tasks)


class EndsItself(Core):
    def _stream(self, prompt, stop=None, run_manager=None, **kwargs):
        yield from super()._stream(prompt, stop, run_manager)
        if run_manager:
            generation = GenerationChunk(text=self.text(prompt, stop))
            run_manager.on_llm_end(LLMResult(generations=[[generation]]))


class UsesOneChunkAgain(Core):
    """langchain-core keeps the first chunk, and adds the next ones to it."""

    def _stream(self, prompt, stop=None, run_manager=None, **kwargs):
        chunk = GenerationChunk(text="")
        for piece in super()._stream(prompt, stop):
            chunk.text = piece.text
            if run_manager:
                run_manager.on_llm_new_token(piece.text, chunk=piece)
            yield chunk


class ReportsTwiceInInvoke(Core):
    def _call(self, prompt, stop=None, run_manager=None, **kwargs):
        text = ""
        for chunk in self._stream(prompt, stop, run_manager):
            if run_manager:
                run_manager.on_llm_new_token(chunk.text, chunk=chunk)
            text += chunk.text
        return text


class BatchesByItself(Core):
    def batch(self, inputs, config=None, **kwargs):
        return [self.invoke(input_, **kwargs) for input_ in inputs]


class OneConfigForAll(Core):
    async def abatch(self, inputs, config=None, **kwargs):
        first = config[0] if isinstance(config, list) and config else config
        return await super().abatch(inputs, first, **kwargs)


class OnTheFirstRun(BaseCallbackHandler):
    """Tells another handler of all tokens as of those of the first run, as langchain-core does."""

    raise_error = True

    def __init__(self, handler):
        self.handler = handler
        self.first = None

    def on_llm_start(self, *args, run_id, **kwargs):
        self.first = self.first or run_id
        self.handler.on_llm_start(*args, run_id=run_id, **kwargs)

    def on_llm_new_token(self, *args, run_id, **kwargs):
        self.handler.on_llm_new_token(*args, run_id=self.first, **kwargs)

    def on_llm_end(self, *args, **kwargs):
        self.handler.on_llm_end(*args, **kwargs)

    def on_llm_error(self, *args, **kwargs):
        self.handler.on_llm_error(*args, **kwargs)


class TokensOfABatchOnOneRun(Ours):
    def batch(self, inputs, config=None, **kwargs):
        if isinstance(config, dict):
            own = [OnTheFirstRun(handler) for handler in config.get("callbacks") or ()]
            config = {**config, "callbacks": own}
        return super().batch(inputs, config, **kwargs)


MUTANTS = [
    Mutant("TOKEN-01", Silent, Core),
    Mutant("TOKEN-01", ReportsAllSoFar, Core),
    Mutant("TOKEN-02", SilentInAsync, Core, frozenset({"EVENTS-04"})),
    Mutant("TOKEN-02", ReportsTwiceInAsync, Core, frozenset({"EVENTS-03"})),
    Mutant("TOKEN-03", ReportsAfterwards, Core),
    Mutant("TOKEN-04", GivesNoChunk, Core),
    Mutant("TOKEN-05", NotAwaited, Core, frozenset({"EVENTS-04"})),
    Mutant("TOKEN-05", NotWaitedFor, Core),
    Mutant("TOKEN-06", EndsItself, Core),
    Mutant("TOKEN-07", UsesOneChunkAgain, Core, frozenset({"STREAM-04"})),
    Mutant("TOKEN-08", ReportsTwiceInInvoke, Core),
    Mutant("TOKEN-09", BatchesByItself, Core, frozenset({"CALL-11", "TOKEN-10"})),
    Mutant("TOKEN-10", OneConfigForAll, Core),
    Mutant("TOKEN-11", TokensOfABatchOnOneRun, Ours),
]
