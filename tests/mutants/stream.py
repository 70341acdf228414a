"""Mutants of STREAM."""

from __future__ import annotations

import asyncio
import contextvars
import itertools
import queue
import threading
import time

from langchain_core.callbacks import CallbackManager
from langchain_core.language_models import llms
from langchain_core.messages import AIMessageChunk
from langchain_core.outputs import ChatGenerationChunk, GenerationChunk, LLMResult

import langchain_wrap
from mutants.mutant import Mutant
from mutants.right import Core, pieces


class YieldsStrings(Core):
    def _stream(self, prompt, stop=None, run_manager=None, **kwargs):
        yield from pieces(self.text(prompt, stop))


class StreamsBytes(Core):
    def stream(self, input, config=None, **kwargs):
        for chunk in super().stream(input, config, **kwargs):
            yield chunk.encode()


class Pieces(Core):
    """Streams what its two methods say; the mutants say it wrong."""

    def said(self, prompt, stop):
        for piece in pieces(self.text(prompt, stop)) or [""]:
            yield GenerationChunk(text=piece)

    def asaid(self, prompt, stop):
        return Pieces.said(self, prompt, stop)

    def _stream(self, prompt, stop=None, run_manager=None, **kwargs):
        for chunk in self.said(prompt, stop):
            if run_manager:
                run_manager.on_llm_new_token(chunk.text, chunk=chunk)
            yield chunk

    async def _astream(self, prompt, stop=None, run_manager=None, **kwargs):
        for chunk in self.asaid(prompt, stop):
            await asyncio.sleep(0)
            if run_manager:
                await run_manager.on_llm_new_token(chunk.text, chunk=chunk)
            yield chunk


def words(text):
    for word in text.split() or [""]:
        yield GenerationChunk(text=word)


class LosesBlanks(Pieces):
    def said(self, prompt, stop):
        return words(self.text(prompt, stop))


class LosesBlanksInAsync(Pieces):
    def asaid(self, prompt, stop):
        return words(self.text(prompt, stop))


class ReportsTheLastChunk(Core):
    def stream(self, input, config=None, *, stop=None, **kwargs):
        prompt = self._convert_input(input).to_string()
        config = config or {}
        manager = CallbackManager.configure(
            config.get("callbacks"), self.callbacks, self.verbose, config.get("tags"), self.tags
        )
        (run,) = manager.on_llm_start(
            self._serialized, [prompt], name=config.get("run_name"), run_id=config.get("run_id")
        )
        try:
            for chunk in self._stream(prompt, stop=stop, run_manager=run, **kwargs):
                yield chunk.text
        except BaseException as error:
            run.on_llm_error(error)
            raise
        run.on_llm_end(LLMResult(generations=[[chunk]]))


class Grows(Pieces):
    def said(self, prompt, stop):
        for text in itertools.accumulate(pieces(self.text(prompt, stop)) or [""]):
            yield GenerationChunk(text=text)


class GivesOneChunk(Pieces):
    def said(self, prompt, stop):
        yield GenerationChunk(text=self.text(prompt, stop))


class DealsOut(Pieces):
    def said(self, prompt, stop):
        time.sleep(0.12)
        yield from super().said(prompt, stop)


class CutsUpItsAnswer(Core):
    """As langchain-core's FakeStreamingListLLM does."""

    def stream(self, input, config=None, *, stop=None, **kwargs):
        yield from pieces(self.invoke(input, config, stop=stop, **kwargs))


class DealsOutInAsync(Core):
    async def _astream(self, prompt, stop=None, run_manager=None, **kwargs):
        await asyncio.sleep(0.12)
        async for chunk in super()._astream(prompt, stop, run_manager, **kwargs):
            yield chunk


class YieldsChatChunks(Pieces):
    def said(self, prompt, stop):
        for chunk in super().said(prompt, stop):
            yield ChatGenerationChunk(message=AIMessageChunk(content=chunk.text))


class YieldsNothing(Pieces):
    def said(self, prompt, stop):
        for piece in pieces(self.text(prompt, stop)):
            yield GenerationChunk(text=piece)


class YieldsNothingInAsync(Pieces):
    def asaid(self, prompt, stop):
        return YieldsNothing.said(self, prompt, stop)


class DecodesEachRead(Pieces):
    def said(self, prompt, stop):
        data = self.text(prompt, stop).encode("utf-8", "surrogatepass")
        for at in range(0, len(data) or 1, 4):
            yield GenerationChunk(text=data[at : at + 4].decode(errors="replace"))


class SplitsSurrogates(Pieces):
    def asaid(self, prompt, stop):
        data = self.text(prompt, stop).encode("utf-16-le", "surrogatepass")
        for at in range(0, len(data) or 1, 2):
            yield GenerationChunk(text=data[at : at + 2].decode("utf-16-le", "surrogatepass"))


class SaysOnce(Pieces):
    """The right one: facts stand on the last chunk."""

    def said(self, prompt, stop):
        chunks = list(super().said(prompt, stop))
        chunks[-1].generation_info = {
            "finish_reason": "stop",
            "model_name": "so",
            "token_usage": {"completion_tokens": len(chunks)},
        }
        yield from chunks


class SaysOnEachChunk(Pieces):
    def said(self, prompt, stop):
        for chunk in super().said(prompt, stop):
            chunk.generation_info = {"finish_reason": "stop", "model_name": "so"}
            yield chunk


class ListsOnEachChunk(Pieces):
    """As langchain_ollama's OllamaLLM does with its field `stop`."""

    def said(self, prompt, stop):
        for chunk in super().said(prompt, stop):
            chunk.generation_info = {"finish_reason": ["###"]}
            yield chunk


class CountsOnEachChunk(Pieces):
    def said(self, prompt, stop):
        for number, chunk in enumerate(super().said(prompt, stop), 1):
            chunk.generation_info = {"token_usage": {"completion_tokens": number}}
            yield chunk


class Paced(Core):
    """The right one: takes its time for each chunk."""

    def read(self, prompt, stop):
        for piece in pieces(self.text(prompt, stop)) or [""]:
            time.sleep(0.01)
            yield GenerationChunk(text=piece)

    async def aread(self, prompt, stop):
        for piece in pieces(self.text(prompt, stop)) or [""]:
            await asyncio.sleep(0.01)
            yield GenerationChunk(text=piece)

    def _stream(self, prompt, stop=None, run_manager=None, **kwargs):
        for chunk in self.read(prompt, stop):
            if run_manager:
                run_manager.on_llm_new_token(chunk.text, chunk=chunk)
            yield chunk

    async def _astream(self, prompt, stop=None, run_manager=None, **kwargs):
        async for chunk in self.aread(prompt, stop):
            if run_manager:
                await run_manager.on_llm_new_token(chunk.text, chunk=chunk)
            yield chunk


class ReadsTheRest(Paced):
    def _stream(self, prompt, stop=None, run_manager=None, **kwargs):
        response = self.read(prompt, stop)
        try:
            for chunk in response:
                if run_manager:
                    run_manager.on_llm_new_token(chunk.text, chunk=chunk)
                yield chunk
        finally:
            for _ in response:  # so that the connection can be used again
                pass


class ReadsTheRestInAsync(Paced):
    async def _astream(self, prompt, stop=None, run_manager=None, **kwargs):
        response = self.aread(prompt, stop)
        try:
            async for chunk in response:
                if run_manager:
                    await run_manager.on_llm_new_token(chunk.text, chunk=chunk)
                yield chunk
        finally:
            async for _ in response:
                pass


class ReadsInAThread(Paced):
    def stream(self, input, config=None, **kwargs):
        chunks = queue.Queue()
        end = object()

        def read():
            try:
                for chunk in super(ReadsInAThread, self).stream(input, config, **kwargs):
                    chunks.put(chunk)
                chunks.put(end)
            except BaseException as error:
                chunks.put(error)

        context = contextvars.copy_context()
        threading.Thread(target=context.run, args=(read,), daemon=True).start()
        while (chunk := chunks.get()) is not end:
            if isinstance(chunk, BaseException):
                raise chunk
            yield chunk


class OnOurs(langchain_wrap.LLM):
    """The right one: a class written for langchain-core, with another import."""

    repeat: int = 1
    """How many times the answer is said."""

    text = Core.text
    _stream = Core._stream
    _astream = Core._astream


class TracesAnError(OnOurs):
    stream = llms.BaseLLM.stream


class EndsQuietly(Core):
    def stream(self, input, config=None, **kwargs):
        given = False
        try:
            for chunk in super().stream(input, config, **kwargs):
                given = True
                yield chunk
        except Exception:
            if not given:
                raise


class RenamesErrors(Core):
    async def astream(self, input, config=None, **kwargs):
        given = False
        try:
            async for chunk in super().astream(input, config, **kwargs):
                given = True
                yield chunk
        except Exception as error:
            if not given:
                raise
            raise RuntimeError(f"stream broken: {error}") from None


MUTANTS = [
    Mutant("STREAM-01", YieldsStrings, Core),
    Mutant("STREAM-01", StreamsBytes, Core, frozenset({"TOKEN-01", "TOKEN-07"})),
    Mutant("STREAM-02", LosesBlanks, Core),
    Mutant("STREAM-03", LosesBlanksInAsync, Core),
    Mutant("STREAM-04", ReportsTheLastChunk, Core, frozenset({"TOKEN-07"})),
    Mutant("STREAM-05", Grows, Core, frozenset({"STREAM-02"})),
    Mutant("STREAM-06", GivesOneChunk, Core),
    Mutant("STREAM-06", DealsOut, Core),
    Mutant("STREAM-06", DealsOutInAsync, Core),
    Mutant("STREAM-06", CutsUpItsAnswer, Core, frozenset({"TOKEN-01"})),
    Mutant("STREAM-07", YieldsChatChunks, Core, frozenset({"TOKEN-04"})),
    Mutant("STREAM-08", YieldsNothing, Core),
    Mutant("STREAM-08", YieldsNothingInAsync, Core),
    Mutant("STREAM-09", DecodesEachRead, Core),
    Mutant("STREAM-09", SplitsSurrogates, Core),
    Mutant("STREAM-10", SaysOnEachChunk, SaysOnce),
    Mutant("STREAM-10", ListsOnEachChunk, SaysOnce),
    Mutant("STREAM-10", CountsOnEachChunk, SaysOnce),
    Mutant("STREAM-11", ReadsTheRest, Paced),
    Mutant("STREAM-11", ReadsInAThread, Paced),
    Mutant("STREAM-12", ReadsTheRestInAsync, Paced),
    Mutant("STREAM-13", TracesAnError, OnOurs, frozenset({"SECRET-05"})),
    Mutant("STREAM-14", EndsQuietly, Core),
    Mutant("STREAM-14", RenamesErrors, Core),
]
