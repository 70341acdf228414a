"""What went wrong with a request, as langchain-core's model errors."""

from __future__ import annotations

import email.utils
import json
import re
import time
from collections.abc import Mapping
from typing import Any

import httpx
from langchain_core.exceptions import (
    ContextOverflowError,
    ModelAPIError,
    ModelAuthenticationError,
    ModelConnectionError,
    ModelError,
    ModelInvalidRequestError,
    ModelNotFoundError,
    ModelPermissionDeniedError,
    ModelRateLimitError,
    ModelTimeoutError,
)

_BY_STATUS: dict[int, type[ModelError]] = {
    401: ModelAuthenticationError,
    403: ModelPermissionDeniedError,
    404: ModelNotFoundError,
    408: ModelTimeoutError,
    429: ModelRateLimitError,
    504: ModelTimeoutError,
}
_OVERFLOW = re.compile(
    r"context[ _-]?(length|size|window)|exceed_context_size|too many (input )?tokens"
    r"|inputs tokens \+ max_new_tokens|prompt is too long",
    re.IGNORECASE,
)
_SHOWN = 500
"""Characters of a server's own words that an error shows."""


def of_status(response: httpx.Response, body: bytes, url: str) -> ModelError:
    """Return the error for a status code other than 2xx, in the server's own words.

    `Retry-After` becomes the error's `retry_after`, in seconds.
    """
    status = response.status_code
    words = message(body)
    kind = _BY_STATUS.get(status, ModelInvalidRequestError if status < 500 else ModelAPIError)
    if kind is ModelInvalidRequestError and _OVERFLOW.search(words):
        kind = ContextOverflowError
    error = kind(f"{url} answered {status} {response.reason_phrase}: {words or '(no text)'}")
    wait = _retry_after(response.headers.get("retry-after", ""))
    if wait is not None:
        error.retry_after = wait  # type: ignore[attr-defined]
    return error


def of_transport(error: httpx.TransportError, url: str) -> ModelError:
    """Return the error for a request that has brought no whole answer."""
    words = str(error) or type(error).__name__
    if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout):
        return ModelConnectionError(f"{url} could not be reached: {words}")
    if isinstance(error, httpx.TimeoutException):
        return ModelTimeoutError(f"{url} has not answered in time: {words}")
    return ModelConnectionError(f"the connection to {url} has failed: {words}")


def in_stream(found: Any, url: str) -> ModelError:
    """Return the error for an error that a server reports inside its answer."""
    words = _words(found)
    kind = ContextOverflowError if _OVERFLOW.search(words) else ModelAPIError
    return kind(f"{url} reported an error: {words}")


def unexpected(what: str, url: str, seen: object) -> ModelAPIError:
    """Return the error for an answer that is not what was declared."""
    text = seen if isinstance(seen, str) else repr(seen)
    return ModelAPIError(f"{url} answered {what}: {shorten(text)}")


def message(body: bytes) -> str:
    """Return what a server says in the body of an error."""
    text = body.decode("utf-8", "replace").strip()
    try:
        return _words(json.loads(text))
    except ValueError:
        return shorten(text)


def _words(found: Any) -> str:
    while isinstance(found, Mapping):
        for key in ("error", "message", "detail", "error_type"):
            if found.get(key):
                found = found[key]
                break
        else:
            break
    return shorten(found if isinstance(found, str) else json.dumps(found, ensure_ascii=False))


def shown_url(url: str) -> str:
    """Return a URL as an error may show it: without user, password and query."""
    parsed = httpx.URL(url)
    return str(parsed.copy_with(username=None, password=None, query=None, fragment=None))


def shorten(text: str) -> str:
    """Return as much of a text as an error shows."""
    text = " ".join(text.split())
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def _retry_after(value: str) -> float | None:
    if value.strip().isdigit():
        return float(value)
    try:
        then = email.utils.parsedate_to_datetime(value)
    except ValueError:
        return None
    return max(0.0, then.timestamp() - time.time())
