"""Travel: how the resources in a model's fields fare when it is copied or sent elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from langchain_core.rate_limiters import InMemoryRateLimiter

_SHARED = ("cache", "rate_limiter", "callbacks")


class _Limiter(NamedTuple):
    """An `InMemoryRateLimiter` by its settings: its lock cannot be pickled."""

    settings: dict[str, Any]


_SETTINGS = ("requests_per_second", "check_every_n_seconds", "max_bucket_size")


def pack(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return fields in a form that pickle takes."""
    limiter = fields.get("rate_limiter")
    if type(limiter) is not InMemoryRateLimiter:
        return dict(fields)
    return {
        **fields,
        "rate_limiter": _Limiter({name: getattr(limiter, name) for name in _SETTINGS}),
    }


def unpack(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Undo `pack`; a limiter starts anew, since processes do not share one."""
    limiter = fields.get("rate_limiter")
    if not isinstance(limiter, _Limiter):
        return dict(fields)
    return {**fields, "rate_limiter": InMemoryRateLimiter(**limiter.settings)}


def share(fields: Mapping[str, Any], memo: dict[int, Any]) -> None:
    """Have a deep copy keep the resources that are meant to be shared, not double them."""
    for name in _SHARED:
        value = fields.get(name)
        if value is not None:
            memo[id(value)] = value
