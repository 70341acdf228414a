"""Held: an engine, for as long as there is an object that would use it.

An object takes part from its construction on, not from its first call: what langchain-core makes
for a call with `configurable_fields` is an object of its own that ends with the call, and the
engine that it has loaded must be there for the next one.
"""

from __future__ import annotations

import weakref
from collections.abc import Hashable
from typing import Any, Generic, Self, TypeVar

E = TypeVar("E")


class Held(Generic[E]):
    """What all objects that name the same share.

    Args:
        named: What they name: the model, and what it is loaded with.
    """

    def __init__(self, named: Any = None) -> None:
        self.named = named
        self.engine: E | None = None
        """None until it is loaded."""

    def __reduce__(self) -> tuple[type[Self], tuple[()]]:
        return type(self), ()  # a pickle finds its own, by what it names

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Held)  # no part of what makes two models equal

    def __hash__(self) -> int:
        return hash(Held)


def hold(key: Hashable, named: Any) -> Held[Any]:
    """Return what is held under a key; it is let go with the last object that keeps it."""
    # Two threads at once may get one each. Both then hold the same engine, which is all it is for.
    return _held.setdefault(key, Held(named))


_held: weakref.WeakValueDictionary[Hashable, Held[Any]] = weakref.WeakValueDictionary()
