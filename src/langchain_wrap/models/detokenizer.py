"""Incremental detokenising: tokens in, text out, no character cut in two."""

from __future__ import annotations

from collections.abc import Callable, Sequence


class Detokenizer:
    """Turns the tokens of one completion into pieces of text as they come.

    A tokenizer may write a token differently after another one (blanks, parts of a character), so
    each piece is the difference between two decodings of the last few tokens: the whole text is
    never decoded again.

    Args:
        decode: The tokenizer's `decode` without special tokens.
    """

    def __init__(self, decode: Callable[[Sequence[int]], str]) -> None:
        self._decode = decode
        self._tokens: list[int] = []
        self._given = ""
        """What was given of the text of `_tokens`."""

    def feed(self, token: int) -> str:
        """Take a token; return the text that is certain with it."""
        self._tokens.append(token)
        text = self._decode(self._tokens)
        if text.endswith("\ufffd") or not text.startswith(self._given):
            return ""  # the next token decides
        piece = text[len(self._given) :]
        self._given = text
        if len(self._tokens) > _WINDOW:
            self._tokens = self._tokens[-_KEPT:]
            self._given = self._decode(self._tokens)
        return piece

    def finish(self) -> str:
        """Return what is left at the end, cut characters as replacement characters."""
        text = self._decode(self._tokens)
        return text[len(self._given) :]


_WINDOW = 16
"""Tokens after which the oldest are let go."""

_KEPT = 6
"""Tokens that stay: enough for a character of four bytes and the blank before it."""
