"""Mutants of CHAT-TOOL, CHAT-STRUCT, CHAT-USAGE, CHAT-IDENTITY and CHAT-SECRET."""

from __future__ import annotations

import itertools
import json
import uuid
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages.tool import tool_call_chunk
from langchain_core.output_parsers import PydanticToolsParser

from checks_chat.mutant import mutant
from checks_chat.right import Core, Ours, pieces

NUMBERS = itertools.count()


# --- CHAT-TOOL ---


@mutant("TOOL-01")
class KeepsItsTools(Core):
    bound: Any = None

    def bind_tools(self, tools, **kwargs):
        made = super().bind_tools(tools, **kwargs)
        self.bound = made.kwargs["tools"]
        return made


TOOLS: dict = {}


@mutant("TOOL-01")
class RemembersToolsElsewhere(Core):
    def bind_tools(self, tools, **kwargs):
        made = super().bind_tools(tools, **kwargs)
        TOOLS["known"] = made.kwargs["tools"]
        return made

    def call(self, messages, tools, choice):
        return super().call(messages, tools or TOOLS.get("known"), choice)


@mutant("TOOL-02")
class OneIdForAll(Core):
    def id_of_call(self):
        return "call_1"


class Pieces(Core):
    """Gives other pieces."""

    def piece(self, n, name, id_, args):
        return tool_call_chunk(name=None if n else name, id=None if n else id_, args=args, index=0)

    def call_chunks(self, call, reason):
        if reason == "length":
            return super().call_chunks(call, reason)
        id_, parts = self.id_of_call(), pieces(call["args"], 4)
        return [self.piece(n, call["name"], id_, part) for n, part in enumerate(parts)]


@mutant("TOOL-03")
class NoIndex(Pieces):
    def piece(self, n, name, id_, args):
        return {**super().piece(n, name, id_, args), "index": None}


@mutant("TOOL-04")
class RepeatsTheName(Pieces):
    def piece(self, n, name, id_, args):
        return {**super().piece(n, name, id_, args), "name": name}


@mutant("TOOL-04")
class ChangesTheId(Pieces):
    def piece(self, n, name, id_, args):
        return {**super().piece(n, name, id_, args), "id": uuid.uuid4().hex}


@mutant("TOOL-05")
class GivesPython(Core):
    def call_chunks(self, call, reason):
        if reason != "length":
            call = {**call, "args": repr(json.loads(call["args"]))}
        return super().call_chunks(call, reason)


@mutant("TOOL-06")
class StreamNeverCalls(Core):
    def call_chunks(self, call, reason):
        return []


@mutant("TOOL-06")
class StreamCallsOtherwise(Core):
    def call_chunks(self, call, reason):
        if reason != "length":
            call = {**call, "args": '{"a": 3, "b": 5}'}
        return super().call_chunks(call, reason)


@mutant("TOOL-07")
class KnowsNoResults(Core):
    def text(self, messages, stop):
        if any(one.type == "tool" for one in messages):
            raise ValueError("there is no role tool")
        return super().text(messages, stop)


@mutant("TOOL-08")
class AnyIsNothing(Core):
    def call(self, messages, tools, choice):
        return super().call(messages, tools, None if choice == "any" else choice)


@mutant("TOOL-09")
class NoneIsNothing(Core):
    def call(self, messages, tools, choice):
        return super().call(messages, tools, None if choice == "none" else choice)


@mutant("TOOL-10")
class NamesAreNothing(Core):
    def call(self, messages, tools, choice):
        named = choice not in (None, "any", "none")
        return super().call(messages, tools, None if named else choice)


@mutant("TOOL-11")
class TakesWhatWasCutOff(Core):
    def call_chunks(self, call, reason):
        return super().call_chunks(call, "stop")


# --- CHAT-STRUCT ---


@mutant("STRUCT-01")
class NeverRaw(Core):
    def with_structured_output(self, schema, *, include_raw=False, **kwargs):
        parser = PydanticToolsParser(tools=[schema], first_tool_only=True)
        return self.bind_tools([schema], tool_choice="any") | parser


# --- CHAT-USAGE ---


@mutant("USAGE-01")
class CountsWrongly(Core):
    def usage(self, messages, said):
        usage = super().usage(messages, said)
        return {**usage, "total_tokens": usage["input_tokens"]}


@mutant("USAGE-02")
class CountsInEachChunk(Core):
    def chunks(self, messages, stop, kwargs):
        said = ""
        for chunk in super().chunks(messages, stop, kwargs):
            said += chunk.content
            yield chunk.model_copy(update={"usage_metadata": self.usage(messages, said)})


@mutant("USAGE-02")
class StreamsUncounted(Core):
    def chunks(self, messages, stop, kwargs):
        for chunk in super().chunks(messages, stop, kwargs):
            yield chunk.model_copy(update={"usage_metadata": None})


@mutant("USAGE-03")
class BatchCountsTwice(Core):
    def batch(self, inputs, config=None, **kwargs):
        found = super().batch(inputs, config, **kwargs)
        for n, one in enumerate(found):
            usage = getattr(one, "usage_metadata", None)
            if usage:
                twice = {name: 2 * count for name, count in usage.items()}
                found[n] = one.model_copy(update={"usage_metadata": twice})
        return found


# --- CHAT-IDENTITY ---


@mutant("IDENTITY-01", "IDENTITY-07")
class CountsItsType(Core):
    @property
    def _llm_type(self):
        return f"so-{next(NUMBERS)}"


@mutant("IDENTITY-02")
class HasASet(Core):
    @property
    def _identifying_params(self):
        return {**super()._identifying_params, "languages": {"en"}}


@mutant("IDENTITY-03", "IDENTITY-07")
class CountsItsCalls(Core):
    @property
    def _identifying_params(self):
        return {**super()._identifying_params, "calls": self.__dict__.get("made", 0)}

    def text(self, messages, stop):
        self.__dict__["made"] = self.__dict__.get("made", 0) + 1
        return super().text(messages, stop)


@mutant("IDENTITY-04")
class CopiesAreItself(Core):
    def model_copy(self, *, update=None, deep=False):
        return super().model_copy(update=update, deep=deep) if update else self


@mutant("IDENTITY-05")
class NeverDeep(Core):
    def __deepcopy__(self, memo=None):
        raise TypeError("cannot pickle '_thread.lock' object")


@mutant("IDENTITY-06")
class NeverPickled(Core):
    def __getstate__(self):
        raise TypeError("cannot pickle '_thread.lock' object")


@mutant("IDENTITY-07")
class NewKeys(Core):
    def _get_llm_string(self, stop=None, **kwargs):
        return f"{super()._get_llm_string(stop, **kwargs)}{next(NUMBERS)}"


@mutant("IDENTITY-07")
class KeysWithoutStops(Core):
    def _get_llm_string(self, stop=None, **kwargs):
        return super()._get_llm_string(None, **kwargs)


@mutant("IDENTITY-08")
class KeysWithoutParameters(Core):
    def _get_llm_string(self, stop=None, **kwargs):
        return super()._get_llm_string(stop)


@mutant("IDENTITY-09")
class LeavesOutAField(Core):
    @property
    def _identifying_params(self):
        return {"model_name": self.model_name}


# --- CHAT-SECRET ---


@mutant("SECRET-01")
class PlainKey(Core):
    api_key: str | None = None


@mutant("SECRET-02")
class ShowsItsKey(Core):
    def __str__(self):
        return f"so {self.api_key and self.api_key.get_secret_value()}"


@mutant("SECRET-03", "SECRET-02")
class IdentifiedByItsKey(Core):
    @property
    def _identifying_params(self):
        key = self.api_key and self.api_key.get_secret_value()
        return {**super()._identifying_params, "key": key}


@mutant("SECRET-03")
class TellsItsRequest(Core):
    def facts(self, reason):
        key = self.api_key and self.api_key.get_secret_value()
        return {**super().facts(reason), "request": {"authorization": key}}


@mutant("SECRET-04", right=Ours)
class KnowsNoSecrets(Ours):
    def _secrets(self, parameters):
        return iter(())


@mutant("SECRET-05", right=Ours)
class TellsParameters(Ours):
    _get_invocation_params = BaseChatModel._get_invocation_params
