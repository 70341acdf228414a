"""Text with tool calls in it, told apart as it comes."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from dataclasses import dataclass
from uuid import uuid4

from langchain_wrap.chat.call_reader import CallReader
from langchain_wrap.chat.pieces import Piece, Text

_FENCE = "```"
# Languages of a code block in which models put calls; code in another one is an example.
_FENCE_START = re.compile(r"```(?:json|jsonc|tool_calls?|tool_code)?(?=[\s{\[])", re.IGNORECASE)
_FENCE_LANGUAGE = re.compile(r"```[\w+\-]*\Z")
_SPACE = re.compile(r"\s*")


def _begun(mark: str) -> str:
    """Return a pattern for each beginning of a mark, the whole mark and nothing included."""
    pattern = ""
    for character in reversed(mark):
        pattern = f"(?:{re.escape(character)}{pattern})?"
    return pattern


# Mistral's newer form: the name, in some versions an id, and the arguments.
_NAME = re.compile(r"([^\[{]+)(?:\[CALL_ID\][^\[{]*)?(?:\[ARGS\])?\s*(?=\{)")
_NAME_BEGUN = re.compile(
    rf"[^\[{{]+(?:{_begun('[CALL_ID]')}|(?:\[CALL_ID\][^\[{{]*)?(?:{_begun('[ARGS]')}|\[ARGS\]\s*))"
)


def call_id() -> str:
    """Return a new id as OpenAI's calls have it."""
    return f"call_{uuid4().hex[:24]}"


@dataclass(frozen=True, slots=True)
class Syntax:
    """How calls are marked in a model's text."""

    open: str = ""
    """What announces a call: all that follows is meant for one."""
    close: str = ""
    """What ends an announced call."""
    tag: str = ""
    """What may stand before a call, and before other things too."""
    separators: str = ""
    """Characters that may stand between calls, besides whitespace."""
    unknown: bool = True
    """Whether JSON with a name and arguments is a call if no tool has that name, too."""
    named: bool = False
    """Whether the name may stand before the arguments: `name[ARGS]{…}`."""
    new_id: Callable[[], str] = call_id
    """Makes the id of a call."""


class TextParser:
    """Takes all for text."""

    def feed(self, text: str) -> list[Piece]:
        """Return the text."""
        return [Text(text)] if text else []

    def finish(self) -> list[Piece]:
        """Return nothing: nothing was held back."""
        return []


class CallParser:
    """Tells calls from text; an object that is fed piece by piece, wherever the text is cut.

    A call is announced by a mark, or it is a JSON object that names a tool: alone, in a list, in a
    code block, or after text. All else is text, and JSON that is no call is passed over as a whole.

    Each state is a method that takes what it is sure of from the front of the buffer. It returns
    False when it needs more to go on; at the end of the text there is no more, and it has to.
    """

    def __init__(self, names: Collection[str], syntax: Syntax) -> None:
        self._names = frozenset(names)
        self._syntax = syntax
        self._marks = [m for m in (syntax.open, syntax.close, syntax.tag, _FENCE) if m]
        marks = "|".join(re.escape(mark) for mark in self._marks)
        self._trigger = re.compile(rf"{marks}|[{{\[]")
        self._trigger_in_code = re.compile(marks)
        self._state = self._in_text
        self._buffer = ""
        self._final = False
        self._out: list[Piece] = []
        self._index = 0
        self._reader: CallReader | None = None
        self._held = ""  # the opening of what may become a call
        # Text around a call loses its whitespace: that waits for more text, or for a call.
        self._spaces = ""
        self._after_call = False
        self._said = False
        self._mid_line = False
        self._announced = False  # by a mark that has not been closed
        self._in_code = False  # in a code block whose content is no call
        self._fenced = False  # the call at hand is in a code block
        self._listed = False  # the call at hand is in a list

    def feed(self, text: str) -> list[Piece]:
        """Take more text; return what is certain with it."""
        self._buffer += text
        return self._run()

    def finish(self) -> list[Piece]:
        """Return what is left at the end."""
        self._final = True
        out = self._run()
        if self._spaces and not self._after_call:
            out.append(Text(self._spaces))
        self._spaces = ""
        return out

    def _run(self) -> list[Piece]:
        while self._state():
            pass
        out, self._out = self._out, []
        return out

    def _take(self, length: int) -> str:
        taken, self._buffer = self._buffer[:length], self._buffer[length:]
        return taken

    def _take_mark(self, mark: str) -> bool:
        """Drop a mark from the front of the buffer, if it is there."""
        if not mark or not self._buffer.startswith(mark):
            return False
        self._take(len(mark))
        return True

    def _may_become(self, mark: str) -> bool:
        """Whether the whole buffer is the beginning of a mark."""
        return len(self._buffer) < len(mark) and not self._final and mark.startswith(self._buffer)

    def _held_back(self, marks: Collection[str]) -> int:
        """Return how much of the buffer's end may be the beginning of a mark."""
        if self._final:
            return 0
        longest = max((len(mark) - 1 for mark in marks), default=0)
        for length in range(min(longest, len(self._buffer)), 0, -1):
            if any(mark.startswith(self._buffer[-length:]) for mark in marks):
                return length
        return 0

    def _say(self, text: str) -> None:
        if not text:
            return  # separators are said only with what shows that no call follows
        text = self._spaces + text
        if self._after_call:
            text = text.lstrip()
        kept = text.rstrip()
        self._spaces = text[len(kept) :]
        if kept:
            # The words before a call and those after it are not one word.
            apart = "\n" if self._after_call and self._said else ""
            self._after_call, self._said = False, True
            self._mid_line = True
            self._out.append(Text(apart + kept))

    # Text, and what may be a call in it

    def _in_text(self) -> bool:
        trigger = self._trigger_in_code if self._in_code else self._trigger
        found = trigger.search(self._buffer)
        if found is None:
            self._say(self._take(len(self._buffer) - self._held_back(self._marks)))
            return False
        self._say(self._take(found.start()))
        mark = found.group()
        if self._may_become(self._syntax.open):
            return False
        if mark == self._syntax.open:
            self._take(len(mark))
            self._announced = True
            self._state = self._before_announced
        elif mark == self._syntax.close and self._announced:
            self._take(len(mark))
            self._spaces, self._announced = "", False
        elif mark == self._syntax.close or self._in_code:
            self._say(self._take(len(mark)))
            self._in_code = self._in_code and mark != _FENCE
        else:
            self._state = self._opening
        return True

    def _opening(self) -> bool:
        """At the tag, code block, bracket or brace with which a call may begin."""
        at, fenced = 0, False
        tagged = bool(self._syntax.tag) and self._buffer.startswith(self._syntax.tag)
        if tagged:
            at = len(self._syntax.tag)
        elif self._buffer.startswith(_FENCE):
            fence = _FENCE_START.match(self._buffer)
            if fence is None and _FENCE_LANGUAGE.match(self._buffer) and not self._final:
                return False
            fenced, at = True, fence.end() if fence else len(_FENCE)
            if fence is None:
                return self._no_opening(at, fenced)
        at = _after_space(self._buffer, at)
        listed = self._buffer.startswith("[", at)
        if listed:
            at = _after_space(self._buffer, at + 1)
        if at == len(self._buffer) and not self._final:
            return False
        if not self._buffer.startswith("{", at):
            return self._no_opening(at, fenced)
        self._held = self._take(at)
        self._fenced, self._listed = self._fenced or fenced, self._listed or listed
        # In the middle of a line, JSON is mostly what the text is about.
        alone = fenced or tagged or not self._mid_line or "\n" in self._spaces
        self._reader = self._new_reader(known=True, unknown=self._syntax.unknown and alone)
        self._state = self._candidate
        return True

    def _no_opening(self, length: int, fenced: bool) -> bool:
        self._say(self._take(length))
        self._in_code = fenced
        self._state = self._in_text
        return True

    def _candidate(self) -> bool:
        """In JSON that may be a call."""
        reader = self._current
        self._take(reader.feed(self._buffer))
        if reader.is_call:
            self._state = self._in_call
            return True
        if reader.is_call is None and not self._final:
            return False
        self._say(self._held + reader.raw)
        self._in_code = self._fenced
        self._fenced = self._listed = False
        self._state = self._in_text if reader.ended else self._passing
        return True

    def _passing(self) -> bool:
        """In JSON that is no call: what it holds is none either."""
        self._say(self._take(self._current.feed(self._buffer)))
        if self._current.ended:
            self._state = self._in_text
        return self._current.ended

    # Calls

    def _before_announced(self) -> bool:
        """Between the mark that announces a call, and the call."""
        self._buffer = self._buffer.lstrip()
        if self._may_become(self._syntax.close) or not (self._buffer or self._final):
            return False
        if self._buffer.startswith("["):
            self._take(1)
            self._listed = True
            return True
        name = None
        if self._syntax.named and not self._listed and not self._buffer.startswith("{"):
            found = _NAME.match(self._buffer)
            if found is None and _NAME_BEGUN.fullmatch(self._buffer) and not self._final:
                return False
            if found is not None:
                name = found.group(1).strip()
                self._take(found.end())
        self._reader = self._new_reader(name=name)
        self._state = self._in_call
        return True

    def _in_call(self) -> bool:
        reader = self._current
        self._spaces = self._held = ""
        if self._syntax.close and not reader.raw and self._buffer.startswith(self._syntax.close):
            self._state = self._in_broken
            return True
        self._take(reader.feed(self._buffer))
        self._out += reader.take()
        if reader.broken:
            self._state = self._in_broken
            return True
        if reader.ended or self._final:
            self._close("")
        return reader.ended or self._final

    def _in_broken(self) -> bool:
        """In what was meant for a call, up to where it must have ended."""
        marks = [*self._marks[:-1], _FENCE] if self._fenced else self._marks[:-1]
        found = re.search("|".join(map(re.escape, marks)), self._buffer) if marks else None
        if found is None and not self._final:
            self._current.raw += self._take(len(self._buffer) - self._held_back(marks))
            return False
        self._close(self._take(found.start() if found else len(self._buffer)))
        return True

    def _close(self, rest: str) -> None:
        self._out += self._current.close(rest)
        self._index += 1
        self._after_call, self._mid_line = True, False
        self._state = self._behind_call

    def _behind_call(self) -> bool:
        loose = self._syntax.separators + ("," if self._listed else "")
        # A brace too many, as models write it, goes with the mark that ends the call.
        loose += (
            "}]" if self._announced and self._syntax.close else "}" if self._current.doubled else ""
        )
        while self._buffer and (self._buffer[0].isspace() or self._buffer[0] in loose):
            self._spaces += self._take(1)
        if not self._buffer:
            return False
        fence = _FENCE if self._fenced else ""
        close = self._syntax.close if self._announced else ""
        if self._listed and self._take_mark("]"):
            self._listed, self._spaces = False, ""
        elif self._take_mark(fence):
            self._fenced, self._spaces = False, ""
        elif self._take_mark(close):
            self._announced = self._listed = False
            self._spaces = ""
        elif self._may_become(fence) or self._may_become(close):
            return False
        elif self._announced and (close or self._listed) and self._buffer.startswith("{"):
            self._state = self._before_announced
        else:
            if not self._buffer.startswith("{"):
                self._in_code = self._in_code or self._fenced
                self._fenced = self._listed = False
            self._state = self._in_text
        return True

    @property
    def _current(self) -> CallReader:
        assert self._reader is not None  # noqa: S101 - each state that uses it comes after one
        return self._reader

    def _new_reader(
        self, *, known: bool = False, unknown: bool = True, name: str | None = None
    ) -> CallReader:
        names = self._names if known else None
        new_id = self._syntax.new_id()
        return CallReader(self._index, new_id, known=names, unknown=unknown, name=name)


def _after_space(text: str, at: int) -> int:
    found = _SPACE.match(text, at)
    return found.end() if found else at
