"""Interleaving: lets threads change places between any two lines of a model's own code.

A race that a server with many users meets once a day is met here at once: what one call keeps on
`self` between two lines, another call of the same object changes.
"""

from __future__ import annotations

import functools
import inspect
import sys
import time
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

from langchain_wrap.checks.probes.spy import ASYNC, STREAMS

_LINES = 200
"""After how many lines a call runs on undisturbed: what is later is left to chance."""

_PAUSE = 1e-5
"""Seconds at a line: enough that another thread goes on, too little to be felt."""


def module_of(method: Callable[..., Any]) -> str:
    """Return the module in which a method's code stands."""
    function = inspect.unwrap(method)
    return str(getattr(function, "__module__", "") or "")


def interleaved(name: str, method: Callable[..., Any]) -> Callable[..., Any]:
    """Return a blocking method with pauses between the lines of its author's package."""
    root = module_of(method).partition(".")[0]
    if name in ASYNC or not root:
        return method
    if name in STREAMS:

        def stream(*args: Any, **kwargs: Any) -> Iterator[Any]:
            pauses = _Pauses(root)
            with pauses:
                chunks = iter(method(*args, **kwargs))
            try:
                while True:
                    with pauses:
                        try:
                            chunk = next(chunks)
                        except StopIteration:
                            return
                    yield chunk
            finally:
                close = getattr(chunks, "close", None)
                if close is not None:
                    close()

        return functools.wraps(method)(stream)

    def call(*args: Any, **kwargs: Any) -> Any:
        with _Pauses(root):
            return method(*args, **kwargs)

    return functools.wraps(method)(call)


class _Pauses:
    """A trace function that pauses at lines, and the time for which it is in force."""

    def __init__(self, root: str) -> None:
        self._root = root
        self._left = _LINES
        self._before: Any = None

    def __enter__(self) -> None:
        self._before = sys.gettrace()
        if self._left > 0:
            sys.settrace(self._trace)

    def __exit__(self, *_: object) -> None:
        sys.settrace(self._before)

    def _trace(self, frame: FrameType, event: str, _: Any) -> Any:
        if event == "call":
            name = str(frame.f_globals.get("__name__", ""))
            return self._trace if name.partition(".")[0] == self._root else None
        if event == "line" and self._left > 0:
            self._left -= 1
            time.sleep(_PAUSE)
        return self._trace if self._left > 0 else None
