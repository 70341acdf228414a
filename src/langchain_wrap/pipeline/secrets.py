"""Secrets: kept out of every text that leaves the model (repr, params, traces, errors).

What is typed `SecretStr` is a secret. So is text under a name that says so (`api_key`,
`Authorization`), text that looks like a key under a name that ends like one (`openai_key`), every
header that is not known to be harmless, and the password or key in a URL, because classes written
before `SecretStr` hold keys that way.
"""

from __future__ import annotations

import dataclasses
import re
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Any

from pydantic import BaseModel, SecretBytes, SecretStr

MASK = "**********"
SHORTEST = 4
"""A shorter secret is not looked for in error texts: it would match anywhere."""
DEEPEST = 12
"""Containers nested deeper are not looked into."""

_HARMLESS = frozenset({bool, float, int, type(None)})
_COLLECTIONS = (list, tuple, set, frozenset, deque)
_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")
_SECRET_WORDS = frozenset(
    {"apikey", "authorization", "bearer", "cookie", "cookies", "credential", "credentials", "jwt"}
    | {"passphrase", "passwd", "password", "pwd", "secret", "secrets"}
)
_KEYS = frozenset({"access", "account", "api", "auth", "encryption", "license", "master"}) | {
    "private", "secret", "signing", "subscription",
}  # fmt: skip
_TOKENS = frozenset({"access", "api", "auth", "bearer", "hf", "id", "personal", "refresh"}) | {
    "sas", "security", "session",
}  # fmt: skip
_SAFE_HEADERS = frozenset(
    {"accept", "accept-charset", "accept-encoding", "accept-language", "cache-control"}
    | {"connection", "content-encoding", "content-length", "content-type", "host", "te"}
    | {"user-agent"}
)
_LIKE_A_KEY = re.compile(r"(?=\S*\d)(?=\S*[A-Za-z])\S{8,}")
_USER_INFO = re.compile(r"(?<=://)[^/@\s]+(?=@)")
_QUERY_KEY = re.compile(
    r"(?<=[?&])((?:[\w-]*(?:key|token|secret|password|signature)|sig)=)([^&#\s]+)", re.I
)


@lru_cache(maxsize=4096)
def is_secret_name(name: str) -> bool:
    """Whether any text under this name is a secret (`api_key`, `X-Api-Key`, `hfToken`)."""
    words = [word.lower() for word in _WORDS.findall(name)]
    if not words:
        return False
    if _SECRET_WORDS & set(words) or words in (["token"], ["auth"]):
        return True
    before = words[-2] if len(words) > 1 else ""
    return (words[-1] == "key" and before in _KEYS) or (words[-1] == "token" and before in _TOKENS)


@lru_cache(maxsize=4096)
def _may_be_secret_name(name: str) -> bool:
    words = [word.lower() for word in _WORDS.findall(name)]
    return bool(words) and words[-1] in ("key", "token", "pat", "auth")


@lru_cache(maxsize=4096)
def is_header_name(name: str) -> bool:
    """Whether a mapping under this name holds HTTP headers."""
    return name.lower().rstrip("s").endswith("header")


def is_safe_header(name: object) -> bool:
    """Whether a header is known to be harmless."""
    return isinstance(name, str) and name.lower() in _SAFE_HEADERS


def is_secret(value: Any, name: str) -> bool:
    """Whether a single value, under this name, is a secret."""
    if not isinstance(value, (str, bytes)):
        return isinstance(value, (SecretStr, SecretBytes))
    if not value:
        return False
    if is_secret_name(name):
        return True
    return (
        isinstance(value, str) and _may_be_secret_name(name) and bool(_LIKE_A_KEY.fullmatch(value))
    )


def clean_url(text: str) -> str:
    """Return text with the user info and the keys of any URL in it masked."""
    if "://" not in text and "?" not in text:
        return text
    return _QUERY_KEY.sub(rf"\1{MASK}", _USER_INFO.sub(MASK, text))


def redact(value: Any, name: str = "", depth: int = 0) -> Any:
    """Return `value` with every secret masked; itself, where there is none, else a copy.

    Args:
        value: A value, a container of values, or an object with fields; of one that holds a
            secret, its fields are returned as a dict.
        name: What it stands under.
        depth: How deep in containers it stands.
    """
    if type(value) in _HARMLESS:
        return value
    if is_secret(value, name):
        return MASK
    if isinstance(value, str):
        return clean_url(value)
    if depth >= DEEPEST:
        return value
    fields = fields_of(value)
    if fields is not None:
        clean = {k: redact(v, label, depth + 1) for k, v, label in _labelled(fields.items(), name)}
        return value if all(clean[key] is fields[key] for key in fields) else clean
    if not isinstance(value, _COLLECTIONS):
        return value
    if is_header_name(name) and _are_pairs(value):
        items = [(k, redact(v, label, depth + 1)) for k, v, label in _labelled(value, name)]
        return type(value)(items)
    items = [redact(inner, name, depth + 1) for inner in value]
    unchanged = all(new is old for new, old in zip(items, value, strict=True))
    return value if unchanged else type(value)(items)


class Sealed(SecretStr):
    """A key that was bound to a model as plain text; it is given to the model as such."""


def seal(value: Any, name: str) -> Any:
    """Return a value to be kept in a binding, whose repr shows it: keys in it are sealed."""
    if isinstance(value, str):
        return Sealed(value) if is_secret(value, name) else value
    if type(value) is dict:
        return {key: seal(inner, label) for key, inner, label in _labelled(value.items(), name)}
    return value


def unseal(value: Any) -> Any:
    """Undo `seal`."""
    if isinstance(value, Sealed):
        return value.get_secret_value()
    if type(value) is dict and any(isinstance(inner, Sealed | dict) for inner in value.values()):
        return {key: unseal(inner) for key, inner in value.items()}
    return value


def fields_of(value: Any) -> Mapping[Any, Any] | None:
    """Return what a mapping or an object with fields holds, by name; None for anything else."""
    if isinstance(value, dict | Mapping):  # dict first: the check of an ABC is slow
        return value
    if isinstance(value, BaseModel):
        return {**dict(value), **(value.model_extra or {})}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: getattr(value, f.name, None) for f in dataclasses.fields(value)}
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return dict(zip(value._fields, value, strict=True))
    return None


def secret_values(value: Any, name: str = "", depth: int = 0) -> Iterator[str]:
    """Yield the texts that `redact` would mask."""
    if is_secret(value, name):
        text = value.get_secret_value() if isinstance(value, SecretStr | SecretBytes) else value
        text = text.decode(errors="replace") if isinstance(text, bytes) else text
        yield text
        yield from text.split()[1:]  # the key of "Bearer KEY"
    elif isinstance(value, str):
        if clean_url(value) != value:
            for info in _USER_INFO.findall(value):
                yield info
                yield from info.split(":")[1:]
            yield from (match[1] for match in _QUERY_KEY.findall(value))
    elif depth < DEEPEST:
        fields = fields_of(value)
        if fields is not None:
            items = _labelled(fields.items(), name)
        elif not isinstance(value, _COLLECTIONS):
            return
        elif is_header_name(name) and _are_pairs(value):
            items = _labelled(value, name)
        else:
            items = ((None, inner, name) for inner in value)
        for _, inner, label in items:
            yield from secret_values(inner, label, depth + 1)


def _labelled(items: Iterable[Any], name: str) -> Iterator[tuple[Any, Any, str]]:
    """Yield the items of a mapping with the name under which each is judged."""
    headers, secret = is_header_name(name), is_secret_name(name)
    for key, value in items:
        if secret or (headers and not is_safe_header(key)):
            yield key, value, "secret"
        else:
            yield key, value, key if isinstance(key, str) else ""


def _are_pairs(value: Iterable[Any]) -> bool:
    return all(isinstance(item, tuple) and len(item) == 2 for item in value)
