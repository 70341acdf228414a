"""The errors of this package; a model's own failures use langchain-core's tree.

```
langchain_core.exceptions.ModelError
├── ModelRateLimitError
│   └── QueueFullError        more calls wait than `max_queued` allows
├── CommandError              a program that serves as a model has failed
├── ModelTimeoutError         a `timeout` (total, first token, idle) has passed
└── ContextOverflowError      the prompt is longer than the model's context
ImportError
└── MissingExtraError         an optional dependency is not installed
```

A mistake in how a model is written or called is a `TypeError` or `ValueError` that names it.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from langchain_core.exceptions import ModelError, ModelRateLimitError

__all__ = ["CommandError", "MissingExtraError", "QueueFullError", "did_you_mean"]


class QueueFullError(ModelRateLimitError):
    """As many calls as `max_queued` allows are waiting for the model already."""


class CommandError(ModelError):
    """A program that serves as a model could not be started, or has failed.

    Args:
        message: What happened.
        returncode: Its exit code, if it has ended; negative: the signal that ended it.
        stderr: The tail of what it wrote to stderr.
        partial_text: What of the completion had come.
    """

    def __init__(
        self,
        message: str,
        *,
        returncode: int | None = None,
        stderr: str = "",
        partial_text: str = "",
    ) -> None:
        super().__init__(message)
        self.returncode = returncode
        self.stderr = stderr
        self.partial_text = partial_text


class MissingExtraError(ImportError):
    """A feature needs an extra of this package that is not installed."""

    def __init__(self, what: str, extra: str) -> None:
        super().__init__(f"{what} needs an extra: pip install 'langchain-wrap[{extra}]'")


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return ` Did you mean 'x'?` for the known name nearest to `name`, or an empty string."""
    nearest = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f" Did you mean {nearest[0]!r}?" if nearest else ""
