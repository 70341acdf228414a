"""Scrubbing: secrets are masked in the texts of an error before anybody sees it."""

from __future__ import annotations

import re
import traceback
from collections.abc import Iterable, Iterator
from typing import Any

from langchain_wrap.pipeline.secrets import MASK, SHORTEST

# What built-in errors show besides their args; it is not in their __dict__.
_BUILT_IN = ("strerror", "filename", "filename2", "msg", "name", "path", "text", "object", "reason")


def scrub(error: BaseException, secrets: Iterable[str]) -> BaseException:
    """Mask secrets in an error and in the errors behind it, in place; return the error.

    Where an error shows a secret from a place that cannot be written, another error with its
    masked text is returned, of the same class where that is possible.
    """
    found = sorted({s for s in secrets if len(s) >= SHORTEST}, key=len, reverse=True)
    if not found:
        return error
    pattern = re.compile("|".join(map(re.escape, found)))
    seen: set[int] = set()
    queue = [error]
    while queue:
        current = queue.pop()
        if id(current) not in seen:
            seen.add(id(current))
            queue += _scrub_one(current, pattern)
    if not any(pattern.search(line) for line in traceback.format_exception_only(error)) and (
        not pattern.search(repr(error))
    ):
        return error
    return _replacement(error, pattern)


def _scrub_one(error: BaseException, pattern: re.Pattern[str]) -> Iterator[BaseException]:
    """Mask one error's own texts; yield the errors that it holds."""
    yield from (e for e in (error.__cause__, error.__context__) if e is not None)
    if isinstance(error, BaseExceptionGroup):
        yield from error.exceptions
    yield from (e for e in error.args if isinstance(e, BaseException))
    args = _clean(error.args, pattern)
    if args != error.args:
        error.args = args
    slots = [slot for kind in type(error).__mro__ for slot in getattr(kind, "__slots__", ())]
    for name in (*getattr(error, "__dict__", {}), *_BUILT_IN, *slots):
        value = getattr(error, name, None)
        if isinstance(value, BaseException):
            yield value
            continue
        cleaned = _clean(value, pattern)
        if cleaned is not value:
            try:
                setattr(error, name, cleaned)
            except (AttributeError, TypeError):
                continue


def _clean(value: Any, pattern: re.Pattern[str]) -> Any:
    """Return `value` itself where it holds no secret."""
    if isinstance(value, str):
        return pattern.sub(MASK, value) if pattern.search(value) else value
    if isinstance(value, bytes):
        text = value.decode("latin-1")
        return pattern.sub(MASK, text).encode("latin-1") if pattern.search(text) else value
    if type(value) in (list, tuple):
        cleaned = type(value)(_clean(inner, pattern) for inner in value)
        return cleaned if any(a is not b for a, b in zip(cleaned, value, strict=True)) else value
    if type(value) is dict:
        cleaned = {key: _clean(inner, pattern) for key, inner in value.items()}
        return cleaned if any(cleaned[key] is not value[key] for key in value) else value
    return value


def _replacement(error: BaseException, pattern: re.Pattern[str]) -> BaseException:
    text = pattern.sub(MASK, str(error))
    try:
        if isinstance(error, BaseExceptionGroup):
            text = pattern.sub(MASK, error.message)
            new: BaseException = type(error)(text, error.exceptions)
        else:
            new = type(error)(text)
        if pattern.search(str(new)) or pattern.search(repr(new)):
            raise ValueError
    except Exception:
        new = RuntimeError(f"{type(error).__name__}: {text}")
    return new.with_traceback(error.__traceback__)
