"""The text of a JSON object, followed as it comes.

Parsers that take JSON in parts (jiter, ijson, partial-json) give values; what a tool call streams
is the text of a value as the model writes it, and where it ends.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

_SPACE = re.compile(r"[ \t\r\n]*")
_STRING = re.compile(r'[^"\\]*')
_LITERAL = re.compile(r"[A-Za-z0-9+.\-]*")
_NESTED = re.compile(r'[^"{}\[\]]*')
_CLOSING = {"{": "}", "[": "]"}


@dataclass(frozen=True, slots=True)
class Key:
    """A key of the object has come; what follows is its value."""

    name: str


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a value's text, as it is written."""

    text: str


@dataclass(frozen=True, slots=True)
class ValueEnd:
    """The value of the last key is complete."""


Event = Key | Part | ValueEnd


class ObjectScan:
    """Follows the text of one JSON object: its own keys, and the text of their values.

    What is inside a value is not checked beyond strings and brackets: whether it is JSON can be
    asked when it is complete. Raw line breaks in strings and a comma after the last value are
    let pass, as models write them.

    Args:
        may_double: Whether the opening brace may be doubled, as templates that quote a call show
            it. The second one at the end is not the object's own.
    """

    def __init__(self, *, may_double: bool = False) -> None:
        self.doubled = False
        """Whether the opening brace is doubled."""
        self._may_double = may_double
        self.done = False
        """The object is complete; the text after it is not its own."""
        self.error: str | None = None
        """Why the text can be no object; the scan ends before the character that shows it."""
        self._state = self._open
        self._brackets: list[str] = []
        self._in_string = False
        self._escaped = False
        self._key: list[str] | None = None
        self._events: list[Event] = []

    @property
    def ended(self) -> bool:
        """Whether the object is complete or broken."""
        return self.done or self.error is not None

    def feed(self, text: str, start: int = 0) -> tuple[int, list[Event]]:
        """Take the text from `start` on; return where it was left, and what was found."""
        at = start
        while at < len(text) and not self.ended:
            at = self._state(text, at)
        events, self._events = self._events, []
        return at, events

    def _break(self, text: str, at: int, expected: str) -> int:
        self.error = f"expected {expected}, not {text[at]!r}"
        return at

    def _open(self, text: str, at: int) -> int:
        if text[at] != "{":
            return self._break(text, at, "an object")
        self._state = self._after_open
        return at + 1

    def _after_open(self, text: str, at: int) -> int:
        self.doubled = self._may_double and text[at] == "{"
        self._state = self._before_key
        return at + self.doubled

    def _before_key(self, text: str, at: int) -> int:
        at = _end(_SPACE, text, at)
        if at == len(text):
            return at
        if text[at] == "}":
            self.done = True
            return at + 1
        if text[at] != '"':
            return self._break(text, at, "a key in double quotes")
        self._key = []
        self._in_string = True
        self._state = self._in_key
        return at + 1

    def _in_key(self, text: str, at: int) -> int:
        assert self._key is not None  # noqa: S101 - set by the state before
        end = self._string(text, at)
        self._key.append(text[at:end])
        if not self._in_string:
            try:
                name = json.loads('"' + "".join(self._key), strict=False)
            except ValueError:
                self.error = "a key is no JSON string"
                return end
            self._events.append(Key(name))
            self._state = self._colon
        return end

    def _colon(self, text: str, at: int) -> int:
        at = _end(_SPACE, text, at)
        if at == len(text):
            return at
        if text[at] != ":":
            return self._break(text, at, "':' after a key")
        self._state = self._before_value
        return at + 1

    def _before_value(self, text: str, at: int) -> int:
        at = _end(_SPACE, text, at)
        if at == len(text):
            return at
        if text[at] in '{["':
            self._state = self._in_value
        elif _end(_LITERAL, text, at) > at:
            self._state = self._in_literal
        else:
            return self._break(text, at, "a value")
        return at

    def _in_literal(self, text: str, at: int) -> int:
        end = _end(_LITERAL, text, at)
        self._part(text[at:end])
        if end < len(text):
            self._value_end()
        return end

    def _in_value(self, text: str, at: int) -> int:
        start = at
        while at < len(text):
            if self._in_string:
                at = self._string(text, at)
            else:
                at = _end(_NESTED, text, at)
                if at == len(text):
                    break
                character = text[at]
                if character == '"':
                    self._in_string = True
                elif character in "{[":
                    self._brackets.append(_CLOSING[character])
                elif self._brackets[-1] == character:
                    self._brackets.pop()
                else:
                    self._part(text[start:at])
                    return self._break(text, at, repr(self._brackets[-1]))
                at += 1
            if not self._in_string and not self._brackets:
                self._part(text[start:at])
                self._value_end()
                return at
        self._part(text[start:at])
        return at

    def _after_value(self, text: str, at: int) -> int:
        at = _end(_SPACE, text, at)
        if at == len(text):
            return at
        if text[at] == ",":
            self._state = self._before_key
        elif text[at] == "}":
            self.done = True
        else:
            return self._break(text, at, "',' or '}' after a value")
        return at + 1

    def _string(self, text: str, at: int) -> int:
        """Go to the end of the string that we are in, its closing quote included."""
        while at < len(text):
            if self._escaped:
                self._escaped = False
                at += 1
                continue
            at = _end(_STRING, text, at)
            if at == len(text):
                break
            if text[at] == '"':
                self._in_string = False
                return at + 1
            self._escaped = True
            at += 1
        return at

    def _part(self, text: str) -> None:
        if text:
            self._events.append(Part(text))

    def _value_end(self) -> None:
        self._events.append(ValueEnd())
        self._state = self._after_value


def _end(pattern: re.Pattern[str], text: str, at: int) -> int:
    match = pattern.match(text, at)
    return match.end() if match else at
