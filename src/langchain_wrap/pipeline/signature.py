"""Signatures: what an author's method takes, read once."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

from langchain_wrap.errors import did_you_mean

OFFERED = frozenset({"stop", "run_manager", "cancel"})
"""What the pipeline hands to a method that has a parameter of that name."""


class Signature(NamedTuple):
    """What a method takes besides the prompt."""

    offered: frozenset[str]
    """Which of `stop`, `run_manager` and `cancel` it takes."""
    parameters: tuple[str, ...]
    """Call parameters that it takes by name."""
    required: tuple[str, ...]
    """Those of them without a default."""
    open: bool
    """Whether it takes any other call parameter too (`**kwargs`)."""

    @classmethod
    def of(cls, function: Callable[..., Any]) -> Signature:
        """Read a function's signature; its first parameter is the prompt.

        Raises:
            TypeError: It takes no prompt.
        """
        about = getattr(function, "__wrapped__", None)
        if inspect.ismethod(about) and not inspect.ismethod(function):
            function = about  # a wrapper made for one call, kept here, would keep the model
        return _read(getattr(function, "__func__", function), inspect.ismethod(function))

    def check(self, label: str, parameters: Mapping[str, object]) -> None:
        """Refuse call parameters that the method does not take.

        Raises:
            TypeError: One is unknown; the message names those that are taken.
        """
        for name in parameters:
            if name in ("run_manager", "cancel"):
                raise TypeError(f"{label} is given {name!r} by us; it is no parameter of a call")
            if not self.open and name not in self.parameters:
                known = ", ".join(self.parameters) or "none"
                raise TypeError(
                    f"{label} takes no parameter {name!r}. It takes: {known}."
                    f"{did_you_mean(name, self.parameters)}"
                )


@lru_cache(maxsize=1024)
def _read(function: Callable[..., Any], bound: bool) -> Signature:
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except ValueError:  # some built-in functions tell nothing about themselves
        return Signature(frozenset(), (), (), open=False)
    if bound:
        parameters = parameters[1:]
    positional = (
        inspect.Parameter.POSITIONAL_ONLY,
        inspect.Parameter.POSITIONAL_OR_KEYWORD,
        inspect.Parameter.VAR_POSITIONAL,
    )
    if not parameters or parameters[0].kind not in positional:
        raise TypeError(
            f"{getattr(function, '__qualname__', function)!s} takes no prompt; its first "
            "parameter must be the prompt, given by position"
        )
    rest = parameters if parameters[0].kind == inspect.Parameter.VAR_POSITIONAL else parameters[1:]
    named = [
        p
        for p in rest
        if p.kind in (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    ]
    own = [p for p in named if p.name not in OFFERED]
    return Signature(
        offered=OFFERED & {p.name for p in named},
        parameters=tuple(p.name for p in own),
        required=tuple(p.name for p in own if p.default is inspect.Parameter.empty),
        open=any(p.kind == inspect.Parameter.VAR_KEYWORD for p in rest),
    )


def does(model: Any) -> frozenset[str]:
    """Return what a model's `_chat` does itself: what it names of these in its signature."""
    known = {"tools", "tool_choice", "parallel_tool_calls", "json_schema"}
    return frozenset(known & {*Signature.of(model._method("_chat")).parameters})
