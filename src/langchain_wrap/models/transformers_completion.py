"""A completion of `Transformers` as it grows: tokens in, text out, and why it has ended."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from langchain_wrap.models.detokenizer import Detokenizer


class Completion:
    """One prompt and what has been generated for it.

    Args:
        prompt: The tokens of the prompt.
        decode: The tokenizer's `decode` without special tokens.
        stop: The completion ends once its text has one of these; it is not cut here.
    """

    def __init__(
        self,
        prompt: Sequence[int],
        decode: Callable[[Sequence[int]], str],
        stop: Sequence[str] = (),
    ) -> None:
        self.prompt = list(prompt)
        self.count = 0
        """How many tokens have been generated, one that ends the completion included."""
        self.finish_reason = "length"
        self.over = False
        self._detokenizer = Detokenizer(decode, self.prompt)
        self._pieces: list[str] = []
        self._stop = stop
        self._reach = max(map(len, stop), default=1) - 1
        """How many characters of a stop may have come before the newest piece."""
        self._tail = ""

    @property
    def text(self) -> str:
        """The text so far."""
        return "".join(self._pieces)

    @property
    def usage(self) -> dict[str, int]:
        """Counts of tokens."""
        return {
            "prompt_tokens": len(self.prompt),
            "completion_tokens": self.count,
            "total_tokens": len(self.prompt) + self.count,
        }

    def take(self, token: int, *, is_end: bool) -> str:
        """Take the next token; return the text that is certain with it."""
        self.count += 1
        if is_end:  # it has no text, whether the tokenizer calls it special or not
            self.over, self.finish_reason = True, "stop"
            return ""
        return self._add(self._detokenizer.feed(token))

    def cancel(self) -> None:
        """End here, because nobody waits for more."""
        if not self.over:
            self.over, self.finish_reason = True, "cancelled"

    def finish(self) -> str:
        """Take no more tokens; return the text that is left."""
        self.over = True
        return self._add(self._detokenizer.finish())

    def _add(self, piece: str) -> str:
        if piece:
            self._pieces.append(piece)
            if self._stop:
                seen = self._tail + piece
                if any(one in seen for one in self._stop):
                    self.over, self.finish_reason = True, "stop"
                self._tail = seen[-self._reach :] if self._reach else ""
        return piece
