"""`ChatTemplate`: how the messages of a conversation become one prompt."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from langchain_wrap.chat.families import FAMILIES
from langchain_wrap.errors import did_you_mean

if TYPE_CHECKING:
    from langchain_wrap.chat.sandbox import Compiled

_TOKEN = re.compile(r"<[^<>\s]{1,60}>")
_SHORT_ID = re.compile(r"[A-Za-z0-9]{9}")
_REASONING = ("reasoning_content", "thinking", "reasoning")
_QUESTION, _ANSWER = "qz question zq", "qz answer zq"


class ChatTemplate:
    """A Jinja template as models have it: messages in, prompt out.

    It renders what transformers' `apply_chat_template` renders, and refuses where that would lose
    something without a word: see `render`.

    Args:
        source: The template's text.
        special_tokens: The texts of `bos_token`, `eos_token` and the like, for the template.
        stops: Texts that end a turn. None given: what the template itself writes after a turn of
            the assistant.
    """

    def __init__(
        self,
        source: str,
        *,
        special_tokens: Mapping[str, str] | None = None,
        stops: Sequence[str] = (),
    ) -> None:
        if not isinstance(source, str) or not source.strip():
            raise ValueError(f"a chat template is a Jinja text; this is {source!r}")
        self.source = source
        self.special_tokens = dict(special_tokens or {})
        self._stops = tuple(stops)

    @classmethod
    def named(cls, name: str, *, special_tokens: Mapping[str, str] | None = None) -> ChatTemplate:
        """Return the template of a family of models: one of `FAMILIES`.

        Raises:
            ValueError: There is no such family.
        """
        if name not in FAMILIES:
            raise ValueError(
                f"there is no template family {name!r}.{did_you_mean(name, FAMILIES)} "
                f"There are: {', '.join(FAMILIES)}; or give a template's text"
            )
        family = FAMILIES[name]
        return cls(family.source, special_tokens=special_tokens, stops=family.stops)

    @classmethod
    def of(
        cls, value: ChatTemplate | str, *, special_tokens: Mapping[str, str] | None = None
    ) -> ChatTemplate:
        """Return the template that a family's name, a text, or a template stands for.

        Raises:
            ValueError: It is a name that no family has.
            TypeError: It is something else.
        """
        if isinstance(value, ChatTemplate):
            return value
        if not isinstance(value, str):
            raise TypeError(f"template: give a family's name or a Jinja text, not {value!r}")
        if "{{" in value or "{%" in value:
            return cls(value, special_tokens=special_tokens)
        return cls.named(value, special_tokens=special_tokens)

    @cached_property
    def takes_tools(self) -> bool:
        """Whether the template has a place for the definitions of tools."""
        return "tools" in self._compiled().variables

    @cached_property
    def stops(self) -> tuple[str, ...]:
        """Texts that end a turn, such as `<|im_end|>`; none if the template does not show any."""
        return self._stops or self._probed_stops()

    def render(
        self,
        messages: Sequence[Mapping[str, Any]],
        *,
        tools: Sequence[Mapping[str, Any]] | None = None,
        add_generation_prompt: bool = True,
        **variables: Any,
    ) -> str:
        """Return the prompt of messages, given as dicts in the way of OpenAI.

        `arguments` of calls are objects; templates that want them otherwise (as JSON text, one
        call a message, ids of nine characters, ...) get them otherwise.

        Raises:
            ValueError: The template refuses the messages, does not express one of them or one of
                the tools, fails, runs away, tries to leave its sandbox, or is no Jinja.
        """
        from langchain_wrap.chat.fidelity import express

        if not messages:
            raise ValueError("there are no messages to render; give at least one")
        if tools and not self.takes_tools:
            raise ValueError(
                "this chat template has no place for tools; describe them in the system message, "
                "or use a template that takes tools, such as 'chatml'"
            )
        given = {**variables, "tools": list(tools) if tools else None}

        def text_of(form: list[dict[str, Any]]) -> str:
            return self._render(form, add_generation_prompt, given)

        prompt = express(text_of, self._adapted(messages))
        for tool in tools or ():
            name = str(tool.get("function", tool).get("name", ""))
            if name not in prompt and json.dumps(name)[1:-1] not in prompt:
                raise ValueError(
                    f"the chat template does not express the tool {name!r} in a conversation "
                    "like this; describe it in the system message, or use another template"
                )
        return prompt

    def _adapted(self, messages: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Return messages without what is None, which templates take for a value."""
        adapted = []
        for message in messages:
            copy = {key: value for key, value in message.items() if value is not None}
            thoughts = next((copy[key] for key in _REASONING if key in copy), None)
            if thoughts is not None:
                copy = {"thinking": thoughts, **copy, "reasoning_content": thoughts}
            adapted.append(copy)
        return [_with_short_ids(copy) for copy in adapted] if self._wants_short_ids else adapted

    @property
    def _wants_short_ids(self) -> bool:
        """Mistral's models know calls by ids of nine letters and digits, and refuse others."""
        return "[TOOL_CALLS]" in self.source

    def _render(
        self,
        messages: list[dict[str, Any]],
        add_generation_prompt: bool,
        variables: Mapping[str, Any],
    ) -> str:
        return self._compiled().render(
            {
                "documents": None,
                **self.special_tokens,
                **variables,
                "messages": messages,
                "add_generation_prompt": add_generation_prompt,
            }
        )

    def _compiled(self) -> Compiled:
        # Jinja is imported where a template is rendered, not by who just imports the package.
        from langchain_wrap.chat.sandbox import compiled

        return compiled(self.source)

    def _probed_stops(self) -> tuple[str, ...]:
        """Look at what the template writes after an answer, at the end and before a question."""
        talk = [{"role": "user", "content": "qz"}, {"role": "assistant", "content": _ANSWER}]
        more = [*talk, {"role": "user", "content": _QUESTION}]
        variables = {"tools": None}
        try:
            end = self._render(talk, False, variables).partition(_ANSWER)[2]
            between = self._render(more, False, variables).partition(_ANSWER)[2]
        except ValueError:
            return ()
        between = between.partition(_QUESTION)[0]
        if found := _TOKEN.match(end.strip()) or _TOKEN.match(between.strip()):
            return (found[0],)
        line = end.strip().partition("\n")[0]
        if _is_mark(line) and between.strip().startswith(line):
            return (line,)
        # Nothing ends a turn but the beginning of the next one: "\nUser:".
        start = between.strip()
        if not _is_mark(start):
            return ()
        return ("\n" * ("\n" in between[: between.find(start)]) + start,)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ChatTemplate) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def _key(self) -> tuple[Any, ...]:
        return self.source, tuple(sorted(self.special_tokens.items())), self._stops

    def __repr__(self) -> str:
        for name, family in FAMILIES.items():
            if family.source == self.source:
                return f"ChatTemplate.named({name!r})"
        digest = hashlib.sha256(self.source.encode()).hexdigest()[:12]
        return f"<ChatTemplate of {len(self.source)} characters, sha256 {digest}>"


def _is_mark(text: str) -> bool:
    """Whether a text tells one turn from the next: ")" may be a part of any answer."""
    return len(text) >= 4 and any(map(str.isalpha, text))


def _with_short_ids(message: dict[str, Any]) -> dict[str, Any]:
    copy = dict(message)
    if "tool_call_id" in copy:
        copy["tool_call_id"] = _short_id(copy["tool_call_id"])
    if copy.get("tool_calls"):
        copy["tool_calls"] = [
            {**call, "id": _short_id(call.get("id"))} for call in copy["tool_calls"]
        ]
    return copy


def _short_id(value: object) -> str:
    text = str(value)
    return text if _SHORT_ID.fullmatch(text) else hashlib.sha256(text.encode()).hexdigest()[:9]
