"""Pieces: what the text of a chat model turns out to be."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Text:
    """A part of the answer."""

    text: str


@dataclass(frozen=True, slots=True)
class Reasoning:
    """A part of what the model thinks before its answer."""

    text: str


@dataclass(frozen=True, slots=True)
class CallDelta:
    """A part of a tool call; the first of a call has its id and name, each a part of `args`."""

    index: int
    """Which call of the answer, from 0 on."""
    id: str | None = None
    name: str | None = None
    args: str = ""
    """A part of the arguments' JSON text."""


@dataclass(frozen=True, slots=True)
class InvalidCall:
    """What was meant for a tool call and cannot be read as one."""

    index: int
    text: str
    """What the model has written."""
    error: str
    """What is wrong with it, for the model to mend."""
    name: str | None = None


Piece = Text | Reasoning | CallDelta | InvalidCall


class Parser(Protocol):
    """Turns a model's text into pieces as it comes, wherever the text is cut."""

    def feed(self, text: str) -> list[Piece]:
        """Take more text; return what is certain with it."""

    def finish(self) -> list[Piece]:
        """Return what is left at the end."""
