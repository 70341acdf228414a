"""Secrets: kept out of every text that leaves the model (repr, params, traces, errors).

What is typed `SecretStr` is a secret. So is text under a name that says so (`api_key`,
`Authorization`), every header that is not known to be harmless, and the password or key in a URL,
because classes written before `SecretStr` hold keys that way.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Any

from pydantic import SecretBytes, SecretStr

MASK = "**********"
SHORTEST = 4
"""A shorter secret is not looked for in error texts: it would match anywhere."""

_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")
_SECRET_WORDS = frozenset(
    [
        "apikey",
        "password",
        "passwd",
        "passphrase",
        "secret",
        "secrets",
        "credential",
        "credentials",
        "authorization",
        "bearer",
        "cookie",
        "cookies",
        "jwt",
    ]
)
_KEYS = frozenset(
    ["api", "access", "private", "secret", "auth", "subscription", "account", "signing", "master"]
)
_TOKENS = frozenset(
    ["api", "access", "auth", "bearer", "refresh", "session", "security", "personal", "hf"]
)
_SAFE_HEADERS = frozenset(
    [
        "accept",
        "accept-charset",
        "accept-encoding",
        "accept-language",
        "cache-control",
        "connection",
        "content-encoding",
        "content-length",
        "content-type",
        "host",
        "te",
        "user-agent",
    ]
)
_USER_INFO = re.compile(r"(?<=://)[^/@\s]+(?=@)")
_QUERY_KEY = re.compile(
    r"(?<=[?&])((?:[\w-]*(?:key|token|secret|password|signature)|sig)=)([^&#\s]+)", re.I
)


@lru_cache(maxsize=4096)
def is_secret_name(name: str) -> bool:
    """Whether text under this name is a secret (`api_key`, `X-Api-Key`, `hfToken`)."""
    words = [word.lower() for word in _WORDS.findall(name)]
    if not words:
        return False
    if _SECRET_WORDS & set(words) or words in (["token"], ["auth"]):
        return True
    before = words[-2] if len(words) > 1 else ""
    return (words[-1] == "key" and before in _KEYS) or (words[-1] == "token" and before in _TOKENS)


@lru_cache(maxsize=4096)
def is_header_name(name: str) -> bool:
    """Whether a mapping under this name holds HTTP headers."""
    return name.lower().rstrip("s").endswith("header")


def clean_url(text: str) -> str:
    """Return text with the user info and the keys of any URL in it masked."""
    if "://" not in text and "?" not in text:
        return text
    return _QUERY_KEY.sub(rf"\1{MASK}", _USER_INFO.sub(MASK, text))


def redact(value: Any, name: str = "") -> Any:
    """Return a copy of `value` in which every secret is masked; `name` is what it stands under."""
    if isinstance(value, SecretStr | SecretBytes):
        return MASK
    if isinstance(value, str):
        return MASK if value and is_secret_name(name) else clean_url(value)
    if isinstance(value, bytes):
        return MASK if is_secret_name(name) else value
    if isinstance(value, Mapping):
        if is_header_name(name):
            return {key: redact_header(key, inner) for key, inner in value.items()}
        inherited = name if is_secret_name(name) else ""
        return {
            key: redact(inner, inherited or (key if isinstance(key, str) else ""))
            for key, inner in value.items()
        }
    if type(value) in (list, tuple, set, frozenset):
        if is_header_name(name) and all(isinstance(i, tuple) and len(i) == 2 for i in value):
            return type(value)((key, redact_header(key, inner)) for key, inner in value)
        return type(value)(redact(inner, name) for inner in value)
    return value


def redact_header(name: object, value: Any) -> Any:
    """Return a header's value, masked unless the header is known to be harmless."""
    return value if isinstance(name, str) and name.lower() in _SAFE_HEADERS else MASK


def secret_values(value: Any, name: str = "") -> Iterator[str]:
    """Yield the texts that `redact` would mask."""
    if isinstance(value, SecretStr):
        yield value.get_secret_value()
    elif isinstance(value, SecretBytes):
        yield value.get_secret_value().decode(errors="replace")
    elif isinstance(value, str):
        if is_secret_name(name):
            yield value
            yield from value.split()[1:]  # the key of "Bearer KEY"
        elif clean_url(value) != value:
            yield from _USER_INFO.findall(value)
            yield from (part for info in _USER_INFO.findall(value) for part in info.split(":")[1:])
            yield from (match[1] for match in _QUERY_KEY.findall(value))
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            header = is_header_name(name) and redact_header(key, inner) is MASK
            label = "secret" if header or is_secret_name(name) else key
            yield from secret_values(inner, label if isinstance(label, str) else "")
    elif isinstance(value, list | tuple | set | frozenset):
        if is_header_name(name):
            yield from secret_values({i[0]: i[1] for i in value if len(i) == 2}, name)
        else:
            for inner in value:
                yield from secret_values(inner, name)


def scrub(error: BaseException, secrets: Iterable[str]) -> None:
    """Mask secrets in the texts of an error and of the errors behind it, in place."""
    found = sorted({s for s in secrets if len(s) >= SHORTEST}, key=len, reverse=True)
    if not found:
        return
    pattern = re.compile("|".join(map(re.escape, found)))
    queue: list[BaseException | None] = [error]
    seen: set[int] = set()
    while queue:
        current = queue.pop()
        if current is None or id(current) in seen:
            continue
        seen.add(id(current))
        queue += [current.__cause__, current.__context__]
        if isinstance(current, BaseExceptionGroup):
            queue += current.exceptions
        _scrub_one(current, pattern)


def _scrub_one(error: BaseException, pattern: re.Pattern[str]) -> None:
    def clean(value: Any) -> Any:
        if isinstance(value, str):
            return pattern.sub(MASK, value)
        if type(value) in (list, tuple):
            return type(value)(map(clean, value))
        if type(value) is dict:
            return {key: clean(inner) for key, inner in value.items()}
        return value

    args = clean(error.args)
    if args != error.args:
        error.args = args
    for key, value in list(getattr(error, "__dict__", {}).items()):
        cleaned = clean(value)
        if cleaned is not value and cleaned != value:
            try:
                setattr(error, key, cleaned)
            except AttributeError:
                continue
