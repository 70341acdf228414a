"""The six ways to call a chat model, each as a trace, and as the Python that does it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import reduce
from operator import add
from typing import Any

from langchain_core.messages import BaseMessage

from langchain_wrap.checks.probes import deadline
from langchain_wrap.checks.probes.paths import ASYNC, BATCHES, STREAMS, RunAsync, carry_out, heard
from langchain_wrap.checks.probes.trace import AsyncRecorder, Recorder, Trace


@dataclass
class ChatTrace(Trace):
    """What one call of a chat model gave and told; `texts` are the texts of its messages."""

    messages: list[Any] = field(default_factory=list)
    """What the call returned, one for each input; the merged chunks of a stream, if they merge."""
    unmerged: BaseException | None = None
    """Why the chunks of a stream could not be merged."""

    @property
    def message(self) -> Any:
        """What the call returned to its first input; None after an error."""
        return self.messages[0] if self.messages else None

    def returned(self, messages: Sequence[Any]) -> None:
        """Note what the call returned."""
        self.messages = list(messages)
        self.texts = [text_of(message) for message in messages]

    def streamed(self) -> None:
        """Note what the chunks make up."""
        chunks = [chunk for chunk in self.chunks if isinstance(chunk, BaseMessage)]
        self.texts = ["".join(map(text_of, chunks))]
        try:
            # As a reader does it who keeps the sum of what has come so far.
            self.messages = [reduce(add, chunks)] if chunks else []
        except Exception as error:
            self.unmerged = error


def text_of(message: Any) -> Any:
    """Return the text of a message; what is none is returned as it is, for a check to see."""
    return str(message.text) if isinstance(message, BaseMessage) else message


class ChatRecorder(Recorder):
    """Notes in a trace what a blocking callback handler is told of a chat model."""

    def on_chat_model_start(self, serialized: Any, messages: Any, **kwargs: Any) -> None:
        """Note the start of a run."""
        run_id = kwargs.pop("run_id", None)
        details = {"serialized": serialized, **kwargs}
        self.trace.mark("start", "", run_id=run_id, payload=messages, details=details)


class AsyncChatRecorder(AsyncRecorder):
    """Notes in a trace what an async callback handler is told of a chat model."""

    async def on_chat_model_start(self, serialized: Any, messages: Any, **kwargs: Any) -> None:
        """Note the start of a run."""
        ChatRecorder(self.recorder.trace).on_chat_model_start(serialized, messages, **kwargs)


def call(
    llm: Any,
    path: str,
    inputs: Sequence[Any],
    *,
    seconds: float,
    config: dict[str, Any] | None = None,
    run_async: RunAsync = deadline.run_async,
    **kwargs: Any,
) -> ChatTrace:
    """Call a chat model, or what it was bound to; an error of the model is in the trace.

    Args:
        llm: The model.
        path: One of the six.
        inputs: One input, or those of a batch: texts or lists of messages.
        seconds: How long the call may take.
        config: More of the RunnableConfig than our own callback handler.
        run_async: What to run async paths with.
        **kwargs: Handed to the call: `stop` and its parameters.

    Raises:
        NoAnswer: It takes longer.
    """
    trace = ChatTrace(path, [one if isinstance(one, str) else repr(one) for one in inputs])
    given = heard(config, AsyncChatRecorder(trace) if path in ASYNC else ChatRecorder(trace))
    many, one = list(inputs), inputs[0]

    def work() -> None:
        trace.begin()
        if path in STREAMS:
            for chunk in llm.stream(one, given, **kwargs):
                trace.mark("chunk", text_of(chunk), payload=chunk)
            trace.streamed()
        elif path in BATCHES:
            trace.returned(llm.batch(many, given, **kwargs))
        else:
            trace.returned([llm.invoke(one, given, **kwargs)])

    async def awork() -> None:
        trace.begin()
        if path in STREAMS:
            async for chunk in llm.astream(one, given, **kwargs):
                trace.mark("chunk", text_of(chunk), payload=chunk)
            trace.streamed()
        elif path in BATCHES:
            trace.returned(await llm.abatch(many, given, **kwargs))
        else:
            trace.returned([await llm.ainvoke(one, given, **kwargs)])

    carry_out(trace, work, awork, seconds, run_async)
    return trace


def raw(path: str, inputs: Sequence[Any], *, of: str = "llm", **kwargs: Any) -> str:
    """Return the expression that does a call and gives its message, messages or list of chunks.

    Args:
        path: One of the six.
        inputs: What the call is given.
        of: What is called, in Python.
        **kwargs: Parameters of the call.
    """
    given = [*inputs] if path in BATCHES else inputs[0]
    arguments = ", ".join([repr(given), *(f"{name}={value!r}" for name, value in kwargs.items())])
    called = f"{of}.{path}({arguments})"
    if path == "stream":
        return f"list({called})"
    if path == "astream":
        return f"asyncio.run(read({called}))"
    return f"asyncio.run({called})" if path in ASYNC else called


def code(path: str, inputs: Sequence[Any], **kwargs: Any) -> str:
    """Return the expression that does the call and gives its text, or texts in a batch.

    A `script` that contains it defines `read` and imports what it needs.
    """
    called = raw(path, inputs, **kwargs)
    if path in STREAMS:
        return f'"".join(chunk.text for chunk in {called})'
    return f"[one.text for one in {called}]" if path in BATCHES else f"{called}.text"
