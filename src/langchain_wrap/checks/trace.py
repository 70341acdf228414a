"""A trace: what one call gave its reader and told its callbacks, in order, with times."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from typing import Any, Literal

from langchain_core.callbacks import AsyncCallbackHandler, BaseCallbackHandler

MarkKind = Literal["start", "token", "chunk", "end", "error"]
"""`start`, `token`, `end` and `error` are callbacks; `chunk` is a chunk in its reader's hands."""


@dataclass(frozen=True)
class Mark:
    """One thing that happened in a call."""

    seconds: float
    """Since the call began."""
    kind: MarkKind
    text: str = ""
    run_id: Any = None
    payload: Any = None
    """What the callback was given: the prompt, chunk, LLMResult or error."""
    details: Any = None
    """All else that the callback was given."""


@dataclass
class Trace:
    """What one call gave and told."""

    path: str
    prompts: list[str]
    texts: list[Any] = field(default_factory=list)
    """What the call returned, one for each prompt; the joined chunks of a stream."""
    error: BaseException | None = None
    """What the call raised."""
    seconds: float = 0.0
    marks: list[Mark] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._lock = threading.Lock()
        self._began = time.perf_counter()

    @property
    def text(self) -> Any:
        """What the call returned to its first prompt; None after an error."""
        return self.texts[0] if self.texts else None

    def of(self, kind: MarkKind) -> list[Mark]:
        """Return the marks of one kind."""
        return [mark for mark in self.marks if mark.kind == kind]

    @property
    def kinds(self) -> list[str]:
        """What happened, in order."""
        return [mark.kind for mark in self.marks]

    @property
    def chunks(self) -> list[Any]:
        """The chunks that the reader of a stream was given."""
        return [mark.payload for mark in self.of("chunk")]

    @property
    def runs(self) -> dict[Any, list[Mark]]:
        """The callbacks of each run, by run id."""
        found: dict[Any, list[Mark]] = {}
        for mark in self.marks:
            if mark.kind != "chunk":
                found.setdefault(mark.run_id, []).append(mark)
        return found

    def begin(self) -> None:
        """Start the clock."""
        self._began = time.perf_counter()

    def end(self) -> None:
        """Stop the clock."""
        self.seconds = time.perf_counter() - self._began

    def mark(self, kind: MarkKind, text: Any = "", **more: Any) -> None:
        """Note what happens now."""
        now = time.perf_counter() - self._began
        with self._lock:
            self.marks.append(
                Mark(now, kind, text if isinstance(text, str) else repr(text), **more)
            )


class Recorder(BaseCallbackHandler):
    """Notes in a trace what a blocking callback handler is told."""

    raise_error = True

    def __init__(self, trace: Trace) -> None:
        self.trace = trace

    def on_llm_start(self, serialized: Any, prompts: list[str], **kwargs: Any) -> None:
        """Note the start of a run."""
        run_id = kwargs.pop("run_id", None)
        details = {"serialized": serialized, **kwargs}
        self.trace.mark("start", prompts[0], run_id=run_id, payload=prompts, details=details)

    def on_llm_new_token(self, token: Any, *, chunk: Any = None, **kwargs: Any) -> None:
        """Note a token."""
        run_id = kwargs.pop("run_id", None)
        self.trace.mark("token", token, run_id=run_id, payload=chunk, details=kwargs)

    def on_llm_end(self, response: Any, **kwargs: Any) -> None:
        """Note the end of a run."""
        run_id = kwargs.pop("run_id", None)
        text = response.generations[0][0].text if any(response.generations) else ""
        self.trace.mark("end", text, run_id=run_id, payload=response, details=kwargs)

    def on_llm_error(self, error: BaseException, **kwargs: Any) -> None:
        """Note the error of a run."""
        run_id = kwargs.pop("run_id", None)
        self.trace.mark("error", repr(error), run_id=run_id, payload=error, details=kwargs)


class AsyncRecorder(AsyncCallbackHandler):
    """Notes in a trace what an async callback handler is told; each note takes a few turns.

    So a token that is not awaited comes too late, and shows.
    """

    raise_error = True

    def __init__(self, trace: Trace) -> None:
        self.recorder = Recorder(trace)

    async def on_llm_start(self, serialized: Any, prompts: list[str], **kwargs: Any) -> None:
        """Note the start of a run."""
        await _turns()
        self.recorder.on_llm_start(serialized, prompts, **kwargs)

    async def on_llm_new_token(self, token: Any, *, chunk: Any = None, **kwargs: Any) -> None:
        """Note a token."""
        await _turns()
        self.recorder.on_llm_new_token(token, chunk=chunk, **kwargs)

    async def on_llm_end(self, response: Any, **kwargs: Any) -> None:
        """Note the end of a run."""
        await _turns()
        self.recorder.on_llm_end(response, **kwargs)

    async def on_llm_error(self, error: BaseException, **kwargs: Any) -> None:
        """Note the error of a run."""
        await _turns()
        self.recorder.on_llm_error(error, **kwargs)


async def _turns() -> None:
    import asyncio

    for _ in range(2):
        await asyncio.sleep(0)
