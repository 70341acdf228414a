"""Facts: what a stream says about itself, and whether adding up its chunks has spoilt it."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Mapping, Sequence
from typing import Any

_TEXTS = frozenset(
    {"finish_reason", "done_reason", "stop_reason", "model_name", "model", "model_id", "id",
     "system_fingerprint", "object", "created_at", "service_tier"}
)  # fmt: skip
"""Keys under which a text is one fact, so that two of them together make no sense."""

_COUNTS = 4
"""Growing counts that it takes to tell a running total from parts."""


def leaves(info: Mapping[str, Any], under: tuple[str, ...] = ()) -> dict[tuple[str, ...], Any]:
    """Return the values of nested dicts that are known, by their paths of keys."""
    found: dict[tuple[str, ...], Any] = {}
    for key, value in info.items():
        if isinstance(value, Mapping):
            found.update(leaves(value, (*under, str(key))))
        elif value is not None and value != "":
            found[*under, str(key)] = value
    return found


def names(llm: Any) -> frozenset[str]:
    """Return what a model is known to be called, and the usual reasons to finish."""
    known = {getattr(llm, name, None) for name in ("model_name", "model", "model_id")}
    return frozenset(
        {"stop", "length", "end_turn", *(name for name in known if isinstance(name, str) and name)}
    )


def doubled(
    info: Mapping[str, Any], chunks: Sequence[Mapping[str, Any]], known: Collection[str]
) -> dict[tuple[str, ...], Any]:
    """Return the facts of a whole answer that are those of several chunks, put together.

    Args:
        info: What the end of the stream reports.
        chunks: What each chunk reported; empty dicts where that is not known.
        known: Values which say by themselves that their repetition is no fact.
    """
    parts = [leaves(chunk) for chunk in chunks]
    found: dict[tuple[str, ...], Any] = {}
    for key, value in leaves(info).items():
        said = [part[key] for part in parts if key in part]
        if isinstance(value, str) and key[-1] in _TEXTS:
            joined = len(said) > 1 and value == "".join(map(str, said)) and value not in said
            repeated = any(value == one * (len(value) // len(one)) != one for one in known)
            if joined or repeated:
                found[key] = value
        elif isinstance(value, list) and key[-1] in _TEXTS:
            if len(value) > 1 and all(one == value[0] for one in value):
                found[key] = value
        elif isinstance(value, int) and not isinstance(value, bool) and len(said) >= _COUNTS:
            numbers = [one for one in said if isinstance(one, int)]
            grows = all(a < b for a, b in itertools.pairwise(numbers))
            if len(numbers) == len(said) and grows and value > numbers[-1]:
                found[key] = value
    return found


def assertions(found: Mapping[tuple[str, ...], Any]) -> list[str]:
    """Return lines that fail as long as `info` has one of these facts."""
    lines = []
    for key, value in found.items():
        at = "info" + "".join(f"[{part!r}]" for part in key)
        lines.append(f"assert {at} != {value!r}, {at}")
    return lines
