"""The completion in what a program prints: after a banner and an echo, up to an end marker."""

from __future__ import annotations


class Completion:
    """Cuts the completion out of text that comes in pieces.

    Args:
        after: What comes up to and including this text is dropped. None: nothing is.
        echo: Dropped if the text begins with it; white space before either does not count.
        until: This text ends the completion. None: the end of the output does.
    """

    def __init__(self, *, after: str | None = None, echo: str = "", until: str | None = None):
        self._after = after
        self._echo = echo.lstrip()
        self._until = until
        self._held = ""
        self._begun = not self._echo
        self.ended = False
        """Whether the end marker has come."""

    def feed(self, piece: str) -> str:
        """Take a piece of output; return what of the completion is certain now."""
        if self.ended:
            return ""
        self._held += piece
        if self._after is not None:
            _, found, rest = self._held.partition(self._after)
            if not found:
                self._held = self._held[-len(self._after) :]  # it may have begun in there
                return ""
            self._after, self._held = None, rest
        if not self._begun and not self._strip_echo():
            return ""
        return self._released()

    def finish(self) -> str:
        """Return what was held back, at the end of the output.

        Raises:
            ValueError: The text that should come before the completion never came.
        """
        if self.ended:
            return ""
        if self._after is not None:
            raise ValueError(f"its output does not contain {self._after!r}")
        held, self._held = self._held, ""
        return held

    def _strip_echo(self) -> bool:
        """Drop the echo; return whether that is decided."""
        text = self._held.lstrip()
        if text.startswith(self._echo):
            self._held = text[len(self._echo) :]
        elif self._echo.startswith(text):
            return False
        self._begun = True
        return True

    def _released(self) -> str:
        if self._until is None:
            out, self._held = self._held, ""
            return out
        out, found, _ = self._held.partition(self._until)
        if found:
            self.ended, self._held = True, ""
            return out
        keep = next(
            size
            for size in range(min(len(self._until) - 1, len(self._held)), -1, -1)
            if self._until.startswith(self._held[len(self._held) - size :])
        )
        out = self._held[: len(self._held) - keep]
        self._held = self._held[len(out) :]
        return out
