"""Right chat models, for the mutants to spoil: one on langchain-core's class, two on ours.

All give the same text. It depends on the whole conversation, and has letters, blanks and
punctuation, so that every check has something to hold on to.
"""

from __future__ import annotations

import asyncio
import json
import re
import uuid
from collections.abc import AsyncIterator, Iterator
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.messages.tool import tool_call_chunk
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.utils.function_calling import convert_to_openai_tool
from pydantic import SecretStr

import langchain_wrap
from langchain_wrap import wrap
from langchain_wrap.chat.message import unreadable_end


def answer(messages: list[BaseMessage]) -> str:
    """What the right models say to a conversation."""
    return f"So: {str(messages[-1].text).upper()}. Well, (that) is | all."


def pieces(text: str, size: int = 3) -> list[str]:
    """A text in chunks."""
    return [text[i : i + size] for i in range(0, len(text), size)]


def before(text: str, stop: list[str] | None) -> str:
    """A text up to its first stop."""
    found = [text.find(one) for one in stop or () if one in text]
    return text[: min(found)] if found else text


def wanted_call(messages: list[BaseMessage], tools: Any, choice: Any) -> dict[str, Any] | None:
    """The call that a conversation asks for, of the tools that are offered."""
    names = [tool["function"]["name"] for tool in tools or ()]
    if not names or choice == "none" or messages[-1].type == "tool":
        return None
    said = str(messages[-1].text)
    name = choice if choice in names else next((one for one in names if one in said), None)
    if name is None and choice in ("any", "required"):
        name = names[0]
    if name is None:
        return None
    numbers = [int(one) for one in re.findall(r"\d+", said)]
    arguments = {
        "add": {"a": (numbers or [1])[0], "b": (numbers or [1])[-1]},
        "get_weather": {"city": "Paris"},
    }
    return {"name": name, "args": arguments.get(name, {"name": "Ada"})}


def words(text: str) -> int:
    return len(text.split())


def counted(messages: list[BaseMessage], said: str) -> dict[str, int]:
    given = sum(words(str(one.text)) + 3 for one in messages)
    return {
        "input_tokens": given,
        "output_tokens": words(said),
        "total_tokens": given + words(said),
    }


class Core(BaseChatModel):
    """A chat model on langchain-core's own class that owes nothing, as its documents ask for it."""

    model_name: str = "so"
    """The name of the model."""

    repeat: int = 1
    """How many times the answer is said."""

    api_key: SecretStr | None = None
    """For a service."""

    @property
    def _llm_type(self) -> str:
        return "so"

    @property
    def _identifying_params(self) -> dict[str, Any]:
        return {"model_name": self.model_name, "repeat": self.repeat}

    def text(self, messages: list[BaseMessage], stop: list[str] | None) -> str:
        return before(answer(messages) * self.repeat, stop)

    def call(self, messages: list[BaseMessage], tools: Any, choice: Any) -> dict[str, Any] | None:
        return wanted_call(messages, tools, choice)

    def said(
        self, messages: list[BaseMessage], stop: list[str] | None, kwargs: dict[str, Any]
    ) -> tuple[str, Any, str]:
        """The text, the call with its arguments as text, and the finish reason."""
        call = self.call(messages, kwargs.get("tools"), kwargs.get("tool_choice"))
        if call is None:
            return self.text(messages, stop), None, "stop"
        args = json.dumps(call["args"])
        most = kwargs.get("max_tokens")
        if most is not None and most < len(args):
            return "", {**call, "args": args[:most]}, "length"
        return "", {**call, "args": args}, "tool_calls"

    def facts(self, reason: str) -> dict[str, Any]:
        return {"finish_reason": reason, "model_name": self.model_name}

    def usage(self, messages: list[BaseMessage], said: str) -> Any:
        return counted(messages, said)

    def id_of_call(self) -> str:
        return f"call_{uuid.uuid4().hex[:12]}"

    def message(
        self, messages: list[BaseMessage], stop: list[str] | None, kwargs: dict[str, Any]
    ) -> AIMessage:
        text, call, reason = self.said(messages, stop, kwargs)
        known: dict[str, Any] = {}
        if call is not None and reason == "length":
            known = {"invalid_tool_calls": [{**call, "id": self.id_of_call(), "error": "cut off"}]}
        elif call is not None:
            args = json.loads(call["args"])
            known = {"tool_calls": [{**call, "args": args, "id": self.id_of_call()}]}
        return AIMessage(
            content=text,
            response_metadata=self.facts(reason),
            usage_metadata=self.usage(messages, text),
            **known,
        )

    def call_chunks(self, call: dict[str, Any], reason: str) -> list[Any]:
        id_, args = self.id_of_call(), pieces(call["args"])
        made = [tool_call_chunk(name=call["name"], args="", id=id_, index=0)]
        made += [tool_call_chunk(args=part, index=0) for part in args]
        if reason == "length":
            end = unreadable_end(call["args"])  # so that nobody completes it
            made.append(tool_call_chunk(args=end, index=0))
        return made

    def chunks(
        self, messages: list[BaseMessage], stop: list[str] | None, kwargs: dict[str, Any]
    ) -> Iterator[AIMessageChunk]:
        text, call, reason = self.said(messages, stop, kwargs)
        for piece in pieces(text):
            yield AIMessageChunk(content=piece)
        if call is not None:
            for chunk in self.call_chunks(call, reason):
                yield AIMessageChunk(content="", tool_call_chunks=[chunk])
        yield self.last(messages, text, reason)

    def last(self, messages: list[BaseMessage], text: str, reason: str) -> AIMessageChunk:
        return AIMessageChunk(
            content="",
            response_metadata=self.facts(reason),
            usage_metadata=self.usage(messages, text),
            chunk_position="last",
        )

    def _generate(self, messages, stop=None, run_manager=None, **kwargs) -> ChatResult:
        message = self.message(messages, stop, kwargs)
        return ChatResult(generations=[ChatGeneration(message=message)])

    async def _agenerate(self, messages, stop=None, run_manager=None, **kwargs) -> ChatResult:
        await asyncio.sleep(0)
        return self._generate(messages, stop, None, **kwargs)

    def _stream(
        self, messages, stop=None, run_manager=None, **kwargs
    ) -> Iterator[ChatGenerationChunk]:
        for chunk in self.chunks(messages, stop, kwargs):
            yield ChatGenerationChunk(message=chunk)

    async def _astream(
        self, messages, stop=None, run_manager=None, **kwargs
    ) -> AsyncIterator[ChatGenerationChunk]:
        for chunk in self.chunks(messages, stop, kwargs):
            await asyncio.sleep(0)
            yield ChatGenerationChunk(message=chunk)

    def bind_tools(self, tools, *, tool_choice=None, **kwargs):
        specs = [convert_to_openai_tool(tool) for tool in tools]
        chosen = {} if tool_choice is None else {"tool_choice": tool_choice}
        return self.bind(tools=specs, **chosen, **kwargs)


class Ours(langchain_wrap.ChatModel):
    """The same model on our class: it owes nothing at all."""

    model_name: str = "so"
    """The name of the model."""

    repeat: int = 1
    """How many times the answer is said."""

    api_key: SecretStr | None = None
    """For a service."""

    def text(self, messages: list[BaseMessage]) -> str:
        return answer(messages) * self.repeat

    def _chat(self, messages, tools=None, tool_choice=None, max_tokens=None, **params):
        call = wanted_call(messages, tools, tool_choice)
        if call is None:
            text = self.text(messages)
            for piece in pieces(text):
                yield piece
            yield AIMessageChunk(content="", usage_metadata=counted(messages, text))
            return
        args = json.dumps(call["args"])
        cut = max_tokens is not None and max_tokens < len(args)
        id_ = f"call_{uuid.uuid4().hex[:12]}"
        first = tool_call_chunk(name=call["name"], args="", id=id_, index=0)
        yield AIMessageChunk(content="", tool_call_chunks=[first])
        for piece in pieces(args[:max_tokens] if cut else args):
            chunk = tool_call_chunk(args=piece, index=0)
            yield AIMessageChunk(content="", tool_call_chunks=[chunk])
        yield AIMessageChunk(
            content="",
            usage_metadata=counted(messages, ""),
            response_metadata={"finish_reason": "length"} if cut else {},
        )


def complete(prompt: str) -> Iterator[str]:
    """A completion model that has learnt to call tools as `as_chat` offers them."""
    said = re.findall(r"^User: (.*)$", prompt, re.M)[-1]
    offered = re.findall(r'^{"name": "(\w+)", "description"', prompt, re.M)
    name = next((one for one in offered if one in said), None)
    named = re.search(r'You must call the function "(\w+)" now', prompt)
    if named:
        name = named[1]
    elif name is None and "You must call a function now" in prompt:
        name = offered[0]
    if name is None or "Result" in said:
        yield from pieces(f"So: {said.upper()}. Well, (that) is | all.")
        return
    numbers = [int(one) for one in re.findall(r"\d+", said)] or [1]
    arguments = {"add": {"a": numbers[0], "b": numbers[-1]}, "get_weather": {"city": "Paris"}}
    call = {"name": name, "arguments": arguments.get(name, {"name": "Ada"})}
    yield from pieces(json.dumps(call))


def as_chat() -> BaseChatModel:
    """A function as a chat model."""
    return wrap(complete).as_chat()
