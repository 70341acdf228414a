"""The events of `astream_events`, in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def describe_event(event: Mapping[str, Any]) -> str:
    """Return what one event of `astream_events` carries, in a few words."""
    data = event["data"]
    if "chunk" in data:
        return repr(getattr(data["chunk"], "text", data["chunk"]))
    if "output" not in data:
        return repr(data.get("input"))
    output = data["output"]
    try:
        generation = output["generations"][0][0]
    except (TypeError, KeyError, IndexError):
        return repr(output)
    return f"{generation['text']!r} {generation.get('generation_info') or ''}".rstrip()
