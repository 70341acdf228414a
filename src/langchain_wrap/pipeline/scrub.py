"""Scrubbing: secrets are masked in the texts of an error before anybody sees it."""

from __future__ import annotations

import re
import traceback
from collections.abc import Iterable
from typing import Any

from langchain_wrap.pipeline.secrets import MASK, SHORTEST

# What built-in errors show besides their args; it is not in their __dict__.
_BUILT_IN = ("strerror", "filename", "filename2", "msg", "name", "path", "text", "object", "reason")


def scrub(error: BaseException, secrets: Iterable[str]) -> BaseException:
    """Mask secrets in an error and in the errors behind it, in place; return the error.

    Where an error shows a secret from a place that cannot be written, another error with its
    masked text takes its place, of the same class where that is possible.
    """
    found = sorted({s for s in secrets if len(s) >= SHORTEST}, key=len, reverse=True)
    if not found:
        return error
    return _Scrubber(re.compile("|".join(map(re.escape, found)))).scrub(error)


class _Scrubber:
    def __init__(self, pattern: re.Pattern[str]) -> None:
        self._pattern = pattern
        self._done: dict[int, BaseException] = {}

    def scrub(self, error: BaseException) -> BaseException:
        if id(error) in self._done:
            return self._done[id(error)]
        self._done[id(error)] = error  # errors may refer to each other in a circle
        self._mask(error)
        clean = error
        if isinstance(error, BaseExceptionGroup):
            members = [self.scrub(member) for member in error.exceptions]
            if any(a is not b for a, b in zip(members, error.exceptions, strict=True)):
                clean = type(error)(error.message, members)
        if self._shows(clean):
            clean = self._replacement(clean)
        if clean is not error:
            clean.__traceback__ = error.__traceback__
        # Setting the cause suppresses the context, so that is set last.
        suppressed = error.__suppress_context__
        clean.__cause__ = None if error.__cause__ is None else self.scrub(error.__cause__)
        clean.__context__ = None if error.__context__ is None else self.scrub(error.__context__)
        clean.__suppress_context__ = suppressed
        self._done[id(error)] = clean
        return clean

    def _shows(self, error: BaseException) -> bool:
        lines = [repr(error), *traceback.format_exception_only(error)]
        return any(self._pattern.search(line) for line in lines)

    def _mask(self, error: BaseException) -> None:
        args = self._clean(error.args)
        if args is not error.args:
            error.args = args
        slots = [slot for kind in type(error).__mro__ for slot in getattr(kind, "__slots__", ())]
        for name in (*getattr(error, "__dict__", {}), *_BUILT_IN, *slots):
            value = getattr(error, name, None)
            cleaned = self._clean(value)
            if cleaned is not value:
                try:
                    setattr(error, name, cleaned)
                except (AttributeError, TypeError):
                    continue

    def _clean(self, value: Any) -> Any:
        """Return `value` itself where it holds no secret."""
        if isinstance(value, str):
            return self._pattern.sub(MASK, value) if self._pattern.search(value) else value
        if isinstance(value, bytes):
            text = value.decode("latin-1")
            found = self._pattern.search(text)
            return self._pattern.sub(MASK, text).encode("latin-1") if found else value
        if isinstance(value, BaseException):
            return self.scrub(value)
        if type(value) in (list, tuple):
            items = type(value)(self._clean(inner) for inner in value)
            return items if any(a is not b for a, b in zip(items, value, strict=True)) else value
        if type(value) is dict:
            cleaned = {key: self._clean(inner) for key, inner in value.items()}
            return cleaned if any(cleaned[key] is not value[key] for key in value) else value
        return value

    def _replacement(self, error: BaseException) -> BaseException:
        text = self._pattern.sub(MASK, str(error))
        try:
            if isinstance(error, BaseExceptionGroup):
                text = self._pattern.sub(MASK, error.message)
                new: BaseException = type(error)(text, error.exceptions)
            else:
                new = type(error)(text)
            if not self._shows(new):
                return new
        except Exception:  # its class takes other arguments
            return RuntimeError(f"{type(error).__name__}: {text}")
        return RuntimeError(f"{type(error).__name__}: {text}")
