"""Incremental detokenising: tokens in, text out, no character cut in two."""

from __future__ import annotations

from collections.abc import Callable, Sequence

_WINDOW = 16
"""Tokens after which the oldest are let go."""

_KEPT = 6
"""Tokens that stay at least: enough for a character of four bytes and the blank before it."""

_MOST = 64
"""Tokens that are kept at most, where no place to cut is found."""

_PATIENCE = 8
"""Tokens that may be waited for: no character has more of them."""

_CUT = 3
"""Replacement characters at the end of a text that the next token may still make one of."""


class Detokenizer:
    """Turns the tokens of one completion into pieces of text as they come.

    A tokenizer may write a token differently after another one (blanks, parts of a character), so
    each piece is the difference between two decodings of the last few tokens: the whole text is
    never decoded again.

    Args:
        decode: The tokenizer's `decode` without special tokens.
        before: The tokens of the prompt: a blank between it and the completion is the
            completion's.
    """

    def __init__(self, decode: Callable[[Sequence[int]], str], before: Sequence[int] = ()) -> None:
        self._decode = decode
        self._tokens, self._given = self._tail(before[-_WINDOW:])
        """The last tokens, and what was given of their text."""
        self._waiting = 0
        """How many tokens have come since text was given."""

    def feed(self, token: int) -> str:
        """Take a token; return the text that is certain with it."""
        self._tokens.append(token)
        self._waiting += 1
        text = self._decode(self._tokens)
        cut = min(len(text) - len(text.rstrip("\ufffd")), _CUT)
        sure = text[: len(text) - cut]
        if not sure.startswith(self._given) and self._waiting <= _PATIENCE:
            return ""  # part of a character has changed how the ones before it are written
        piece = sure[len(self._given) :]
        if piece:
            self._given, self._waiting = sure, 0
        if len(self._tokens) > _WINDOW and self._given == sure:
            self._tokens, written = self._tail(self._tokens, text)
            self._given = written[: len(written) - cut]
        return piece

    def finish(self) -> str:
        """Return what is left at the end, cut characters as replacement characters."""
        return self._decode(self._tokens)[len(self._given) :]

    def _tail(self, tokens: Sequence[int], text: str | None = None) -> tuple[list[int], str]:
        """Return the fewest last tokens that are written the same without the ones before."""
        text = self._decode(tokens) if text is None else text
        for kept in range(_KEPT, len(tokens)):
            written = self._decode(tokens[-kept:])
            if written[:1] not in ("", "\ufffd") and text.endswith(written):
                return list(tokens[-kept:]), written
        if len(tokens) > _MOST:  # there is no such place in what is no text
            return list(tokens[-_KEPT:]), self._decode(tokens[-_KEPT:])
        return list(tokens), text
