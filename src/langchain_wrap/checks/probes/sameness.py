"""Sameness: what tells one configured model from another, and whether that matters."""

from __future__ import annotations

import functools
import importlib
import inspect
import json
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from langchain_wrap.checks.clause import Failed, Skipped
from langchain_wrap.checks.probes.deadline import NoAnswer
from langchain_wrap.checks.probes.fields import declared, variant
from langchain_wrap.checks.probes.paths import script
from langchain_wrap.checks.shared import Shared, describe_error
from langchain_wrap.pipeline.core import legacy_dict
from langchain_wrap.wrapping import FunctionLLM

_NAMES = ("model", "model_name", "model_id", "model_path")


def params_of(model: Shared, llm: Any = None) -> dict[str, Any]:
    """Return the `_identifying_params` of the model, or of a copy of it.

    Raises:
        Skipped: They cannot be had.
    """
    try:
        found = model.run(lambda: (llm or model.llm)._identifying_params)
    except Exception:
        found = None
    if not isinstance(found, Mapping):
        raise Skipped(f"_identifying_params does not work, as {model.see('IDENTITY-02')} reports")
    return dict(found)


def snapshot(model: Shared, llm: Any = None) -> dict[str, str]:
    """Return the `_identifying_params` of the model, or of a copy, as they are now, as texts."""
    return _texts(params_of(model, llm))


def identity(model: Shared, llm: Any = None) -> dict[str, str]:
    """Return the `asdict()` of the model, or of a copy, as texts.

    Raises:
        Skipped: It cannot be had.
    """
    try:
        return _texts(model.run(lambda: legacy_dict(llm or model.llm)))
    except Exception:
        raise Skipped("asdict() does not work; see IDENTITY-01 and IDENTITY-02") from None


def _texts(params: Mapping[str, Any]) -> dict[str, str]:
    return {
        str(name): json.dumps(value, sort_keys=True, default=repr, skipkeys=True)
        for name, value in params.items()
    }


def names_of(llm: Any) -> dict[str, str]:
    """Return the author's fields with the name of a model, with their values."""
    found = {name: getattr(llm, name, None) for name in _NAMES if name in declared(llm)}
    return {name: value for name, value in found.items() if isinstance(value, str) and value}


def is_derived(name: str, own: str) -> bool:
    """Whether one name of a model can be recognised in another: a file's, for instance."""
    one, other = ("".join(filter(str.isalnum, text)).lower() for text in (name, own))
    return one in other or other in one


@dataclass(frozen=True)
class Difference:
    """What another value in a field does to the answer."""

    value: Any = None
    """The value; None if none has made a difference."""
    text: str = ""
    """The answer with it."""
    untold: str = ""
    """Why it cannot be told."""


def differences(
    model: Shared, names: list[str], values: dict[str, list[Any]]
) -> Iterator[tuple[str, Difference]]:
    """Yield what other values in fields do to the answer, as far as calls can be afforded.

    The first value is tried; if the model fails with it, the next one.

    Raises:
        Skipped: At the end, if it could not be told of a field; the text names these.
    """
    untold: dict[str, list[str]] = {}
    most = model.affordable(len(names))
    for number, name in enumerate(names):
        found = Difference(untold="a call takes too long to try them all")
        if number < most:
            found = difference(model, name, values[name])
            yield name, found
        if found.untold:
            untold.setdefault(found.untold, []).append(name)
    if untold:
        why = "; ".join(f"{', '.join(fields)} ({reason})" for reason, fields in untold.items())
        raise Skipped(f"whether the answer depends on these fields cannot be told: {why}")


def difference(model: Shared, name: str, values: list[Any]) -> Difference:
    """Return what other values in a field do to the answer."""
    return model.once(f"identity/{name}", lambda: _difference(model, name, values))


def _difference(model: Shared, name: str, values: list[Any]) -> Difference:
    if not model.deterministic:
        return Difference(untold="answers vary")
    own = model.text()
    for value in values:
        other = variant(model, cache=False, **{name: value})
        text = _text(model, other)
        if text is None:
            continue
        if text == own:
            return Difference()
        # What differs by chance must not be held against the model.
        steady = all(model.call("invoke", again=True).text == own for _ in range(2))
        if steady and _text(model, other) != own:
            return Difference(value, text)
        return Difference(untold="answers vary")
    return Difference(untold="the model fails with other values")


def _text(model: Shared, llm: Any) -> str | None:
    try:
        trace = model.call("invoke", llm=llm, edge=True)
    except Skipped:
        return None
    return trace.text if trace.error is None and isinstance(trace.text, str) else None


def lost_by_name(llm: Any) -> str | None:
    """Return why nothing could pickle a model: its code is in no place that has a name."""
    code: list[Any] = [type(llm)]
    if isinstance(llm, FunctionLLM):
        code += [f for f in map(_innermost, [llm.target]) if inspect.isfunction(f)]
    for thing in code:
        found: Any = None
        try:
            found = importlib.import_module(thing.__module__)
            for part in thing.__qualname__.split("."):
                found = getattr(found, part)
        except (ImportError, AttributeError):
            found = None
        if found is not thing and getattr(found, "target", None) is not thing:
            return (
                f"{thing.__qualname__} cannot be found in the module {thing.__module__} by its "
                "name, as pickle does; code that is defined in a function, or a lambda, is such"
            )
    return None


def _innermost(function: Any) -> Any:
    while isinstance(function, functools.partial):
        function = function.func
    return function


def duplicate(model: Shared, name: str, treat: Callable[[Any], Any], *lines: str) -> Any:
    """Return the copy of the model that `treat` makes.

    Raises:
        Failed: It raises; the message names the fields that are to blame.
    """
    with _quiet_about_parts():
        try:
            return model.run(lambda: treat(model.llm))
        except NoAnswer:
            raise
        except Exception as error:
            message = f"{name} raised {describe_error(error)}{_culprits(model.llm, treat)}"
            _let_go(error)
    raise Failed(message, script(*lines))


def _culprits(llm: Any, treat: Callable[[Any], Any]) -> str:
    private = getattr(llm, "__pydantic_private__", None) or {}
    found = []
    for name, value in {**llm.__dict__, **private}.items():
        try:
            treat(value)
        except Exception as error:
            found.append(f"{name} ({type(value).__name__})")
            _let_go(error)
    return f", because of {', '.join(found)}" if found else ""


@contextmanager
def _quiet_about_parts() -> Iterator[None]:
    """Hear nothing of objects that were copied in part, and fail when they are deleted."""
    hook = sys.unraisablehook
    sys.unraisablehook = lambda _: None
    try:
        yield
    finally:
        sys.unraisablehook = hook


def _let_go(error: BaseException) -> None:
    """Free what the frames of an error hold, now and not some time later."""
    traceback.clear_frames(error.__traceback__)
    error.__traceback__ = None
