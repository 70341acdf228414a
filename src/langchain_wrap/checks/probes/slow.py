"""Slowing down: blocking methods take longer, and async ones stay as they are.

A pause before an async method would be awaited outside of it, where its author's code has no part
in what becomes of the call; a blocking method that an async one waits for is inside.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterator
from typing import Any

from langchain_wrap.checks.probes.spy import ASYNC, STREAMS


def slowed(seconds: float) -> Callable[[str, Callable[..., Any]], Callable[..., Any]]:
    """Return what makes blocking methods longer, for `Spy.around`."""

    def around(name: str, method: Callable[..., Any]) -> Callable[..., Any]:
        if name in ASYNC or not seconds:
            return method

        def stream(*args: Any, **kwargs: Any) -> Iterator[Any]:
            time.sleep(seconds)
            yield from method(*args, **kwargs)

        def call(*args: Any, **kwargs: Any) -> Any:
            time.sleep(seconds)
            return method(*args, **kwargs)

        return functools.wraps(method)(stream if name in STREAMS else call)

    return around
