"""Identity: what tells one configured model from another, as plain JSON values.

It serves `_identifying_params` (which people and traces read) and the key of the cache, which must
differ wherever the completion may differ. Secrets are masked in the first; the second holds their
digests, because what was answered to one customer's key is not for another's.
"""

from __future__ import annotations

import datetime
import decimal
import enum
import fractions
import hashlib
import itertools
import json
import math
import os
import re
import types
import uuid
import weakref
from collections import deque
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import PurePath
from typing import Any

from pydantic import SecretBytes, SecretStr

from langchain_wrap.pipeline.secrets import (
    DEEPEST,
    MASK,
    clean_url,
    fields_of,
    is_header_name,
    is_safe_header,
    is_secret,
)

_VALUES = (
    complex,
    datetime.date,
    datetime.time,
    datetime.timedelta,
    datetime.tzinfo,
    decimal.Decimal,
    fractions.Fraction,
    range,
    re.Pattern,
    slice,
    uuid.UUID,
)  # their repr tells the whole value

_serial = itertools.count(1)
_memo: dict[int, tuple[weakref.ref[Any], str]] = {}


def describe(value: Any, name: str = "", *, digest: bool = False, depth: int = 0) -> Any:
    """Return JSON values that stand for `value`: equal where it is equal, in any process.

    A function is told apart by its name, its code and its closure, as they are when it is first
    described. An object that has no content to describe (or stands too deep in containers) is told
    apart by object, for as long as this process lives.

    Args:
        value: What to describe.
        name: What it stands under; secrets are known by it.
        digest: Whether a secret is described by a digest; it is masked otherwise.
        depth: How deep in containers it stands.
    """
    if is_secret(value, name):
        return _digest_of(value) if digest else MASK
    if isinstance(value, enum.Enum):
        return describe(value.value, name, digest=digest, depth=depth + 1)
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else str(value)
    if isinstance(value, str | PurePath):
        text = str(value)
        clean = clean_url(text)
        return f"{clean} {_digest_of(text)}" if digest and clean != text else clean
    if isinstance(value, bytes | bytearray):
        return "bytes:" + _digest(bytes(value))
    if isinstance(value, _VALUES):
        return f"{_name(type(value))}:{value!r}"
    if isinstance(value, type):
        return _name(value)
    if depth < DEEPEST:
        described = _container(value, name, partial(describe, digest=digest, depth=depth + 1))
        if described is not None:
            return described
    return _remembered(value)


def _container(value: Any, name: str, inner: Callable[[Any, str], Any]) -> Any:
    """Describe what holds other values, each of them by `inner`; None for anything else."""
    if isinstance(value, Mapping):
        items = sorted(((str(key), each) for key, each in value.items()), key=lambda i: i[0])
        if is_header_name(name):
            return {k: inner(each, "" if is_safe_header(k) else "secret") for k, each in items}
        return {key: inner(each, key) for key, each in items}
    fields = fields_of(value)
    if fields is not None:
        return {"type": _name(type(value))} | {key: inner(v, key) for key, v in fields.items()}
    if isinstance(value, list | tuple | deque):
        return [inner(each, name) for each in value]
    if isinstance(value, set | frozenset):
        return sorted((inner(each, name) for each in value), key=canonical)
    if isinstance(value, partial):
        return {
            "function": inner(value.func, ""),
            "args": inner(value.args, ""),
            "kwargs": inner(value.keywords, ""),
        }
    if isinstance(value, types.BuiltinMethodType) and not isinstance(
        value.__self__, types.ModuleType | None
    ):
        return {"function": value.__qualname__, "self": inner(value.__self__, "")}
    if isinstance(value, types.MethodType):
        return {"function": inner(value.__func__, ""), "self": inner(value.__self__, "")}
    return None


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
    except TypeError:
        # No weak references to it, and its address may be used again: so it is another one each
        # time, and a cache may miss but never answer for another object.
        return text
    return text


def _function(function: types.FunctionType) -> Any:
    cells = [_cell(cell) for cell in function.__closure__ or ()]
    return [
        _code(function.__code__),
        describe(function.__defaults__),
        describe(function.__kwdefaults__),
        describe(cells, depth=DEEPEST - 3),
    ]


def _cell(cell: types.CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # empty
        return None


def _code(code: types.CodeType) -> Any:
    constants = [
        _code(constant) if isinstance(constant, types.CodeType) else describe(constant)
        for constant in code.co_consts
    ]
    return [code.co_code.hex(), constants, list(code.co_names)]


def _name(thing: Any) -> str:
    module = getattr(thing, "__module__", None) or "builtins"
    return f"{module}.{getattr(thing, '__qualname__', type(thing).__qualname__)}"


def _digest_of(value: Any) -> str:
    if isinstance(value, SecretStr | SecretBytes):
        value = value.get_secret_value()
    data = value if isinstance(value, bytes) else str(value).encode(errors="surrogatepass")
    return "digest:" + _digest(data)


def _digest(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=8).hexdigest()


def canonical(value: Any) -> str:
    """Return one text for described values, whatever the order of their keys."""
    return json.dumps(value, sort_keys=True)


class Configuration:
    """The described fields of one model, without what the model changes itself.

    A model may count its calls in a field. Such a change, made during a call, is state and not
    configuration: the field keeps the description that it had before, until somebody else
    changes it.
    """

    def __init__(self) -> None:
        self._own: dict[str, tuple[Any, Any]] = {}
        self._assigned: dict[str, int] = {}
        self.time = 0
        """Counts the assignments from outside."""

    def assign(self, name: str) -> None:
        """Note that somebody other than the model has assigned a field."""
        self.time += 1
        self._assigned[name] = self.time
        self._own.pop(name, None)

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
        self,
        before: dict[str, Any],
        described: dict[str, Any],
        configuration: dict[str, Any],
        time: int,
    ) -> None:
        """Note how a call, begun at `time`, has left the fields that were described as `before`."""
        for name, value in described.items():
            if value != before.get(name) and self._assigned.get(name, 0) <= time:
                self._own[name] = (configuration[name], value)
