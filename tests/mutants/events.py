"""Mutants of EVENTS."""

from __future__ import annotations

from langchain_core.callbacks import AsyncCallbackHandler
from langchain_core.outputs import GenerationChunk
from langchain_core.tracers._streaming import _StreamingCallbackHandler

from mutants.mutant import Mutant
from mutants.right import Core, Ours


class HandsOnCallbacksOnly(Core):
    async def astream(self, input, config=None, **kwargs):
        config = {"callbacks": (config or {}).get("callbacks")}
        async for text in super().astream(input, config, **kwargs):
            yield text


class HandsOnHandlersOnly(Core):
    """Its runs have no parents."""

    async def astream(self, input, config=None, **kwargs):
        callbacks = (config or {}).get("callbacks")
        config = {**(config or {}), "callbacks": getattr(callbacks, "handlers", callbacks)}
        async for text in super().astream(input, config, **kwargs):
            yield text


class GivesAllSoFarAsTheChunk(Core):
    async def _astream(self, prompt, stop=None, run_manager=None, **kwargs):
        text = ""
        async for chunk in super()._astream(prompt, stop):
            text += chunk.text
            if run_manager:
                await run_manager.on_llm_new_token(chunk.text, chunk=GenerationChunk(text=text))
            yield chunk


class ReportsWhereItIsAlone(Core):
    async def _astream(self, prompt, stop=None, run_manager=None, **kwargs):
        alone = run_manager if run_manager and run_manager.parent_run_id is None else None
        async for chunk in super()._astream(prompt, stop, alone):
            yield chunk


class StreamsTheErrorInAChain(Core):
    async def atransform(self, input, config=None, **kwargs):
        try:
            async for text in super().atransform(input, config, **kwargs):
                yield text
        except Exception as error:
            yield f"Error: {error}"


class Deaf(AsyncCallbackHandler):
    """Tells another handler everything but tokens, and does not ask for them."""

    def __init__(self, handler):
        self.handler = handler

    async def on_llm_start(self, *args, **kwargs):
        await self.handler.on_llm_start(*args, **kwargs)

    async def on_llm_end(self, *args, **kwargs):
        await self.handler.on_llm_end(*args, **kwargs)

    async def on_llm_error(self, *args, **kwargs):
        await self.handler.on_llm_error(*args, **kwargs)


class DoesNotStreamInside(Ours):
    async def ainvoke(self, input, config=None, **kwargs):
        callbacks = (config or {}).get("callbacks")
        if hasattr(callbacks, "handlers"):
            callbacks = callbacks.copy()
            for handler in list(callbacks.handlers):
                if isinstance(handler, _StreamingCallbackHandler):
                    callbacks.remove_handler(handler)
                    callbacks.add_handler(Deaf(handler))
            config = {**config, "callbacks": callbacks}
        return await super().ainvoke(input, config, **kwargs)


MUTANTS = [
    Mutant("EVENTS-01", HandsOnCallbacksOnly, Core, frozenset({"EVENTS-04"})),
    Mutant("EVENTS-02", HandsOnHandlersOnly, Core),
    Mutant("EVENTS-03", GivesAllSoFarAsTheChunk, Core, frozenset({"TOKEN-04"})),
    Mutant("EVENTS-04", ReportsWhereItIsAlone, Core),
    Mutant("EVENTS-05", StreamsTheErrorInAChain, Core),
    Mutant("EVENTS-06", DoesNotStreamInside, Ours),
]
