"""What went wrong with a request, as langchain-core's model errors."""

from __future__ import annotations

import base64
import email.utils
import json
import re
import ssl
import time
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC
from typing import Any
from urllib.parse import unquote

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

BROKEN = (httpx.TransportError, ssl.SSLError)
"""What a broken connection raises."""

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
_SHORTEST = 4
"""A shorter secret is not looked for: it would match anywhere."""
_OF_A_PART = 8
"""A shorter part of a header is a word like any other."""
_MASK = "**********"
_LONGEST_WAIT = 7 * 24 * 3600.0
_KEY_NAME = re.compile(r"key|token|secret|sig|pass|auth|code|cred", re.IGNORECASE)
_HARMLESS_HEADERS = frozenset({"accept", "accept-encoding", "content-type", "user-agent"})


class Peer:
    """The server of one request, as errors speak of it: nothing that they say shows a secret.

    Args:
        url: Its URL, which is shown without user, password and query.
        headers: What is sent; their values are secrets.
    """

    def __init__(self, url: httpx.URL, headers: Mapping[str, str]) -> None:
        self.url = shown_url(url)
        found = {text for text in _secrets(url, headers) if len(text) >= _SHORTEST}
        words = sorted(found, key=len, reverse=True)
        self._secret = re.compile("|".join(map(re.escape, words))) if words else None

    def refused(self, response: httpx.Response, body: bytes) -> ModelError:
        """Return the error for a status code other than 2xx, in the server's own words.

        `Retry-After` becomes the error's `retry_after`, in seconds.
        """
        status = response.status_code
        words = self._said(_json_or_text(body)) or "(no text)"
        if response.has_redirect_location:
            target = shown_url(response.url.join(_located(response)))
            words = f"it is at {target} now; give that URL, redirects are not followed"
        said = f"{self.url} answered {status} {response.reason_phrase}".rstrip()
        error = _made(_kind(status, words), self.clean(f"{said}: {words}"))
        error.status_code = status  # type: ignore[attr-defined]
        wait = _retry_after(response.headers.get("retry-after", ""))
        if wait is not None:
            error.retry_after = wait  # type: ignore[attr-defined]
        return error

    def broke(self, error: httpx.TransportError | ssl.SSLError, so_far: str = "") -> ModelError:
        """Return the error for a request that has brought no whole answer.

        Args:
            error: What httpx says, or the ssl module: httpx lets its errors through.
            so_far: How much had arrived.
        """
        words = self.clean(str(error) or type(error).__name__)
        if isinstance(error, httpx.TimeoutException):
            limits = error.request.extensions["timeout"]
            if isinstance(error, httpx.ConnectTimeout):
                within = f"within {limits['connect']:g} s (connect_timeout)"
                return _made(ModelTimeoutError, f"{self.url} could not be reached {within}")
            seconds = f"{limits['read']:g} s (read_timeout)"
            return _made(ModelTimeoutError, f"{self.url} was silent for {seconds}{so_far}")
        if isinstance(error, httpx.ConnectError):
            return _made(ModelConnectionError, f"{self.url} could not be reached: {words}")
        return _made(
            ModelConnectionError, f"the connection to {self.url} has failed{so_far}: {words}"
        )

    def reported(self, found: Any) -> ModelError:
        """Return the error for an error that a server reports inside its answer."""
        words = self._said(found) or "(no text)"
        code = found.get("code") if isinstance(found, Mapping) else None
        status = code if isinstance(code, int) and 400 <= code < 600 else 500
        if _OVERFLOW.search(words):
            status = 400
        return _made(_kind(status, words), f"{self.url} reported an error: {words}")

    def unexpected(self, what: str, seen: object = None) -> ModelError:
        """Return the error for an answer that is not what was declared."""
        shown = "" if seen is None else f": {self._said(seen) or '(nothing)'}"
        return _made(ModelAPIError, f"{self.url} answered with {self.clean(what)}{shown}")

    def clean(self, text: str) -> str:
        """Return text with what is secret masked."""
        return text if self._secret is None else self._secret.sub(_MASK, text)

    def _said(self, found: Any) -> str:
        # Masked first: of a key that is cut in two, the half that is shown would not be known.
        text = " ".join(self.clean(_words(found)).split())
        return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def shown_url(url: httpx.URL) -> str:
    """Return a URL as anybody may see it: without user, password and query."""
    return str(url.copy_with(username=None, password=None, query=None, fragment=None))


def _made(kind: type[ModelError], text: str) -> ModelError:
    error = kind(text)
    error.partial_text = ""  # type: ignore[attr-defined]
    return error


def _kind(status: int, words: str) -> type[ModelError]:
    kind = _BY_STATUS.get(status, ModelInvalidRequestError if status < 500 else ModelAPIError)
    overflow = kind is ModelInvalidRequestError and _OVERFLOW.search(words)
    return ContextOverflowError if overflow else kind


def _json_or_text(body: bytes) -> Any:
    text = body.decode("utf-8-sig", "replace")
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _words(found: Any) -> str:
    """Return what an error says, wherever servers put it."""
    while isinstance(found, Mapping):
        for key in ("message", "error", "detail", "error_type"):
            if found.get(key):
                found = found[key]
                break
        else:
            break
    return found if isinstance(found, str) else json.dumps(found, ensure_ascii=False, default=repr)


def _secrets(url: httpx.URL, headers: Mapping[str, str]) -> Iterator[str]:
    for name, value in headers.items():
        if name.lower() not in _HARMLESS_HEADERS:
            yield from _forms([value, *value.split()[1:]])  # the key of "Bearer KEY"
            # And that of `session=KEY; theme=dark`, which a server may quote without the rest.
            yield from (part for part in re.split(r'[;,=\s"]+', value) if len(part) >= _OF_A_PART)
    if url.password:
        yield from _forms([url.password, f"{url.username}:{url.password}"])
        yield base64.b64encode(f"{url.username}:{url.password}".encode()).decode()
    for part in url.query.decode("ascii").split("&"):
        name, _, value = part.partition("=")
        if _KEY_NAME.search(name):
            yield from _forms([value])


def _forms(values: Iterable[str]) -> Iterator[str]:
    for value in values:
        yield value
        yield json.dumps(value)[1:-1]
        yield unquote(value)


def _located(response: httpx.Response) -> str:
    location: str = response.headers["location"]
    try:
        return str(httpx.URL(location))
    except httpx.InvalidURL:
        return ""


def _retry_after(value: str) -> float | None:
    """Return the seconds that a `Retry-After` asks for; None where it says nothing."""
    value = value.strip()
    if re.fullmatch(r"\d{1,15}(\.\d{1,9})?", value, re.ASCII):
        return min(float(value), _LONGEST_WAIT)
    try:
        then = email.utils.parsedate_to_datetime(value)
        then = then if then.tzinfo is not None else then.replace(tzinfo=UTC)
        return min(max(0.0, then.timestamp() - time.time()), _LONGEST_WAIT)
    except (ValueError, OverflowError):
        return None
