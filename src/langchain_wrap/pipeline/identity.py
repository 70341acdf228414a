"""Identity: what tells one configured model from another, as plain JSON values.

It serves `_identifying_params` (which people and traces read) and the key of the cache, which must
differ wherever the completion may differ. Secrets are left out of both: a key says who asks, not
what is asked.
"""

from __future__ import annotations

import dataclasses
import enum
import functools
import hashlib
import itertools
import json
import math
import os
import types
import weakref
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

from pydantic import BaseModel, SecretBytes, SecretStr

from langchain_wrap.pipeline.secrets import MASK, clean_url, is_header_name, is_secret_name

DEEPEST = 12
"""Containers nested deeper are told apart by object, not by content."""

_serial = itertools.count(1)
_memo: dict[int, tuple[weakref.ref[Any], str]] = {}


def describe(value: Any, name: str = "", depth: int = 0) -> Any:
    """Return JSON values that stand for `value`: equal where it is equal, in any process.

    A function is told apart by its name, its code and its closure, as they are when it is first
    described. An object that has no content to describe is told apart by object, for as long as
    this process lives.
    """
    if isinstance(value, SecretStr | SecretBytes) or (value and is_secret_name(name)):
        return value if isinstance(value, int | float) else MASK
    if isinstance(value, enum.Enum):
        return describe(value.value, name, depth + 1)
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, str):
        return clean_url(str(value))
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, PurePath):
        return clean_url(str(value))
    if isinstance(value, bytes | bytearray):
        return "bytes:" + _digest(bytes(value))
    if isinstance(value, type):
        return _name(value)
    if depth < DEEPEST:
        described = _describe_container(value, name, depth + 1)
        if described is not None:
            return described
    return _remembered(value)


def _describe_container(value: Any, name: str, depth: int) -> Any:
    if isinstance(value, Mapping):
        headers = is_header_name(name)
        items = {
            str(key): _header(str(key), inner) if headers else describe(inner, str(key), depth)
            for key, inner in value.items()
        }
        return dict(sorted(items.items()))
    if isinstance(value, list | tuple):
        return [describe(inner, name, depth) for inner in value]
    if isinstance(value, set | frozenset):
        return sorted((describe(inner, name, depth) for inner in value), key=canonical)
    if isinstance(value, BaseModel):
        fields = {
            key: describe(getattr(value, key), key, depth) for key in type(value).model_fields
        }
        return {"type": _name(type(value)), **fields}
    if dataclasses.is_dataclass(value):
        fields = {
            f.name: describe(getattr(value, f.name), f.name, depth)
            for f in dataclasses.fields(value)
        }
        return {"type": _name(type(value)), **fields}
    if isinstance(value, functools.partial):
        return {
            "function": describe(value.func, "", depth),
            "args": describe(value.args, "", depth),
            "kwargs": describe(value.keywords, "", depth),
        }
    if isinstance(value, types.MethodType):
        return {
            "function": describe(value.__func__, "", depth),
            "self": describe(value.__self__, "", depth),
        }
    return None


def _header(name: str, value: Any) -> Any:
    """A header may choose the model, so it counts, but only its digest is shown."""
    if is_secret_name(name):
        return MASK
    return "digest:" + _digest(str(value).encode())


def _remembered(value: Any) -> str:
    """Describe a function, or an object without content, once; then keep to it."""
    known = _memo.get(id(value))
    if known is not None and known[0]() is value:
        return known[1]
    if isinstance(value, types.FunctionType):
        text = f"{_name(value)}@{_digest(canonical(_function(value)).encode())}"
    elif isinstance(value, types.BuiltinFunctionType):
        return _name(value)
    else:
        text = f"{_name(type(value))}#{os.getpid()}-{next(_serial)}"
    key = id(value)
    try:
        _memo[key] = (weakref.ref(value, lambda _: _memo.pop(key, None)), text)
    except TypeError:  # no weak references to it: its address must do
        return f"{_name(type(value))}#{os.getpid()}-{id(value):x}"
    return text


def _function(function: types.FunctionType) -> Any:
    cells = [_cell(cell) for cell in function.__closure__ or ()]
    return [
        _code(function.__code__),
        describe(function.__defaults__),
        describe(function.__kwdefaults__),
        describe(cells, "", DEEPEST - 3),
    ]


def _cell(cell: types.CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # empty
        return None


def _code(code: types.CodeType) -> Any:
    constants = [_code(c) if isinstance(c, types.CodeType) else repr(c) for c in code.co_consts]
    return [code.co_code.hex(), constants, list(code.co_names)]


def _name(thing: Any) -> str:
    module = getattr(thing, "__module__", None) or "builtins"
    return f"{module}.{getattr(thing, '__qualname__', type(thing).__qualname__)}"


def _digest(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=8).hexdigest()


def canonical(value: Any) -> str:
    """Return one text for described values, whatever the order of their keys."""
    return json.dumps(value, sort_keys=True, ensure_ascii=True, default=str)


class Configuration:
    """The described fields of one model, without what the model changes itself.

    A model may count its calls in a field. Such a change, made during a call, is state and not
    configuration: the field keeps the description that it had before, until somebody else
    changes it.
    """

    def __init__(self) -> None:
        self._own: dict[str, tuple[Any, Any]] = {}

    def read(self, described: dict[str, Any]) -> dict[str, Any]:
        """Return the configuration for these described fields."""
        configuration = dict(described)
        for name, (before, left) in list(self._own.items()):
            if described.get(name) == left:
                configuration[name] = before
            else:
                self._own.pop(name, None)
        return configuration

    def after(
        self, before: dict[str, Any], described: dict[str, Any], configuration: dict[str, Any]
    ) -> None:
        """Note how a call has left the fields that were described as `before`."""
        for name, value in described.items():
            if value != before.get(name):
                self._own[name] = (configuration[name], value)
