"""The events of a streamed answer, whichever way its bytes were cut up. No I/O is done here."""

from __future__ import annotations

import codecs
import json
from collections.abc import Iterator
from typing import Any, NamedTuple, Protocol

from langchain_wrap.models.http_body import TooLarge


class Event(NamedTuple):
    """What has come."""

    data: str
    name: str = ""
    """The type of a server-sent event, where it has one."""


class Decoder(Protocol):
    """Turns bytes into events."""

    def feed(self, data: bytes) -> Iterator[Event]:
        """Yield the events that these bytes complete."""

    def end(self) -> Iterator[Event]:
        """Yield the event that the end of the answer completes."""


class _Lines:
    r"""Cuts bytes into lines, which `\n`, `\r\n` or `\r` end; at a `\r` without waiting on."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._begun: list[bytes] = []
        self._size = 0
        self._after_cr = False
        self._first = True

    def feed(self, data: bytes) -> list[bytes]:
        if self._after_cr:
            data = data.removeprefix(b"\n")
            self._after_cr = False
        if b"\r" in data:
            self._after_cr = data.endswith(b"\r")
            data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        head, *tail = data.split(b"\n")
        self._begun.append(head)
        self._size += len(head)
        if self._size > self._limit:
            raise TooLarge(self._limit)
        if not tail:
            return []
        *whole, rest = [b"".join(self._begun), *tail]
        self._begun, self._size = [rest], len(rest)
        if self._first:
            self._first = False
            whole[0] = whole[0].removeprefix(codecs.BOM_UTF8)
        return whole


_STRANGE = 2**16
"""Bytes of an answer that is no stream which are kept to say what it is."""


class SSE:
    """Server-sent events: https://html.spec.whatwg.org/multipage/server-sent-events.html."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._lines = _Lines(limit)
        self._strange: list[bytes] = []
        self._strange_size = 0
        self._reset()

    def _reset(self) -> None:
        self._data: list[bytes] = []
        self._name = b""
        self._size = 0

    def feed(self, data: bytes) -> Iterator[Event]:
        """Yield the events that these bytes complete."""
        for line in self._lines.feed(data):
            if line:
                self._take(line)
            elif self._data or self._name:
                yield Event(_text(b"\n".join(self._data)), _text(self._name))
                self._reset()

    def end(self) -> Iterator[Event]:
        """Yield the last event: one that no empty line ends counts as well."""
        return self.feed(b"\n\n")

    def _take(self, line: bytes) -> None:
        field, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        # Older llama-servers send errors as a field of that name.
        if field in (b"data", b"error"):
            self._data.append(value)
            self._size += len(value)
            if self._size > self._limit:
                raise TooLarge(self._limit)
        if field in (b"event", b"error"):
            self._name = b"error" if field == b"error" else value
        elif field not in (b"", b"data", b"id", b"retry") and self._strange_size < _STRANGE:
            self._strange.append(line)
            self._strange_size += len(line)

    @property
    def strange(self) -> str:
        """The lines that are none of an event's, as far as they are kept."""
        return _text(b"\n".join(self._strange))


class NDJSON:
    """A JSON value a line."""

    def __init__(self, limit: int) -> None:
        self._lines = _Lines(limit)

    def feed(self, data: bytes) -> Iterator[Event]:
        """Yield the lines that these bytes complete."""
        return (Event(_text(line)) for line in self._lines.feed(data))

    def end(self) -> Iterator[Event]:
        """Yield the last line: it counts without its end as well."""
        return self.feed(b"\n")


class Raw:
    """Text that is the completion itself."""

    def __init__(self, charset: str | None) -> None:
        found = charset or "utf-8"
        try:
            b"a".decode(found, "replace")  # which refuses the codecs that are not of text
            found = codecs.lookup(found).name
            decoder = codecs.getincrementaldecoder(found)
        except (LookupError, UnicodeError):
            found = "utf-8"
        if found == "utf-8":  # a mark of byte order is no text
            decoder = codecs.getincrementaldecoder("utf-8-sig")
        self._decoder = decoder("replace")

    def feed(self, data: bytes) -> Iterator[Event]:
        """Yield the text that these bytes complete."""
        yield Event(self._decoder.decode(data))

    def end(self) -> Iterator[Event]:
        """Yield what stands for a character that was cut off."""
        yield Event(self._decoder.decode(b"", final=True))


def parsed(data: str) -> Any:
    """Return the JSON value of an event, or of an answer.

    Raises:
        ValueError: It is not JSON.
    """
    try:
        return json.loads(data)
    except RecursionError:
        raise ValueError("it is nested too deep") from None


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")
