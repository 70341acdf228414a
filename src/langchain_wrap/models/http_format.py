"""What is declared of an endpoint: where an answer has what, how it streams, how it counts."""

from __future__ import annotations

from functools import lru_cache
from typing import Annotated, Any, Literal

import httpx
import jmespath
from jmespath.exceptions import JMESPathError
from pydantic import AfterValidator, BaseModel, ConfigDict


def find(path: str | None, answer: Any) -> Any:
    """Return what a path finds; None where the answer has another form than it speaks of."""
    if path is None:
        return None
    try:
        return _compiled(path).search(answer)
    except JMESPathError:
        return None


def found_facts(finish_reason: str | None, usage: str | None, answer: Any) -> dict[str, Any]:
    """Return the finish reason and the counts of tokens that an answer tells."""
    facts: dict[str, Any] = {}
    reason = find(finish_reason, answer)
    if reason and isinstance(reason, str):
        facts["finish_reason"] = reason
    counts = find(usage, answer)
    if isinstance(counts, dict):
        known = {name: count for name, count in counts.items() if count is not None}
        if known:
            facts["token_usage"] = known
    return facts


@lru_cache(maxsize=256)
def _compiled(path: str) -> Any:
    try:
        return jmespath.compile(path)
    except JMESPathError as error:
        raise ValueError(f"{path!r} is no JMESPath expression: {error}") from None


def _checked_path(path: str) -> str:
    _compiled(path)
    return path


def _checked_url(url: str) -> str:
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL:  # which may quote a part of a password
        raise ValueError(
            "it is no URL (in a user name or password, write / as %2F, # as %23, ? as %3F)"
        ) from None
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise ValueError("a URL must begin with http:// or https:// and name a host")
    if parsed.port is not None and not 0 < parsed.port < 2**16:
        raise ValueError(f"its port is {parsed.port}; ports are from 1 to 65535")
    return url


Path = Annotated[str, AfterValidator(_checked_path)]
"""A JMESPath expression (https://jmespath.org) that finds a value in an answer."""

Url = Annotated[str, AfterValidator(_checked_url)]
"""A URL with http or https."""

_CONFIG = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class StreamFormat(BaseModel):
    """How an endpoint streams."""

    model_config = _CONFIG

    format: Literal["sse", "ndjson", "raw"] = "sse"
    """Server-sent events, a JSON value a line, or the text itself."""

    text: Path = "text"
    """Where an event has its piece of text; an event without it has none. Not used by `raw`."""

    done: str | None = None
    """The data of the event that ends the stream, such as `[DONE]`. A stream may also just end."""

    finish_reason: Path | None = None
    """Where an event has the finish reason."""

    usage: Path | None = None
    """Where an event has the counts of tokens: `prompt_tokens` and `completion_tokens`."""

    error: Path = "error"
    """Where an event has an error; what is found there ends the stream as an error.

    A server-sent event of the type `error` does so whatever it holds.
    """

    url: Url | None = None
    """The URL that streams, if it is another one."""

    body: dict[str, Any] | None = None
    """What is added to the body of the request, such as `{"stream": True}`; a template too."""


class Tokenizer(BaseModel):
    """Where an endpoint counts tokens."""

    model_config = _CONFIG

    url: Url
    """The URL, such as `http://host/tokenize`. It is sent the endpoint's key and headers."""

    body: Any
    """The body, a template in which `{text}` stands for the text, and `{model}` for the model."""

    ids: Path = "tokens"
    """Where the answer has the list of token ids."""
