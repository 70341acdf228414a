"""One tool call, read from its JSON as it comes."""

from __future__ import annotations

import json
from collections.abc import Collection

from langchain_wrap.chat.json_scan import Key, ObjectScan, Part
from langchain_wrap.chat.pieces import CallDelta, InvalidCall, Piece

_ARGUMENTS = ("arguments", "parameters")
_ENVELOPE = ("type", "id")
CUT_OFF = "the call is cut off before its end"


class CallReader:
    """Reads `{"name": …, "arguments": {…}}` and its variants.

    Also read are `parameters` in place of `arguments`, arguments before the name, arguments as a
    string that holds JSON, none at all, and OpenAI's `{"type": "function", "function": {…}}`.

    Args:
        index: The number of the call in its answer.
        id: The id that the call gets.
        known: The tools' names, if the text may as well be an answer in JSON: then it is a call
            only if it names one of these. None: it was announced as a call.
        unknown: With `known`: whether another name with arguments makes it a call, too.
        name: The name, if it came before; then the text is the arguments alone.
    """

    def __init__(
        self,
        index: int,
        id: str,
        *,
        known: Collection[str] | None = None,
        unknown: bool = True,
        name: str | None = None,
    ) -> None:
        self.index = index
        self.is_call: bool | None = None if known is not None else True
        """Whether the text is a call; None: not known yet."""
        self.raw = ""
        """The text so far."""
        self.name: str | None = None
        self._id = id
        self._known = known
        self._unknown = unknown
        self._bare = name is not None
        self._scan = ObjectScan(may_double=not self._bare)
        self._key: str | None = None
        self._value = ""
        self._function: CallReader | None = None
        self._arguments: str | None = None
        self._complete = False
        self._sent = 0
        self._error: str | None = None
        self._out: list[Piece] = []
        if name is not None:
            self._named(name)
            self._arguments = ""

    @property
    def ended(self) -> bool:
        """Whether the text of the object is complete, or broken off."""
        return self._scan.ended

    @property
    def doubled(self) -> bool:
        """Whether the brace that opens the object is doubled."""
        return self._scan.doubled

    @property
    def broken(self) -> bool:
        """Whether the object cannot go on as JSON, and what has come is no whole call."""
        return self._scan.error is not None and not self._whole

    @property
    def _whole(self) -> bool:
        # A brace left out at the end is no reason to refuse what is there.
        return self.name is not None and self._complete and self._error is None

    def feed(self, text: str, start: int = 0) -> int:
        """Take the text from `start` on; return where the object has ended."""
        at, events = self._scan.feed(text, start)
        self.raw += text[start:at]
        if self._bare:
            self._arguments = self.raw
            self._complete = self._scan.done
        else:
            for event in events:
                if isinstance(event, Key):
                    self._on_key(event.name)
                elif isinstance(event, Part):
                    self._on_part(event.text)
                else:
                    self._on_value()
            if self._scan.done:
                self._on_end()
        if self._scan.error is not None and not self._whole and self.is_call is None:
            self.is_call = False
        self._send()
        return at

    def take(self) -> list[Piece]:
        """Return what is certain by now, once."""
        out, self._out = self._out, []
        return out

    def close(self, rest: str = "") -> list[Piece]:
        """Return what is left at the end of the call; `rest` was written in its place besides.

        A call whose arguments have gone out in part is left as it is: they are no JSON, which
        whoever puts them together sees.
        """
        self.raw += rest
        out = self.take()
        if self._bare and self._sent and self.raw[self._sent :]:  # it is in no other piece
            out.append(CallDelta(self.index, args=self.raw[self._sent :]))
        error = None if self._sent else self._problem()
        if error is not None:
            out.append(InvalidCall(self.index, self.raw.strip(), error, self.name))
        return out

    def _on_key(self, key: str) -> None:
        self._key, self._value = key, ""
        if key == "name" or key in _ENVELOPE:
            return
        if key == "function" and self.name is None:
            return
        if key in _ARGUMENTS and self._arguments is None:
            self._arguments = ""
            return
        if self._complete and self.name is not None:
            return  # the call is whole; what is said besides does not change it
        self._refuse(f"{key!r} is not expected beside the name and the arguments")

    def _on_part(self, text: str) -> None:
        if self._key in _ARGUMENTS and not self._complete:
            if not self._arguments and self.is_call is None and self.name is not None:
                # A name that is no tool's: only arguments make an object with a "name" a call.
                self.is_call = self._unknown and text[0] == "{"
            self._arguments = (self._arguments or "") + text
        else:
            self._value += text

    def _on_value(self) -> None:
        if self._key in _ARGUMENTS:
            self._complete = True
            self._unwrap()
        elif self._key == "function" and self._value.startswith("{"):
            self._on_function()
        elif self._key in ("name", "function"):
            self._on_name()
        elif self._key == "type" and self.is_call is None and self._value != '"function"':
            self.is_call = False

    def _on_name(self) -> None:
        if self._complete and self.name is not None:
            return  # as for keys that are not expected
        name = _loads(self._value)
        if not isinstance(name, str) or not name.strip():
            self._refuse("the name of the tool is no text")
        elif self.name is not None:
            self._refuse("the call has two names")
        else:
            self._named(name)

    def _on_function(self) -> None:
        inner = CallReader(self.index, self._id, known=self._known, unknown=self._unknown)
        inner.feed(self._value)
        if self.is_call is None and inner.is_call is not True:
            self.is_call = False
            return
        self._error = self._error or inner._problem()
        if inner.name is not None:
            self._named(inner.name)
        self._arguments, self._complete = inner._arguments, inner._complete

    def _named(self, name: str) -> None:
        self.name = name
        if self.is_call is None and name in (self._known or ()):
            self.is_call = True
        if self.is_call is None and self._arguments:
            self.is_call = self._unknown and self._arguments.startswith("{")

    def _refuse(self, error: str) -> None:
        if self.is_call is None:
            self.is_call = False
        self._error = self._error or error

    def _on_end(self) -> None:
        if self.is_call is None:
            self.is_call = False
        if self._arguments is None:
            self._arguments, self._complete = "{}", True

    def _unwrap(self) -> None:
        """Take arguments out of the string that holds them; null and "" stand for none."""
        text = self._arguments or ""
        if text.startswith('"'):
            inner = _loads(text)
            if isinstance(inner, str) and (not inner.strip() or isinstance(_loads(inner), dict)):
                text = inner.strip() or "{}"
        self._arguments = "{}" if text == "null" else text

    def _send(self) -> None:
        arguments = self._arguments or ""
        # A name alone would be taken for a call without arguments, should the text break off.
        if not self.is_call or self.name is None or self._error or not arguments.startswith("{"):
            return
        if len(arguments) > self._sent:
            new, known = self._sent == 0, arguments[self._sent :]
            self._sent = len(arguments)
            self._out.append(
                CallDelta(self.index, self._id, self.name, known)
                if new
                else CallDelta(self.index, args=known)
            )

    def _problem(self) -> str | None:
        if self._error is not None:
            return self._error
        if self.name is None:
            if self._scan.done:
                return "the call has no name"
            return self._scan.error or CUT_OFF
        if not self._complete:
            return self._scan.error or CUT_OFF
        try:
            arguments = json.loads(self._arguments or "", strict=False)
        except (ValueError, RecursionError) as error:
            return f"the arguments are not JSON: {error}"
        if not isinstance(arguments, dict):
            return "the arguments are no JSON object"
        return None


def _loads(text: str) -> object:
    try:
        return json.loads(text, strict=False)
    except (ValueError, RecursionError):
        return None
