"""Templates: JSON values, or lines of text, in which `{name}` stands for a value.

Only a name in braces counts: other braces stay as they are, and `{{name}}` stands for `{name}`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

_NAME = re.compile(r"\{(\{\w+\})\}|\{([A-Za-z_]\w*)\}")
_ABSENT: Any = object()


def names(template: Any) -> frozenset[str]:
    """Return the names that a template asks for."""
    return frozenset(name for text in _texts(template) for name in _names(text))


def within_text(template: Any, name: str) -> bool:
    """Whether a name stands anywhere within a longer string, where only text can be put in."""
    return any(name in _names(text) and text != f"{{{name}}}" for text in _texts(template))


def _names(text: str) -> Iterator[str]:
    return (name for _, name in _NAME.findall(text) if name)


def _texts(template: Any) -> Iterator[str]:
    if isinstance(template, str):
        yield template
    elif isinstance(template, Mapping):
        for value in (*template, *template.values()):
            yield from _texts(value)
    elif isinstance(template, list | tuple):
        for value in template:
            yield from _texts(value)


def fill(template: Any, values: Mapping[str, Any]) -> Any:
    """Return a template's value with its names replaced by values.

    A string that is one name alone becomes the value itself, of whatever type; within a longer
    string, and in the keys of a mapping, the value's text is put in. An entry of a mapping or list
    whose name has no value is left out, so that the other side's own default counts; None stands
    for a whole left out.
    """
    filled = _fill(template, values)
    return None if filled is _ABSENT else filled


def _fill(template: Any, values: Mapping[str, Any]) -> Any:
    if isinstance(template, str):
        return _fill_text(template, values)
    if isinstance(template, Mapping):
        pairs = ((_fill_key(k, values), _fill(v, values)) for k, v in template.items())
        return {k: v for k, v in pairs if k is not _ABSENT and v is not _ABSENT}
    if isinstance(template, list | tuple):
        return [v for v in (_fill(one, values) for one in template) if v is not _ABSENT]
    return template


def _fill_key(template: Any, values: Mapping[str, Any]) -> Any:
    filled = _fill(template, values)
    return filled if filled is _ABSENT or not isinstance(template, str) else as_text(filled)


def _fill_text(template: str, values: Mapping[str, Any]) -> Any:
    if not all(name in values for name in _names(template)):
        return _ABSENT
    whole = _NAME.fullmatch(template)
    if whole and whole[2]:
        return values[whole[2]]
    return _NAME.sub(lambda m: m[1] or as_text(values[m[2]]), template)


def merge(template: Any, more: Mapping[str, Any]) -> Any:
    """Return a mapping with another's entries added, mappings within mappings likewise."""
    merged = dict(template)
    for key, value in more.items():
        both = isinstance(value, Mapping) and isinstance(merged.get(key), Mapping)
        merged[key] = merge(merged[key], value) if both else value
    return merged


def as_text(value: Any) -> str:
    """Return a value as it stands within text: itself, or as JSON if it is no text."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
