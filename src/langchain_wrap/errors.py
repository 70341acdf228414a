"""The errors of this package; a model's own failures use langchain-core's tree.

```
langchain_core.exceptions.ModelError
├── ModelRateLimitError
│   └── QueueFullError        more calls wait than `max_queued` allows
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

from langchain_core.exceptions import ModelRateLimitError

__all__ = ["MissingExtraError", "QueueFullError", "did_you_mean"]


class QueueFullError(ModelRateLimitError):
    """As many calls as `max_queued` allows are waiting for the model already."""


class MissingExtraError(ImportError):
    """A feature needs an extra of this package that is not installed."""

    def __init__(self, what: str, extra: str) -> None:
        super().__init__(f"{what} needs an extra: pip install 'langchain-wrap[{extra}]'")


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return ` Did you mean 'x'?` for the known name nearest to `name`, or an empty string."""
    nearest = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f" Did you mean {nearest[0]!r}?" if nearest else ""
