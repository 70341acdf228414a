"""Custom LLMs, listeners and paths for the tests: small, and each does what its name says."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from typing import Any

from langchain_core.callbacks import AsyncCallbackHandler, BaseCallbackHandler

from langchain_wrap import LLM

LONG = 20.0
"""Seconds after which something that ought to happen is held to have failed."""


def pieces(prompt: str) -> list[str]:
    """What the echoing models say to a prompt: itself, two characters at a time."""
    return [prompt[i : i + 2] for i in range(0, len(prompt), 2)]


class ByCall(LLM):
    """Echoes, by a blocking function."""

    def _call(self, prompt, stop=None, run_manager=None, **kwargs):
        return prompt


class ByACall(LLM):
    """Echoes, by a coroutine."""

    async def _acall(self, prompt, stop=None, run_manager=None, **kwargs):
        await asyncio.sleep(0)
        return prompt


class ByStream(LLM):
    """Echoes, by a blocking generator."""

    def _stream(self, prompt, stop=None, run_manager=None, **kwargs):
        yield from pieces(prompt)


class ByAStream(LLM):
    """Echoes, by an async generator."""

    async def _astream(self, prompt, stop=None, run_manager=None, **kwargs):
        for piece in pieces(prompt):
            await asyncio.sleep(0)
            yield piece


class ByBatch(LLM):
    """Echoes, by a function from list to list."""

    def _batch(self, prompts, stop=None, **kwargs):
        return list(prompts)


class ByABatch(LLM):
    """Echoes, by a coroutine from list to list."""

    async def _abatch(self, prompts, stop=None, **kwargs):
        await asyncio.sleep(0)
        return list(prompts)


KINDS: dict[str, type[LLM]] = {
    "_call": ByCall,
    "_acall": ByACall,
    "_stream": ByStream,
    "_astream": ByAStream,
    "_batch": ByBatch,
    "_abatch": ByABatch,
}
STREAMING = ("_astream", "_stream")


# --- paths ------------------------------------------------------------------------------------


def _invoke(runnable: Any, input_: Any, config: Any, **kwargs: Any) -> str:
    return runnable.invoke(input_, config, **kwargs)


def _batch(runnable: Any, input_: Any, config: Any, **kwargs: Any) -> str:
    first, second = runnable.batch([input_, input_], config, **kwargs)
    assert first == second
    return first


def _stream(runnable: Any, input_: Any, config: Any, **kwargs: Any) -> str:
    return "".join(runnable.stream(input_, config, **kwargs))


def _ainvoke(runnable: Any, input_: Any, config: Any, **kwargs: Any) -> str:
    return asyncio.run(runnable.ainvoke(input_, config, **kwargs))


def _abatch(runnable: Any, input_: Any, config: Any, **kwargs: Any) -> str:
    first, second = asyncio.run(runnable.abatch([input_, input_], config, **kwargs))
    assert first == second
    return first


def _astream(runnable: Any, input_: Any, config: Any, **kwargs: Any) -> str:
    async def read() -> str:
        return "".join([text async for text in runnable.astream(input_, config, **kwargs)])

    return asyncio.run(read())


def _astream_events(runnable: Any, input_: Any, config: Any, **kwargs: Any) -> str:
    async def read() -> str:
        events = runnable.astream_events(input_, config, version="v2", **kwargs)
        return "".join([token(e) async for e in events if is_token(e)])

    return asyncio.run(read())


PATHS: dict[str, Callable[..., str]] = {
    "invoke": _invoke,
    "batch": _batch,
    "stream": _stream,
    "ainvoke": _ainvoke,
    "abatch": _abatch,
    "astream": _astream,
    "astream_events": _astream_events,
}
"""Each way to call a runnable; gives the whole text."""


def is_token(event: Any) -> bool:
    return event["event"] == "on_llm_stream"


def token(event: Any) -> str:
    """The text of a token's event; langchain-core gives a str where the model is the root."""
    chunk = event["data"]["chunk"]
    return chunk if isinstance(chunk, str) else chunk.text


# --- listeners --------------------------------------------------------------------------------


class Recorder(BaseCallbackHandler):
    """Notes what a blocking handler is told, in order: (event, run id, what)."""

    raise_error = True

    def __init__(self) -> None:
        self.events: list[tuple[str, Any, Any]] = []
        self.payloads: list[Any] = []
        self.chunks: list[Any] = []

    def on_llm_start(self, serialized, prompts, *, run_id, **kwargs):
        self.events.append(("start", run_id, prompts[0]))
        self.payloads.append((serialized, prompts, kwargs))

    def on_llm_new_token(self, token, *, chunk=None, run_id, **kwargs):
        self.events.append(("token", run_id, token))
        self.chunks.append(chunk)
        self.payloads.append((token, chunk, kwargs))

    def on_llm_end(self, response, *, run_id, **kwargs):
        self.events.append(("end", run_id, response))
        self.payloads.append((response, kwargs))

    def on_llm_error(self, error, *, run_id, **kwargs):
        self.events.append(("error", run_id, error))
        self.payloads.append((error, str(error), repr(error), kwargs))

    def on_retry(self, retry_state, *, run_id, **kwargs):
        self.events.append(("retry", run_id, retry_state.attempt_number))

    @property
    def names(self) -> list[str]:
        return [name for name, _, _ in self.events]

    def of(self, name: str) -> list[Any]:
        return [what for event, _, what in self.events if event == name]

    @property
    def tokens(self) -> list[str]:
        return self.of("token")

    @property
    def run_ids(self) -> set[Any]:
        return {run_id for _, run_id, _ in self.events}

    @property
    def end(self) -> Any:
        """The generation of the only end."""
        (response,) = self.of("end")
        return response.generations[0][0]


class AsyncRecorder(AsyncCallbackHandler):
    """Notes what an async handler is told; each note takes a few turns of the loop."""

    raise_error = True

    def __init__(self) -> None:
        self.events: list[tuple[str, Any, Any]] = []

    async def _note(self, name: str, run_id: Any, what: Any) -> None:
        for _ in range(3):
            await asyncio.sleep(0)
        self.events.append((name, run_id, what))

    async def on_llm_start(self, serialized, prompts, *, run_id, **kwargs):
        await self._note("start", run_id, prompts[0])

    async def on_llm_new_token(self, token, *, run_id, **kwargs):
        await self._note("token", run_id, token)

    async def on_llm_end(self, response, *, run_id, **kwargs):
        await self._note("end", run_id, response)

    async def on_llm_error(self, error, *, run_id, **kwargs):
        await self._note("error", run_id, error)

    names = Recorder.names
    of = Recorder.of
    tokens = Recorder.tokens
    run_ids = Recorder.run_ids
    end = Recorder.end


# --- watching ---------------------------------------------------------------------------------


class Peak:
    """Counts who is inside, and how many were at most."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.now = 0
        self.most = 0
        self.entered = 0

    def __enter__(self) -> None:
        with self._lock:
            self.now += 1
            self.entered += 1
            self.most = max(self.most, self.now)

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self.now -= 1


def eventually(true: Callable[[], object], seconds: float = LONG) -> bool:
    """Wait until `true()`; False if that takes longer than it ever should."""
    deadline = time.monotonic() + seconds
    while not true():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.005)
    return True


async def aeventually(true: Callable[[], object], seconds: float = LONG) -> bool:
    deadline = time.monotonic() + seconds
    while not true():
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(0.005)
    return True


@contextmanager
def threads(*functions: Callable[[], object]) -> Iterator[None]:
    """Run functions in threads of their own beside the body; an error in one is raised."""
    errors: list[BaseException] = []

    def run(function: Callable[[], object]) -> None:
        try:
            function()
        except BaseException as error:
            errors.append(error)

    started = [threading.Thread(target=run, args=(f,), daemon=True) for f in functions]
    for thread in started:
        thread.start()
    yield
    for thread in started:
        thread.join(LONG)
        assert not thread.is_alive(), "a thread hangs"
    if errors:
        raise errors[0]


async def read(stream: AsyncIterator[str]) -> list[str]:
    return [text async for text in stream]
