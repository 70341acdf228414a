"""A turn: the answer of a chat model, chunk by chunk; written once for both shells."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any, NoReturn

from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, HumanMessage
from langchain_core.outputs import ChatGenerationChunk, GenerationChunk

from langchain_wrap.chat.call import Attempt, Call
from langchain_wrap.chat.message import chunk_of, last_chunk, unreadable_end, whole
from langchain_wrap.chat.native import MESSAGE
from langchain_wrap.chat.pieces import CallDelta, InvalidCall, Piece
from langchain_wrap.pipeline.cancel import Cancelled
from langchain_wrap.pipeline.facts import add_usage, is_delta
from langchain_wrap.pipeline.reader import GRACE
from langchain_wrap.pipeline.scrub import scrub


class _Calls:
    """The tool calls of one attempt, as far as they have come."""

    def __init__(self) -> None:
        self.names: dict[int, str] = {}
        self.args: dict[int, str] = {}
        self.errors: dict[int, str] = {}
        self._in_text: dict[int, int] = {}

    def number(self, call: Any) -> int:
        """Return which call a part belongs to, where the author does not say."""
        free = self._free
        return free if call["id"] or call["name"] or not free else free - 1

    def of_text(self, index: int) -> int:
        """Return which call one is that stands in the text, where others may come besides."""
        if index not in self._in_text:
            self._in_text[index] = self._free
        return self._in_text[index]

    @property
    def _free(self) -> int:
        return max(self.args, default=-1) + 1

    def take(self, index: int, name: str | None, args: str | None) -> None:
        self.names[index] = self.names.get(index, "") + (name or "")
        self.args[index] = self.args.get(index, "") + (args or "")

    def unreadable(self) -> Iterable[tuple[int, str]]:
        """The calls whose arguments are no JSON object, and why."""
        for index, args in self.args.items():
            if index in self.errors:
                continue
            try:
                if args and not isinstance(_read(args), dict):
                    yield index, f"the arguments of {self.names[index]!r} must be a JSON object"
            except ValueError as error:
                yield index, f"the arguments of {self.names[index]!r} are no JSON: {error}"


def _read(args: str) -> Any:
    """Return what a JSON text says; models write line breaks into strings as they are."""
    return json.loads(args, strict=False)


class Turn:
    """One answer, from the first chunk to the one that says how it ended.

    Args:
        call: What is asked.
        attempt: Sends messages to the model.
        repairs: How often a required call that has not been made, or cannot be read, is asked for
            again.
        name: Gives the model's name, for answers that do not say it.
        secrets: Gives the texts that must not show in an error.
    """

    def __init__(
        self,
        call: Call,
        attempt: Callable[[list[BaseMessage]], Attempt],
        *,
        repairs: int,
        name: Callable[[], str],
        secrets: Callable[[], Iterable[str]],
    ) -> None:
        self._call = call
        self._begin = attempt
        self._repairs = repairs
        self._name = name
        self._secrets = secrets
        self._ready: deque[ChatGenerationChunk] = deque()
        self._usage: dict[str, Any] = {}
        self._left = False
        self._over = False
        self._start(call.messages)

    def _start(self, messages: list[BaseMessage]) -> None:
        self._messages = messages
        self._attempt = self._begin(messages)
        self._calls = _Calls()
        self._texts: list[str] = []
        # What may have to be asked for again must not have gone out.
        self._held: list[ChatGenerationChunk] | None = None
        if self._call.tools.required and not self._attempt.certain and self._repairs > 0:
            self._held = []
        if self._left:
            self._attempt.cancel()
        if self._attempt.before:
            self._feed(self._attempt.parser.feed(self._attempt.before))

    @property
    def errors(self) -> dict[int, str]:
        """What is wrong with the calls that cannot be read, by their index."""
        return self._calls.errors

    def cancel(self) -> None:
        """Have the answer end as soon as it can, normally; from any thread."""
        self._left = True
        self._attempt.cancel()

    async def next(self) -> ChatGenerationChunk | None:
        """Return the next chunk; None at the end.

        Raises:
            Exception: What the call has failed with.
        """
        try:
            while not self._ready and not self._over:
                await self._step()
        except BaseException as caught:
            error = caught
        else:
            return self._ready.popleft() if self._ready else None
        # Outside of the handler, so that what is raised here does not get the original error,
        # which may show a secret, for its context.
        await self._fail(error)
        return self._ready.popleft()

    async def message(self) -> AIMessage:
        """Return the whole answer."""
        chunks: list[AIMessageChunk] = []
        while (chunk := await self.next()) is not None:
            message: Any = chunk.message
            if chunk.generation_info:
                metadata = {**message.response_metadata, **chunk.generation_info}
                message = message.model_copy(update={"response_metadata": metadata})
            chunks.append(message)
        return whole(chunks, self.errors)

    async def leave(self) -> None:
        """The reader has gone: end the model; what is left to read is how it ended."""
        if not self._over:
            self._left = True
            await self._attempt.generation.close(GRACE)
            self._ready.clear()
            self._end_cancelled()

    async def close(self) -> None:
        """End the model, if it has not ended."""
        if not self._over:
            self._over = True
            await self._attempt.generation.close(GRACE)

    async def _step(self) -> None:
        attempt = self._attempt
        chunk = await attempt.generation.next()
        if chunk is not None:
            self._take(chunk)
            return
        facts = attempt.generation.facts.deliver() or {}
        cut = facts.get("finish_reason") == "length"
        if not cut:
            self._feed(attempt.parser.feed(attempt.after))
        self._feed(attempt.parser.finish())
        self._conclude_calls(cut=cut)
        text = attempt.before + "".join(self._texts)
        usage = facts.get("token_usage")
        if not usage and attempt.count is not None:
            usage = attempt.count(text)
        add_usage(self._usage, usage or {})
        await attempt.generation.close(0)
        if await self._repair(text):
            return
        self._over = True
        self._release()
        self._last(facts)

    def _take(self, chunk: GenerationChunk) -> None:
        info = chunk.generation_info or {}
        deltas = {name: v for name, v in info.items() if name != MESSAGE and is_delta(v)}
        self._texts.append(chunk.text)
        pieces = self._attempt.parser.feed(chunk.text) if chunk.text else []
        for message in info.get(MESSAGE, ()):
            for call in message.tool_call_chunks:
                if call.get("index") is None:
                    call["index"] = self._calls.number(call)
                self._calls.take(call["index"], call["name"], call["args"])
            self._put(message)
        self._feed(pieces)
        if deltas:
            self._put(AIMessageChunk(content=""), deltas)

    def _feed(self, pieces: Iterable[Piece]) -> None:
        for piece in pieces:
            if isinstance(piece, CallDelta | InvalidCall):
                piece = replace(piece, index=self._calls.of_text(piece.index))
            if isinstance(piece, CallDelta):
                self._calls.take(piece.index, piece.name, piece.args)
            elif isinstance(piece, InvalidCall):
                self._calls.take(piece.index, piece.name, piece.text)
                self._calls.errors[piece.index] = piece.error
            self._put(chunk_of(piece))

    def _put(self, message: AIMessageChunk, info: dict[str, Any] | None = None) -> None:
        chunk = ChatGenerationChunk(message=message, generation_info=info)
        (self._ready if self._held is None else self._held).append(chunk)

    def _release(self) -> None:
        held, self._held = self._held, None
        self._ready.extend(held or ())

    def _conclude_calls(self, *, cut: bool) -> None:
        """Make sure that what is no whole call is not taken for one."""
        for index, error in list(self._calls.unreadable()):
            self._calls.errors[index] = (
                f"{error}; the answer was cut off at the most tokens that it may have"
                if cut
                else error
            )
            end = unreadable_end(self._calls.args[index])
            if end:
                self._put(chunk_of(CallDelta(index, args=end)))

    async def _repair(self, text: str) -> bool:
        """Ask again, if a required call is missing or wrong; whether that was done."""
        if self._held is None or self._left:
            return False
        problem = self._problem()
        if problem is None:
            return False
        self._repairs -= 1
        said = [AIMessage(text)] if text.strip() else []
        self._start([*self._messages, *said, HumanMessage(problem)])
        return True

    def _problem(self) -> str | None:
        """Return what is wrong with the calls, in words for the model."""
        calls, tools = self._calls, self._call.tools
        wrong = list(calls.errors.values())
        for index, args in calls.args.items():
            if index not in calls.errors:
                said = tools.check_call(calls.names[index], _read(args or "{}"))
                if said is not None:
                    wrong.append(said)
        if wrong:
            return "Your tool call cannot be carried out: " + "; ".join(wrong) + ". Call it again."
        if not calls.args:
            which = tools.chosen or f"one of {', '.join(tools.names)}"
            return f"You have called no tool. Call {which} now, and say nothing else."
        return None

    def _last(self, facts: dict[str, Any]) -> None:
        if "model_name" not in facts:
            facts = {"model_name": self._name(), **facts}
        if self._usage:
            facts = {**facts, "token_usage": self._usage}
        called = bool(self._calls.args)
        self._ready.append(ChatGenerationChunk(message=last_chunk(facts, called=called)))

    def _end_cancelled(self) -> None:
        self._over = True
        self._conclude_calls(cut=False)
        self._release()
        facts = self._attempt.generation.facts
        facts.conclude(finish_reason="cancelled")
        self._last(facts.deliver() or {})

    async def _fail(self, error: BaseException) -> None:
        """End the turn after an error, and raise it; a cancelled one ends normally."""
        await self._attempt.generation.close(0)
        if isinstance(error, Cancelled) and self._left:
            self._end_cancelled()
            return
        self._over = True
        self._raise(error)

    def _raise(self, error: BaseException) -> NoReturn:
        if isinstance(error, asyncio.CancelledError):
            raise error
        raise scrub(error, self._secrets())
