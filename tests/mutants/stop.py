"""Mutants of STOP."""

from __future__ import annotations

import re
from typing import Any

from langchain_core.outputs import GenerationChunk
from pydantic import PrivateAttr

from mutants.mutant import Mutant
from mutants.right import Core, answer, before, pieces


class CallIgnoresStops(Core):
    def _call(self, prompt, stop=None, run_manager=None, **kwargs):
        return self.text(prompt, None)


class InvokeForgetsStops(Core):
    def invoke(self, input, config=None, *, stop=None, **kwargs):
        return super().invoke(input, config, **kwargs)


class AcallIgnoresStops(Core):
    async def _acall(self, prompt, stop=None, run_manager=None, **kwargs):
        return self.text(prompt, None)


class AinvokeForgetsStops(Core):
    async def ainvoke(self, input, config=None, *, stop=None, **kwargs):
        return await super().ainvoke(input, config, **kwargs)


class BatchForgetsStops(Core):
    def batch(self, inputs, config=None, *, return_exceptions=False, stop=None, **kwargs):
        return super().batch(inputs, config, return_exceptions=return_exceptions, **kwargs)


class AbatchForgetsStops(Core):
    async def abatch(self, inputs, config=None, *, return_exceptions=False, stop=None, **kwargs):
        return await super().abatch(inputs, config, return_exceptions=return_exceptions, **kwargs)


class StreamIgnoresStops(Core):
    def _stream(self, prompt, stop=None, run_manager=None, **kwargs):
        return super()._stream(prompt, None, run_manager, **kwargs)


class AstreamIgnoresStops(Core):
    async def _astream(self, prompt, stop=None, run_manager=None, **kwargs):
        async for chunk in super()._astream(prompt, None, run_manager, **kwargs):
            yield chunk


class LooksIntoEachChunk(Core):
    def _stream(self, prompt, stop=None, run_manager=None, **kwargs):
        for chunk in super()._stream(prompt, None, None, **kwargs):
            text = before(chunk.text, stop)
            kept = GenerationChunk(text=text)
            if run_manager:
                run_manager.on_llm_new_token(text, chunk=kept)
            yield kept
            if text != chunk.text:
                return


class LooksIntoEachChunkInAsync(Core):
    async def _astream(self, prompt, stop=None, run_manager=None, **kwargs):
        async for chunk in super()._astream(prompt, None, None, **kwargs):
            text = before(chunk.text, stop)
            kept = GenerationChunk(text=text)
            if run_manager:
                await run_manager.on_llm_new_token(text, chunk=kept)
            yield kept
            if text != chunk.text:
                return


class Whole(Core):
    """Stops as `stopped` says; the mutants say it wrong."""

    def text(self, prompt, stop):
        return self.stopped(answer(prompt) * self.repeat, stop)

    def stopped(self, text, stop):
        return before(text, stop)


class TakesTheFirstOfTheList(Whole):
    def stopped(self, text, stop):
        for one in stop or ():
            if one in text:
                return text[: text.index(one)]
        return text


class TakesPatterns(Whole):
    def stopped(self, text, stop):
        return re.split("|".join(stop), text)[0] if stop else text


class TakesEachAsAPattern(Whole):
    def stopped(self, text, stop):
        found = [match.start() for one in stop or () if (match := re.search(one, text))]
        return text[: min(found, default=None)]


class WantsAllStops(Whole):
    def stopped(self, text, stop):
        if stop and any(one in text for one in stop):
            return text[: min(text.find(one) for one in stop)]
        return text


class TakesOnlyOneStop(Whole):
    def stopped(self, text, stop):
        return before(text, stop[:1] if stop else None)


class StopsAtNothing(Whole):
    def stopped(self, text, stop):
        if stop is not None:
            return re.split("|".join(map(re.escape, stop)), text)[0]
        return text


class AddsToTheList(Core):
    def _call(self, prompt, stop=None, run_manager=None, **kwargs):
        if stop:
            stop.append("\n\nHuman:")
        return self.text(prompt, stop)


class SortsTheList(Core):
    def _stream(self, prompt, stop=None, run_manager=None, **kwargs):
        if stop:
            stop.sort()
        return super()._stream(prompt, stop, run_manager, **kwargs)


def with_stop(text, stop):
    kept = before(text, stop)
    return next((kept + one for one in stop or () if text.startswith(kept + one)), kept)


class IncludesInStreamOnly(Core):
    def _stream(self, prompt, stop=None, run_manager=None, **kwargs):
        for piece in pieces(with_stop(self.text(prompt, None), stop)) or [""]:
            chunk = GenerationChunk(text=piece)
            if run_manager:
                run_manager.on_llm_new_token(piece, chunk=chunk)
            yield chunk


class StripsInCallOnly(Core):
    def _call(self, prompt, stop=None, run_manager=None, **kwargs):
        return self.text(prompt, stop).strip()


class Includes(Core):
    """The right one: the stop is part of the answer, everywhere."""

    def text(self, prompt, stop):
        return with_stop(answer(prompt) * self.repeat, stop)


class HoldsBackForEver(Core):
    def _stream(self, prompt, stop=None, run_manager=None, **kwargs):
        held = ""
        for piece in pieces(self.text(prompt, stop)) or [""]:
            held += piece
            keep = max(
                (n for one in stop or () for n in range(len(one)) if held.endswith(one[:n])),
                default=0,
            )
            piece, held = held[: len(held) - keep], held[len(held) - keep :]
            chunk = GenerationChunk(text=piece)
            if run_manager:
                run_manager.on_llm_new_token(piece, chunk=chunk)
            yield chunk


class CutsAtMinusOne(Whole):
    def stopped(self, text, stop):
        return text[: text.find(stop[0])] if stop and len(stop) == 1 else before(text, stop)


class Remembers(Core):
    _last: Any = PrivateAttr(None)

    def text(self, prompt, stop):
        text = before(answer(prompt) * self.repeat, stop or self._last)
        self._last = stop
        return text


def refused(stop):
    if stop is not None:
        raise ValueError("this model takes no stop sequences")


class RefusesInCallOnly(Core):
    def _call(self, prompt, stop=None, run_manager=None, **kwargs):
        refused(stop)
        return self.text(prompt, None)

    async def _acall(self, prompt, stop=None, run_manager=None, **kwargs):
        refused(stop)
        return await super()._acall(prompt, None, run_manager, **kwargs)


MUTANTS = [
    Mutant("STOP-01", CallIgnoresStops, Core, frozenset({"STOP-03"})),
    Mutant("STOP-01", InvokeForgetsStops, Core, frozenset({"IDENTITY-11"})),
    Mutant("STOP-02", AcallIgnoresStops, Core, frozenset({"STOP-04"})),
    Mutant("STOP-02", AinvokeForgetsStops, Core),
    Mutant("STOP-03", BatchForgetsStops, Core),
    Mutant("STOP-04", AbatchForgetsStops, Core),
    Mutant("STOP-05", StreamIgnoresStops, Core),
    Mutant("STOP-06", AstreamIgnoresStops, Core),
    Mutant("STOP-07", LooksIntoEachChunk, Core),
    Mutant("STOP-07", LooksIntoEachChunkInAsync, Core),
    Mutant("STOP-08", TakesTheFirstOfTheList, Core),
    Mutant("STOP-09", TakesPatterns, Core),
    Mutant("STOP-09", TakesEachAsAPattern, Core),
    Mutant("STOP-10", WantsAllStops, Core),
    Mutant("STOP-10", TakesOnlyOneStop, Core, frozenset({"STOP-08"})),
    Mutant("STOP-11", StopsAtNothing, Core),
    Mutant("STOP-12", AddsToTheList, Core, frozenset({"CALL-14"})),
    Mutant("STOP-12", SortsTheList, Core, frozenset({"CALL-14"})),
    Mutant("STOP-13", IncludesInStreamOnly, Includes),
    Mutant("STOP-13", StripsInCallOnly, Core),
    Mutant("STOP-14", HoldsBackForEver, Core),
    Mutant("STOP-14", CutsAtMinusOne, Core),
    Mutant("STOP-15", Remembers, Core),
    Mutant("STOP-16", RefusesInCallOnly, Core),
]
