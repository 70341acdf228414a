"""Reasoning: what a model writes down of its thoughts before its answer."""

from __future__ import annotations

from langchain_wrap.chat.call_parser import TextParser
from langchain_wrap.chat.pieces import Parser, Piece, Reasoning


class ReasoningParser:
    """Splits the reasoning off the beginning of an answer; hands the rest to the next parser.

    Tags in the middle of an answer are text. The line breaks between tags and text are dropped.

    Args:
        tags: What opens and what closes the reasoning.
        inside: Whether the prompt has opened it already. That of some templates has; a model that
            opens it once more is understood, too.
        then: The parser of the answer; without one it is all text.
    """

    def __init__(
        self,
        tags: tuple[str, str] = ("<think>", "</think>"),
        inside: bool = False,
        then: Parser | None = None,
    ) -> None:
        self._open, self._close = tags
        if not self._open or not self._close:
            raise ValueError(f"the tags of reasoning must be two texts, not {tags!r}")
        self._inside = inside
        self._then: Parser = then if then is not None else TextParser()
        self._state = self._before
        self._buffer = ""
        self._final = False
        self._out: list[Piece] = []

    def feed(self, text: str) -> list[Piece]:
        """Take more text; return what is certain with it."""
        self._buffer += text
        return self._run()

    def finish(self) -> list[Piece]:
        """Return what is left at the end."""
        self._final = True
        return self._run() + self._then.finish()

    def _run(self) -> list[Piece]:
        while self._buffer and self._state():
            pass
        out, self._out = self._out, []
        return out

    def _before(self) -> bool:
        start = self._buffer.lstrip()
        if start.startswith(self._open):
            self._buffer = start[len(self._open) :]
            self._state = self._opened
        elif self._open.startswith(start) and not self._final:
            return False
        else:
            self._state = self._opened if self._inside else self._answer
        return True

    def _opened(self) -> bool:
        """Before the first text of the reasoning."""
        self._buffer = self._buffer.lstrip("\r\n")
        self._state = self._thinking
        if not self._buffer:
            self._state = self._opened
        return bool(self._buffer)

    def _thinking(self) -> bool:
        end = self._buffer.find(self._close)
        if end >= 0:
            self._think(self._buffer[:end].rstrip("\r\n"))
            self._buffer = self._buffer[end + len(self._close) :]
            self._state = self._closed
            return True
        held = 0 if self._final else self._held_back()
        self._think(self._buffer[: len(self._buffer) - held])
        self._buffer = self._buffer[len(self._buffer) - held :]
        return False

    def _closed(self) -> bool:
        """Before the first text of the answer."""
        self._buffer = self._buffer.lstrip("\r\n")
        if self._buffer:
            self._state = self._answer
        return bool(self._buffer)

    def _answer(self) -> bool:
        self._out += self._then.feed(self._buffer)
        self._buffer = ""
        return False

    def _held_back(self) -> int:
        """Return how much of the buffer's end may be the closing tag and line breaks before it."""
        size = len(self._buffer)
        for length in range(min(len(self._close) - 1, size), -1, -1):
            if self._close.startswith(self._buffer[size - length :]):
                return size - len(self._buffer[: size - length].rstrip("\r\n"))
        return 0

    def _think(self, text: str) -> None:
        if text:
            self._out.append(Reasoning(text))
