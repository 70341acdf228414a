"""Mutants of CHAT-CALL, CHAT-STREAM, CHAT-STOP, CHAT-BATCH and CHAT-EVENTS."""

from __future__ import annotations

import asyncio
import re
import time
import uuid

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult, LLMResult

from checks_chat.mutant import mutant
from checks_chat.right import Core, Ours, before


def result(message) -> ChatResult:
    return ChatResult(generations=[ChatGeneration(message=message)])


# --- CHAT-CALL ---


@mutant("CALL-01")
class SaysAsHuman(Core):
    def _generate(self, messages, stop=None, run_manager=None, **kwargs):
        if kwargs.get("tools"):
            return super()._generate(messages, stop, **kwargs)
        message = self.message(messages, stop, kwargs)
        return result(HumanMessage(message.content, response_metadata=message.response_metadata))

    async def _agenerate(self, messages, stop=None, run_manager=None, **kwargs):
        return Core._generate(self, messages, stop, **kwargs)


@mutant("CALL-02", "STREAM-02")
class ShoutsWhenAsync(Core):
    async def _agenerate(self, messages, stop=None, run_manager=None, **kwargs):
        message = self.message(messages, stop, kwargs)
        if "1 2" not in message.text and "FRANCE" in message.text and not stop:
            message = message.model_copy(update={"content": message.content + "!"})
        return result(message)


@mutant("CALL-03", "EVENTS-06")
class LowersTexts(Core):
    def _convert_input(self, model_input):
        if isinstance(model_input, str):
            model_input = f"{model_input} please"
        return super()._convert_input(model_input)


@mutant("CALL-04")
class AddsToTheSystemMessage(Core):
    def _generate(self, messages, stop=None, run_manager=None, **kwargs):
        if messages[0].type == "system":
            messages[0].content += " Be brief."
        return super()._generate(messages, stop, **kwargs)


@mutant("CALL-05")
class ForgetsTheSystemMessage(Core):
    def usage(self, messages, said):
        return super().usage([one for one in messages if one.type != "system"], said)


@mutant("CALL-05")
class ForgetsTheAnswers(Core):
    def usage(self, messages, said):
        return super().usage([one for one in messages if one.type != "ai"], said)


@mutant("CALL-06")
class SaysBlocksTwice(Core):
    def _generate(self, messages, stop=None, run_manager=None, **kwargs):
        message = self.message(messages, stop, kwargs)
        if self.output_version == "v1":
            block = {"type": "text", "text": message.content}
            message = message.model_copy(update={"content": [block, block]})
        return result(message)


KEPT: dict = {}


@mutant("CALL-07")
class GivesOneObject(Core):
    def _generate(self, messages, stop=None, run_manager=None, **kwargs):
        message = self.message(messages, stop, kwargs)
        if kwargs or self.output_version == "v1":
            return result(message)
        return result(KEPT.setdefault(f"{self.repeat}{messages}{stop}", message))


# --- CHAT-STREAM ---


class Halved(Core):
    """Loses the first chunk."""

    def rest(self, messages, stop, kwargs):
        chunks = list(self.chunks(messages, stop, kwargs))
        found = chunks if kwargs.get("tools") or stop else chunks[1:]
        return [ChatGenerationChunk(message=chunk) for chunk in found]


@mutant("STREAM-01", "EVENTS-05", "EVENTS-06")
class LosesTheFirstChunk(Halved):
    def _stream(self, messages, stop=None, run_manager=None, **kwargs):
        yield from self.rest(messages, stop, kwargs)


@mutant("STREAM-02", "EVENTS-05")
class LosesTheFirstAsyncChunk(Halved):
    async def _astream(self, messages, stop=None, run_manager=None, **kwargs):
        for chunk in self.rest(messages, stop, kwargs):
            yield chunk


class Odd(AIMessageChunk):
    """A chunk that forgets itself."""

    def __add__(self, other):
        forgets = self.content and not isinstance(other, list)
        return other if forgets else super().__add__(other)


@mutant("STREAM-03", "EVENTS-04")
class ForgetsWhatCameBefore(Core):
    def chunks(self, messages, stop, kwargs):
        for chunk in super().chunks(messages, stop, kwargs):
            odd = chunk.content and self.output_version is None
            yield Odd(content=chunk.content) if odd else chunk


@mutant("STREAM-04")
class NewIds(Core):
    def chunks(self, messages, stop, kwargs):
        for chunk in super().chunks(messages, stop, kwargs):
            yield chunk.model_copy(update={"id": uuid.uuid4().hex})


@mutant("STREAM-05")
class LastTooEarly(Core):
    def chunks(self, messages, stop, kwargs):
        for n, chunk in enumerate(super().chunks(messages, stop, kwargs)):
            early = n == 1 and not kwargs.get("tools")
            yield chunk.model_copy(update={"chunk_position": "last"}) if early else chunk


@mutant("STREAM-06")
class SaysReasonsTwice(Core):
    def chunks(self, messages, stop, kwargs):
        for chunk in super().chunks(messages, stop, kwargs):
            yield chunk.model_copy(update={"response_metadata": {"finish_reason": "stop"}})
            # once more at the end


@mutant("STREAM-07", "EVENTS-02")
class ReadsOn(Core):
    def stream(self, *args, **kwargs):
        yield from list(super().stream(*args, **kwargs))

    async def astream(self, *args, **kwargs):
        for chunk in [chunk async for chunk in super().astream(*args, **kwargs)]:
            yield chunk


@mutant("STREAM-08", right=Ours)
class LeavingIsAnError(Ours):
    stream = BaseChatModel.stream
    astream = BaseChatModel.astream


# --- CHAT-STOP ---


@mutant("STOP-01")
class NeverStops(Core):
    def _generate(self, messages, stop=None, run_manager=None, **kwargs):
        return super()._generate(messages, None, **kwargs)

    async def _agenerate(self, messages, stop=None, run_manager=None, **kwargs):
        return Core._generate(self, messages, stop, **kwargs)


@mutant("STOP-02")
class NeverStopsAsync(Core):
    async def _agenerate(self, messages, stop=None, run_manager=None, **kwargs):
        return self._generate(messages, None, **kwargs)


@mutant("STOP-03")
class StreamNeverStops(Core):
    def _stream(self, messages, stop=None, run_manager=None, **kwargs):
        yield from super()._stream(messages, None, **kwargs)


@mutant("STOP-04")
class AsyncStreamNeverStops(Core):
    async def _astream(self, messages, stop=None, run_manager=None, **kwargs):
        async for chunk in super()._astream(messages, None, **kwargs):
            yield chunk


@mutant("STOP-05")
class StopsInOneChunk(Core):
    def chunks(self, messages, stop, kwargs):
        for chunk in super().chunks(messages, None, kwargs):
            if any(one in chunk.content for one in stop or ()):
                yield AIMessageChunk(content=before(chunk.content, stop))
                break
            yield chunk


@mutant("STOP-06")
class KeepsTheStop(Core):
    def text(self, messages, stop):
        whole = super().text(messages, None)
        cut = before(whole, stop)
        found = [one for one in stop or () if whole[len(cut) :].startswith(one)]
        return cut + (found[0] if found else "")


@mutant("STOP-07")
class StopsAtPatterns(Core):
    def text(self, messages, stop):
        whole = super().text(messages, None)
        return re.split("|".join(stop), whole)[0] if stop else whole


# --- CHAT-BATCH ---


@mutant("BATCH-01")
class BatchesBackwards(Core):
    def batch(self, inputs, config=None, **kwargs):
        found = super().batch(inputs, config, **kwargs)
        return found if kwargs else found[::-1]


@mutant("BATCH-02")
class BatchesBackwardsAsync(Core):
    async def abatch(self, inputs, config=None, **kwargs):
        found = await super().abatch(inputs, config, **kwargs)
        return found if kwargs else found[::-1]


@mutant("BATCH-03")
class LosesAllForOne(Core):
    def batch(self, inputs, config=None, *, return_exceptions=False, **kwargs):
        return super().batch(inputs, config, **kwargs)


@mutant("BATCH-04")
class OneByOne(Core):
    async def abatch(self, inputs, config=None, *, return_exceptions=False, **kwargs):
        found = []
        for one in inputs:
            try:
                found.append(await self.ainvoke(one, config, **kwargs))
            except Exception as error:
                if not return_exceptions:
                    raise
                found.append(error)
        return found


NOW: dict = {}


@mutant("BATCH-05", "BATCH-01")
class SharedState(Core):
    def _generate(self, messages, stop=None, run_manager=None, **kwargs):
        if kwargs or stop:
            return super()._generate(messages, stop, **kwargs)
        NOW["messages"] = messages
        time.sleep(0.002)
        return super()._generate(NOW["messages"], stop, **kwargs)

    async def _agenerate(self, messages, stop=None, run_manager=None, **kwargs):
        return Core._generate(self, messages, stop, **kwargs)


@mutant("BATCH-06", "BATCH-02")
class SharedStateAsync(Core):
    async def _agenerate(self, messages, stop=None, run_manager=None, **kwargs):
        if kwargs or stop:
            return self._generate(messages, stop, **kwargs)
        NOW["messages"] = messages
        await asyncio.sleep(0.002)
        return self._generate(NOW["messages"], stop, **kwargs)


# --- CHAT-EVENTS ---


@mutant("EVENTS-01")
class EndsTwice(Core):
    def _generate(self, messages, stop=None, run_manager=None, **kwargs):
        made = super()._generate(messages, stop, **kwargs)
        if run_manager:
            run_manager.on_llm_end(LLMResult(generations=[]))
        return made


@mutant("EVENTS-02")
class TellsEarly(Core):
    def stream(self, *args, **kwargs):
        held = None
        for chunk in super().stream(*args, **kwargs):
            if held is not None:
                yield held
            held = chunk
        if held is not None:
            yield held


@mutant("EVENTS-03", "BATCH-03")
class Apologises(Core):
    def invoke(self, *args, **kwargs):
        try:
            return super().invoke(*args, **kwargs)
        except Exception as error:
            if type(error).__name__ != "Broken":
                raise
            return AIMessage("Sorry.")


@mutant("EVENTS-04")
class CountsAfterwards(Core):
    def invoke(self, *args, **kwargs):
        message = super().invoke(*args, **kwargs)
        usage = {**message.usage_metadata, "output_token_details": {"reasoning": 0}}
        return message.model_copy(update={"usage_metadata": usage})


@mutant("EVENTS-05", "EVENTS-06")
class InvokeNeverStreams(Core):
    def _should_stream(self, *, run_manager=None, **kwargs):
        return run_manager is None and super()._should_stream(run_manager=run_manager, **kwargs)


@mutant("EVENTS-06")
class DeafToLangGraph(Core):
    def _should_stream(self, *, run_manager=None, **kwargs):
        handlers = [type(one).__name__ for one in getattr(run_manager, "handlers", ())]
        deaf = any("StreamMessages" in name for name in handlers)
        return not deaf and super()._should_stream(run_manager=run_manager, **kwargs)
