"""A marked key: where it shows, it was not kept secret.

Only copies of the model hold it, and messages say where it was found, never in what: a key of the
user's may stand beside it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from langchain_core.language_models.llms import BaseLLM
from langchain_core.load import dumpd, dumps
from langchain_core.tracers.run_collector import RunCollectorCallbackHandler
from pydantic import SecretBytes, SecretStr

from langchain_wrap.checks.probes.fields import declared, secret_of
from langchain_wrap.checks.probes.fields import words as words_of
from langchain_wrap.checks.probes.trace import Trace

KEY = "sk-checks-3f9a71c04d5e8b26"
"""The marked key."""

_CONTAINERS = frozenset({"kwargs", "params", "options", "extra", "body", "config", "settings"})
"""Last words of names of dicts that are passed on to a service, with headers among them."""


def secret(annotation: Any) -> SecretStr | SecretBytes:
    """Return the marked key in the secret type that a field allows."""
    return SecretBytes(KEY.encode()) if secret_of(annotation) is SecretBytes else SecretStr(KEY)


def headers(llm: BaseLLM) -> dict[str, Any]:
    """Return marked values for the author's fields that hold headers, or may."""
    marked = {"Authorization": f"Bearer {KEY}", "X-Api-Key": KEY}
    found: dict[str, Any] = {}
    for name, field in declared(llm).items():
        value = getattr(llm, name, None)
        if not isinstance(value, Mapping) and not re.search(r"\b[dD]ict|Mapping", str(field)):
            continue
        known = value if isinstance(value, Mapping) else {}
        last = words_of(name)[-1:]
        if last in (["header"], ["headers"]):
            found[name] = {**known, **marked}
        elif _CONTAINERS.intersection(last):
            found[name] = {**known, "headers": marked}
    return found


def shown_by(llm: BaseLLM) -> list[str]:
    """Return the ways to look at an object that show the marked key, as Python."""
    ways: dict[str, Callable[[], Any]] = {
        "repr(llm)": lambda: repr(llm),
        "str(llm)": lambda: str(llm),
        "llm._identifying_params": lambda: llm._identifying_params,
        "llm.asdict()": llm.asdict,
        "llm.to_json()": llm.to_json,
        "dumpd(llm)": lambda: dumpd(llm),
        "dumps(llm)": lambda: dumps(llm),
    }
    found = []
    for way, look in ways.items():
        try:
            seen = look()
        except Exception as error:  # what cannot be had shows nothing
            del error
            continue
        if holds(seen):
            found.append(way)
    return found


def holds(thing: Any) -> bool:
    """Whether the texts that stand for a thing show the marked key."""
    return any(KEY in text for text in _texts(thing))


def _texts(thing: Any) -> Iterator[str]:
    for show in (repr, str, lambda one: json.dumps(one, default=repr)):
        try:
            yield show(thing)
        except Exception as error:  # not of this form
            del error


def told(trace: Trace, runs: RunCollectorCallbackHandler, *, of: Iterable[str]) -> Iterator[str]:
    """Yield where callbacks of a call were told the marked key.

    Args:
        trace: What the kit's own handler was told.
        runs: What a tracer of langchain-core was told.
        of: Which callbacks to look at: `start`, `token`, `end`, `error`.
    """
    kinds = set(of)
    for mark in trace.marks:
        if mark.kind not in kinds:
            continue
        name = f"on_llm_{'new_token' if mark.kind == 'token' else mark.kind}"
        if holds(mark.payload) or KEY in mark.text:
            yield f"{name} in {_PAYLOADS.get(mark.kind, 'the payload')}"
        for detail, value in (mark.details or {}).items():
            if holds(value):
                yield f"{name} in {detail}"
    parts = _RUN_PARTS if "error" not in kinds else ("error",)
    for run in runs.traced_runs:
        for part in parts:
            if holds(getattr(run, part, None)):
                yield f"the trace in its {part}"


_PAYLOADS = {"start": "prompts", "token": "chunk", "end": "response", "error": "the error"}
_RUN_PARTS = ("inputs", "outputs", "extra", "serialized", "tags", "events")


def unique(places: Iterable[str]) -> list[str]:
    """Return places without repetition, in their order."""
    return list(dict.fromkeys(places))
