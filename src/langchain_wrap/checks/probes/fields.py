"""Fields: what the author of a model has declared, and what can be told from it."""

from __future__ import annotations

import enum
import re
from collections.abc import Iterator, Mapping
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from langchain_core.language_models import SimpleChatModel
from langchain_core.language_models.llms import LLM
from pydantic import SecretBytes, SecretStr, TypeAdapter
from pydantic.fields import FieldInfo

import langchain_wrap.llm
from langchain_wrap.chat.adapter import LLMChat
from langchain_wrap.checks.clause import Skipped
from langchain_wrap.checks.shared import Shared

BASES = frozenset(
    cls
    for known in (langchain_wrap.llm.LLM, LLM, LLMChat, SimpleChatModel)
    for cls in known.__mro__
)
"""Classes that no author of a model has written."""

_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")


def words(name: str) -> list[str]:
    """Return the words that a name is made of, in lower case."""
    return [word.lower() for word in _WORDS.findall(name)]


def classes(llm: Any) -> list[type]:
    """Return the classes that the author of a model has written, the model's own first."""
    return [cls for cls in type(llm).__mro__ if cls not in BASES]


def declared(llm: Any) -> dict[str, FieldInfo]:
    """Return the fields that the author of a model has declared."""
    bases = BASES.intersection(type(llm).__mro__)
    known = {name for cls in bases for name in getattr(cls, "model_fields", ())}
    return {
        name: field
        for name, field in type(llm).model_fields.items()
        if name not in known and not name.startswith("_")
    }


def variant(model: Shared, llm: Any = None, **fields: Any) -> Any:
    """Return a copy of the model, or of `llm`, with other values in some fields.

    Raises:
        Skipped: It cannot be copied.
    """
    try:
        copied = (llm or model.llm).model_copy(update=fields)
    except Exception:
        raise Skipped(f"model_copy does not work, as {model.see('IDENTITY-07')} reports") from None
    copied.__dict__.pop("_serialized", None)  # langchain-core keeps it from the first call on
    return copied


# --- other values -----------------------------------------------------------------------------

_NOT_TO_VARY = frozenset(
    {"url", "uri", "host", "hostname", "port", "path", "file", "dir", "directory", "folder"}
    | {"address", "endpoint", "proxy", "socket", "client", "pool", "session", "process"}
    | {"device", "devices", "gpu", "gpus", "cuda", "layers", "thread", "threads", "worker"}
    | {"workers", "processes", "parallel", "concurrency", "id", "uuid", "verbose", "debug", "log"}
    | {"timeout", "timeouts", "retry", "retries", "sleep", "delay", "interval", "wait", "pause"}
)
"""Words of names whose fields say where and how a model runs, or how long, not what it says."""


def other_values(llm: Any) -> dict[str, list[Any]]:
    """Return up to two other values for each of the author's fields that can be varied safely.

    These are switches, numbers and choices. The first value is a small one where it can be: a
    limit that is out of reach makes no difference.
    """
    found: dict[str, list[Any]] = {}
    for name, field in declared(llm).items():
        if _NOT_TO_VARY & set(words(name)) or looks_like_key(name):
            continue
        value = getattr(llm, name, None)
        values: list[Any] = []
        for other in _others(value, list(_options(field.annotation))):
            if other != value and other not in values and _allowed(field, other):
                values.append(other)
        if values:
            found[name] = values[:2]
    return found


def _others(value: Any, options: list[Any]) -> Iterator[Any]:
    if isinstance(value, enum.Enum):
        yield from type(value)
    elif isinstance(value, bool):
        yield not value
    elif isinstance(value, int):
        yield from (1, value + 1, value * 2, 2, 0)
    elif isinstance(value, float):
        yield from (0.5, 1.0, value / 2, value * 2, 0.0)
    elif value is None or isinstance(value, str):
        for option in options:
            if get_origin(option) is Literal:
                yield from get_args(option)
            elif value is None and isinstance(option, type):
                yield from _of_type(option)


def _of_type(kind: type) -> Iterator[Any]:
    if issubclass(kind, bool):
        yield from (True, False)
    elif issubclass(kind, enum.Enum):
        yield from kind
    elif issubclass(kind, int):
        yield from (2, 32, 256, 1)
    elif issubclass(kind, float):
        yield from (0.5, 1.0, 2.0)


def _options(annotation: Any) -> Iterator[Any]:
    """Yield the types of which an annotation allows one."""
    if get_origin(annotation) is Annotated:
        yield from _options(get_args(annotation)[0])
    elif get_origin(annotation) in (Union, UnionType):
        for option in get_args(annotation):
            yield from _options(option)
    else:
        yield annotation


def _allowed(field: FieldInfo, value: Any) -> bool:
    kind: Any = field.annotation
    for bound in field.metadata:
        kind = Annotated[kind, bound]
    try:
        checker: TypeAdapter[Any] = TypeAdapter(kind)
    except Exception:  # of a type of the author's own, which says nothing of numbers
        return True
    try:
        checker.validate_python(value)
    except Exception:
        return False
    return True


def as_code(name: str, value: Any) -> str:
    """Return the expression for a value of a field, for a script in which `llm` is the model."""
    if isinstance(value, enum.Enum):
        return f"type(llm.{name})[{value.name!r}]"
    return repr(value)


# --- keys -------------------------------------------------------------------------------------

_ALWAYS = frozenset(
    {"apikey", "authorization", "bearer", "credential", "credentials", "jwt", "passphrase"}
    | {"passwd", "password", "pwd", "secret", "secrets"}
)
_TOKENS = frozenset(
    {"access", "api", "app", "auth", "bearer", "bot", "hf", "hub", "huggingface", "personal"}
    | {"refresh", "sas", "security", "service", "session", "user"}
)
"""Before `token`: others, such as `eos_token`, are pieces of text."""
_NO_KEYS = frozenset(
    {"answer", "cache", "chat", "column", "content", "context", "dict", "document", "field"}
    | {"foreign", "group", "history", "human", "index", "input", "item", "json", "lookup", "map"}
    | {
        "memory",
        "message",
        "messages",
        "metadata",
        "model",
        "object",
        "order",
        "output",
        "partition",
    }
    | {"primary", "prompt", "public", "query", "question", "response", "result", "row", "sort"}
    | {"stop", "system", "tag", "template", "text", "tool", "user", "value", "variable"}
)
"""Before `key`: names of places, not secrets."""
_ABOUT = frozenset(
    {
        "age",
        "alias",
        "algorithm",
        "arn",
        "class",
        "count",
        "dir",
        "directory",
        "endpoint",
        "enabled",
    }
    | {"env", "expiry", "field", "file", "folder", "format", "header", "headers", "heads", "id"}
    | {"ids", "length", "location", "manager", "mode", "name", "names", "path", "policy", "prefix"}
    | {"profile", "provider", "required", "scope", "size", "source", "store", "suffix", "type"}
    | {"uri", "url", "var", "variable", "vault", "version"}
)
"""At the end: what is said about a key, such as the file that holds it."""


def looks_like_key(name: str) -> bool:
    """Whether a field of this name holds a key, a password or a token."""
    parts = words(name)
    if not parts or parts[-1] in _ABOUT:
        return False
    before = parts[-2] if len(parts) > 1 else ""
    last = parts[-1]
    if _ALWAYS & set(parts) or parts in (["token"], ["auth"], ["key"]):
        return True
    if last == "key":
        return before not in _NO_KEYS and len(before) > 1
    return last == "token" and before in _TOKENS


def keys(llm: Any) -> dict[str, FieldInfo]:
    """Return the author's fields for keys, by name, that can hold text or a secret."""
    return {
        name: field
        for name, field in declared(llm).items()
        if looks_like_key(name) and (shows(field.annotation) or secret_of(field.annotation))
    }


def shows(annotation: Any) -> bool:
    """Whether a type allows plain text, which a repr shows."""
    for option in _options(annotation):
        inside = get_args(option)
        if isinstance(option, type) and issubclass(option, str | bytes):
            return True
        origin = get_origin(option)
        if not (isinstance(origin, type) and inside):
            continue
        if issubclass(origin, Mapping):
            inside = inside[1:]
        elif not issubclass(origin, list | tuple | set | frozenset):
            continue
        if any(shows(one) for one in inside):
            return True
    return False


def secret_of(annotation: Any) -> type[SecretStr] | type[SecretBytes] | None:
    """Return the secret type that a type allows."""
    for option in _options(annotation):
        if isinstance(option, type) and issubclass(option, SecretStr | SecretBytes):
            return option
    return None
