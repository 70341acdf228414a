"""Mutants of ASYNC."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from concurrent.futures import ThreadPoolExecutor

from langchain_core.language_models import llms
from langchain_core.outputs import GenerationChunk
from langchain_core.runnables.config import get_config_list

from mutants.mutant import Mutant
from mutants.right import Core, Ours, pieces


class Blocking(Core):
    """A right model whose async methods are those of the base class."""

    _acall = llms.LLM._acall
    _astream = llms.LLM._astream


class CallsTheBlockingOne(Blocking):
    async def _acall(self, prompt, stop=None, run_manager=None, **kwargs):
        return self._call(prompt, stop=stop, **kwargs)


class WaitsForAThread(Blocking):
    """Uses a thread, and blocks the loop until it is done."""

    async def _acall(self, prompt, stop=None, run_manager=None, **kwargs):
        with ThreadPoolExecutor(1) as pool:
            context = contextvars.copy_context()
            return pool.submit(context.run, self._call, prompt, stop, **kwargs).result()


class StreamsTheBlockingOne(Blocking):
    async def _astream(self, prompt, stop=None, run_manager=None, **kwargs):
        for chunk in self._stream(prompt, stop=stop, **kwargs):
            if run_manager:
                await run_manager.on_llm_new_token(chunk.text, chunk=chunk)
            yield chunk


_limits: dict[int, asyncio.Semaphore] = {}
_loops: dict[int, asyncio.AbstractEventLoop] = {}


class OneSemaphoreForAllLoops(Core):
    """Keeps what belongs to the event loop in which it was first used."""

    async def _acall(self, prompt, stop=None, run_manager=None, **kwargs):
        async with _limits.setdefault(id(self), asyncio.Semaphore(2)):
            await asyncio.sleep(0)
            return self.text(prompt, stop)


class KeepsTheLatestLoop(Core):
    """Looks the loop up later on, when it may be another one."""

    async def _acall(self, prompt, stop=None, run_manager=None, **kwargs):
        _loops[id(self)] = asyncio.get_running_loop()
        await asyncio.sleep(0.005)
        loop = _loops[id(self)]
        future = loop.create_future()
        loop.call_soon_threadsafe(lambda: future.done() or future.set_result(None))
        await future
        return self.text(prompt, stop)


class FinishesFirst(Blocking):
    """Waits for the thread to its end before it lets itself be cancelled."""

    async def _acall(self, prompt, stop=None, run_manager=None, **kwargs):
        work = asyncio.ensure_future(asyncio.to_thread(self._call, prompt, stop, **kwargs))
        try:
            return await asyncio.shield(work)
        finally:
            if not work.done():
                await asyncio.wait([work])


class FinishesFirstInStream(Blocking):
    async def _astream(self, prompt, stop=None, run_manager=None, **kwargs):
        chunks = self._stream(prompt, stop=stop, **kwargs)
        while True:
            work = asyncio.ensure_future(asyncio.to_thread(next, chunks, None))
            try:
                chunk = await asyncio.shield(work)
            finally:
                if not work.done():
                    await asyncio.wait([work])
            if chunk is None:
                return
            if run_manager:
                await run_manager.on_llm_new_token(chunk.text, chunk=chunk)
            yield chunk


class GivesWhatItHas(Core):
    """Takes being cancelled for the end of its answer."""

    async def _acall(self, prompt, stop=None, run_manager=None, **kwargs):
        said = ""
        try:
            for piece in pieces(self.text(prompt, stop), 8):
                await asyncio.sleep(0)
                said += piece
        except asyncio.CancelledError:
            pass
        return said


class EndsTheStream(Core):
    async def _astream(self, prompt, stop=None, run_manager=None, **kwargs):
        for piece in pieces(self.text(prompt, stop)) or [""]:
            try:
                await asyncio.sleep(0)
            except asyncio.CancelledError:
                return
            chunk = GenerationChunk(text=piece)
            if run_manager:
                await run_manager.on_llm_new_token(piece, chunk=chunk)
            yield chunk


class TurnsItIntoAnError(Core):
    async def _acall(self, prompt, stop=None, run_manager=None, **kwargs):
        try:
            for _ in range(6):
                await asyncio.sleep(0)
        except BaseException as error:
            raise RuntimeError("the request has failed") from error
        return self.text(prompt, stop)


class PumpsToTheEnd(Ours):
    """Reads its stream in a thread, whether somebody listens or not."""

    async def _astream(self, prompt: str):
        loop, arrived = asyncio.get_running_loop(), asyncio.Queue()

        def pump() -> None:
            try:
                for piece in self._stream(prompt):
                    loop.call_soon_threadsafe(arrived.put_nowait, piece)
                loop.call_soon_threadsafe(arrived.put_nowait, None)
            except Exception as error:
                if not loop.is_closed():
                    loop.call_soon_threadsafe(arrived.put_nowait, error)

        run = contextvars.copy_context().run
        threading.Thread(target=run, args=(pump,), daemon=True).start()
        while (piece := await arrived.get()) is not None:
            if isinstance(piece, Exception):
                raise piece
            yield piece


class LosesTheContext(Blocking):
    async def _acall(self, prompt, stop=None, run_manager=None, **kwargs):
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(None, lambda: self._call(prompt, stop, **kwargs))


class LosesTheContextInStream(Blocking):
    async def _astream(self, prompt, stop=None, run_manager=None, **kwargs):
        loop = asyncio.get_running_loop()
        chunks = self._stream(prompt, stop=stop, **kwargs)
        while (chunk := await loop.run_in_executor(None, next, chunks, None)) is not None:
            if run_manager:
                await run_manager.on_llm_new_token(chunk.text, chunk=chunk)
            yield chunk


class LosesTheContextInBatch(Core):
    def batch(self, inputs, config=None, *, return_exceptions=False, **kwargs):
        if not inputs:
            return []
        configs = get_config_list(config, len(inputs))
        most = configs[0].get("max_concurrency") or 8
        with ThreadPoolExecutor(max_workers=most) as pool:
            return list(pool.map(lambda i, c: self.invoke(i, c, **kwargs), inputs, configs))


class StreamsFromAThread(Core):
    """Makes its answer in a thread, without the context of the caller."""

    def _stream(self, prompt, stop=None, run_manager=None, **kwargs):
        with ThreadPoolExecutor(1) as pool:
            text = pool.submit(self._call, prompt, stop, **kwargs).result()
        for piece in pieces(text) or [""]:
            chunk = GenerationChunk(text=piece)
            if run_manager:
                run_manager.on_llm_new_token(piece, chunk=chunk)
            yield chunk


MUTANTS = [
    Mutant("ASYNC-01", CallsTheBlockingOne, Blocking),
    Mutant("ASYNC-01", WaitsForAThread, Blocking),
    Mutant("ASYNC-02", StreamsTheBlockingOne, Blocking),
    Mutant("ASYNC-03", OneSemaphoreForAllLoops, Core, also=frozenset({"ASYNC-04"})),
    Mutant("ASYNC-04", KeepsTheLatestLoop, Core),
    Mutant("ASYNC-07", FinishesFirst, Blocking),
    Mutant("ASYNC-08", FinishesFirstInStream, Blocking),
    Mutant("ASYNC-09", GivesWhatItHas, Core),
    Mutant("ASYNC-09", EndsTheStream, Core),
    Mutant("ASYNC-09", TurnsItIntoAnError, Core),
    Mutant("ASYNC-10", PumpsToTheEnd, Ours, also=frozenset({"STREAM-12"})),
    Mutant("ASYNC-05", LosesTheContext, Blocking),
    Mutant("ASYNC-05", LosesTheContextInStream, Blocking),
    Mutant("ASYNC-06", LosesTheContextInBatch, Core),
    Mutant("ASYNC-06", StreamsFromAThread, Core),
]
