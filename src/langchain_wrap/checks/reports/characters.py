"""Text of unknown models, made fit to be shown and written to files."""

from __future__ import annotations

_KEPT = frozenset("\n\t")


def visible(text: str) -> str:
    r"""Return text in which what cannot be seen is written as an escape, such as `\x1b`.

    Control characters drive terminals and may not stand in XML, lone surrogates cannot be written
    as UTF-8, and marks of direction reorder what stands beside them.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in _KEPT else repr(c)[1:-1] for c in text)


def clipped(text: str, limit: int) -> str:
    """Return text in one line of at most `limit` characters."""
    line = " ".join(visible(text).split())
    return line if len(line) <= limit else f"{line[: limit - 1]}…"
