"""The pipeline: one author's class on langchain-core's `LLM` and on ours."""

import asyncio
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

from langchain_core.language_models import llms
from langchain_core.outputs import GenerationChunk

from benchmarks.measure import Row, in_turn
from langchain_wrap import LLM
from langchain_wrap.pipeline.stop import StopFilter

TOKENS = 2000


def author_classes(base: type[llms.LLM]) -> dict[str, Any]:
    """What an author writes, on the given base class; one object for each kind of model."""

    class Call(base):  # type: ignore[misc,valid-type]
        def _call(self, prompt: str, stop: Any = None, run_manager: Any = None, **_: Any) -> str:
            return prompt

        @property
        def _llm_type(self) -> str:
            return "benchmark"

    class Sleeping(Call):
        def _call(self, prompt: str, stop: Any = None, run_manager: Any = None, **_: Any) -> str:
            time.sleep(0.05)
            return prompt

    class ACall(Call):
        async def _acall(
            self, prompt: str, stop: Any = None, run_manager: Any = None, **_: Any
        ) -> str:
            return prompt

    class Stream(Call):
        def _stream(
            self, prompt: str, stop: Any = None, run_manager: Any = None, **_: Any
        ) -> Iterator[GenerationChunk]:
            for _i in range(TOKENS):
                chunk = GenerationChunk(text="tok ")
                if run_manager:
                    run_manager.on_llm_new_token(chunk.text, chunk=chunk)
                yield chunk

    class AStream(Call):
        async def _astream(
            self, prompt: str, stop: Any = None, run_manager: Any = None, **_: Any
        ) -> AsyncIterator[GenerationChunk]:
            for _i in range(TOKENS):
                chunk = GenerationChunk(text="tok ")
                if run_manager:
                    await run_manager.on_llm_new_token(chunk.text, chunk=chunk)
                yield chunk

    class SilentAStream(Call):
        async def _astream(
            self, prompt: str, stop: Any = None, run_manager: Any = None, **_: Any
        ) -> AsyncIterator[GenerationChunk]:
            for _i in range(TOKENS):
                yield GenerationChunk(text="tok ")

    class SlowStream(Call):
        def _stream(
            self, prompt: str, stop: Any = None, run_manager: Any = None, **_: Any
        ) -> Iterator[GenerationChunk]:
            for _i in range(100):
                time.sleep(0.002)
                yield GenerationChunk(text="tok ")

    kinds = (Call, Sleeping, ACall, Stream, AStream, SilentAStream, SlowStream)
    return {kind.__name__: kind() for kind in kinds}


async def drain(llm: Any) -> None:
    async for _ in llm.astream("x"):
        pass


async def events(llm: Any) -> None:
    async for _ in llm.astream_events("x", version="v2"):
        pass


async def repeat(llm: Any, count: int) -> None:
    for _ in range(count):
        await llm.ainvoke("x")


async def together(llm: Any, count: int) -> None:
    await asyncio.gather(*(drain(llm) for _ in range(count)))


def batches(core: dict[str, Any], ours: dict[str, Any]) -> Iterator[Row]:
    prompts = [f"prompt {index}" for index in range(64)]
    llm, theirs = ours["Sleeping"], core["Sleeping"]
    one, many, sequential = in_turn(
        7, lambda: llm.invoke("x"), lambda: llm.batch(prompts), lambda: theirs.batch(prompts[:8])
    )
    yield Row(
        f"batch of 64 prompts, 50 ms blocking function (core: {sequential * 8 / one:.0f} ×)",
        many * 1e3, one * 1e3, "ms", "one call", "≤ 1.15", many / one <= 1.15,
    )  # fmt: skip

    loop = asyncio.new_event_loop()
    one, many, sequential = in_turn(
        7,
        lambda: loop.run_until_complete(llm.ainvoke("x")),
        lambda: loop.run_until_complete(llm.abatch(prompts)),
        lambda: loop.run_until_complete(theirs.abatch(prompts[:8])),
    )
    loop.run_until_complete(loop.shutdown_default_executor())
    loop.close()
    yield Row(
        f"abatch of 64 prompts, 50 ms blocking function (core: {sequential * 8 / one:.0f} ×)",
        many * 1e3, one * 1e3, "ms", "one call", "≤ 1.15", many / one <= 1.15,
    )  # fmt: skip


def streams(core: dict[str, Any], ours: dict[str, Any]) -> Iterator[Row]:
    micro = 1e6 / TOKENS
    for name, work, native, goal in (
        ("astream", drain, "SilentAStream", 1.3),
        ("astream_events v2", events, "AStream", 1.1),
    ):
        mine, reference, hopping = in_turn(
            5,
            lambda work=work: asyncio.run(work(ours["Stream"])),
            lambda work=work, native=native: asyncio.run(work(core[native])),
            lambda work=work: asyncio.run(work(core["Stream"])),
        )
        yield Row(
            f"{name}, per token, of a blocking `_stream` (core: {hopping / reference:.1f} ×)",
            mine * micro, reference * micro, "µs", "native `_astream` on core",
            f"≤ {goal}", mine / reference <= goal,
        )  # fmt: skip
    mine, theirs = in_turn(
        3,
        lambda: asyncio.run(together(ours["SlowStream"], 64)),
        lambda: asyncio.run(together(core["SlowStream"], 64)),
    )
    yield Row(
        f"64 concurrent astreams × 100 tokens × 2 ms (core: {theirs / 0.2:.0f} ×)",
        mine * 1e3, 200.0, "ms", "the ideal", "≤ 1.5", mine / 0.2 <= 1.5,
    )  # fmt: skip


def overheads(core: dict[str, Any], ours: dict[str, Any]) -> Iterator[Row]:
    def calls(llm: Any) -> None:
        for _ in range(300):
            llm.invoke("x")

    pairs = (
        ("invoke of a function that returns at once", 300, calls, "Call"),
        ("ainvoke of a coroutine that returns at once", 300,
         lambda llm: asyncio.run(repeat(llm, 300)), "ACall"),
        ("ainvoke of a blocking function that returns at once", 300,
         lambda llm: asyncio.run(repeat(llm, 300)), "Call"),
        ("stream, per token", TOKENS, lambda llm: list(llm.stream("x")), "Stream"),
    )  # fmt: skip
    for name, count, work, kind in pairs:
        mine, theirs = in_turn(
            9,
            lambda work=work, kind=kind: work(ours[kind]),
            lambda work=work, kind=kind: work(core[kind]),
        )
        scale = 1e6 / count
        yield Row(
            name, mine * scale, theirs * scale, "µs", "core", "≤ 1", mine / theirs <= 1,
        )  # fmt: skip


def import_time() -> Iterator[Row]:
    with tempfile.TemporaryDirectory() as folder:
        yield from import_time_compiled_in(folder)


def import_time_compiled_in(folder: str) -> Iterator[Row]:
    def run(code: str) -> None:
        subprocess.run([sys.executable, "-c", code], check=True, env=environment)

    # As for an installed package, the modules are compiled once: in the warm-up.
    environment = {**os.environ, "PYTHONPYCACHEPREFIX": folder}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    base = "from langchain_core.language_models.llms import LLM"
    mine, theirs = in_turn(
        7,
        lambda: run(f"{base}; from langchain_wrap import LLM, wrap"),
        lambda: run(base),
    )
    extra = (mine - theirs) * 1e3
    yield Row(
        f"import of langchain_wrap over langchain_core: {extra:+.0f} ms",
        mine * 1e3, theirs * 1e3, "ms", "langchain-core's `LLM` alone", "≤ + 50 ms", extra <= 50,
    )  # fmt: skip


def stop_filter() -> Iterator[Row]:
    text = "The quick brown fox jumps over the lazy dog; User asks, Observation follows.\n" * 3000
    tokens = [text[index : index + 4] for index in range(0, len(text), 4)]
    stops = ["\nObservation:", "<|im_end|>", "###", "\nUser:"]

    def run() -> None:
        filter_ = StopFilter(stops)
        for token in tokens:
            filter_.feed(token)

    (taken,) = in_turn(5, run)
    rate = len(text) / taken / 1e6
    yield Row(
        "stop filter, 4-character tokens, 4 stops", rate, 5.0, "M characters/s", "the goal",
        "≥ 5", rate >= 5, higher_is_better=True,
    )  # fmt: skip


def rows() -> Iterator[Row]:
    core, ours = author_classes(llms.LLM), author_classes(LLM)
    yield from batches(core, ours)
    yield from streams(core, ours)
    yield from overheads(core, ours)
    yield from import_time()
    yield from stop_filter()
