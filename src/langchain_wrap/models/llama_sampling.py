"""Sampling: what a completion can be told, as fields and as parameters of a call."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from langchain_wrap.errors import did_you_mean

_OTHER_NAMES = {
    "max_new_tokens": "max_tokens",
    "n_predict": "max_tokens",
    "num_predict": "max_tokens",
    "repetition_penalty": "repeat_penalty",
    "response_format": "json_schema",
    "format": "json_schema",
    "top_logprobs": "logprobs",
    "n_probs": "logprobs",
}
_MOST = 2**31 - 1
"""The engine's whole numbers have 32 bits; a larger one would wrap around."""
_PROBE = "ZQXJ"
"""What no model says by itself: see `probe`."""

_START = re.compile(r"\s*start\b[^:\n]*:")
"""The first line of a Lark grammar's start rule, attributes included: `start[max_tokens=3]:`."""


class Sampling(BaseModel):
    """How tokens are chosen and when to end.

    Each can be set on the object and, for one call, in `invoke` and its like. Where a parameter is
    None, the model file's own recommendation holds if it has one, else llama.cpp's default, which
    the text below names. https://github.com/ggml-org/llama.cpp/tree/master/tools/server
    """

    model_config = ConfigDict(extra="forbid")

    max_tokens: int | None = Field(default=256, ge=1, le=_MOST)
    """How many tokens a completion has at most; None: until the context is full.

    A completion that ends here has the `finish_reason` "length".
    """

    temperature: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    """How freely tokens are chosen: 0 always takes the likeliest one. llama.cpp's default: 0.8."""

    top_k: int | None = Field(default=None, ge=0, le=_MOST)
    """Choose among the k likeliest tokens only; 0: no limit. llama.cpp's default: 40."""

    top_p: float | None = Field(default=None, ge=0, le=1)
    """Choose among the likeliest tokens that sum up to this probability. Default: 0.95; off: 1."""

    min_p: float | None = Field(default=None, ge=0, le=1)
    """Leave out tokens below this share of the likeliest one's probability. Default: 0.05."""

    typical_p: float | None = Field(default=None, ge=0, le=1)
    """Locally typical sampling with this probability. Default: 1 (off)."""

    repeat_penalty: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    """Divides the scores of tokens that came before; above 1 repeats less. Default: 1 (off)."""

    repeat_last_n: int | None = Field(default=None, ge=-1, le=_MOST)
    """How many of the last tokens the penalties look at; -1: all, 0: off. Default: 64."""

    presence_penalty: float | None = Field(default=None, allow_inf_nan=False)
    """Taken off the score of each token that came before. Default: 0 (off)."""

    frequency_penalty: float | None = Field(default=None, allow_inf_nan=False)
    """Taken off a token's score for each time that it came before. Default: 0 (off)."""

    seed: int | None = Field(default=None, ge=0, lt=2**32 - 1)
    """Equal seeds give equal completions of equal calls. None: another each time."""

    logprobs: int | None = Field(default=None, ge=1, le=_MOST)
    """Report this many likeliest tokens for each token, in `generation_info["logprobs"]`."""

    logit_bias: dict[int | str, float] | None = None
    """Added to the scores of tokens, given by id or by text."""

    ignore_eos: bool | None = None
    """Go on past the model's own end: for measuring. Default: False."""

    grammar: str | None = None
    """What the completion must match, in GBNF, or in llguidance's Lark after `%llguidance {}`.

    https://github.com/ggml-org/llama.cpp/blob/master/grammars/README.md
    """

    json_schema: dict[str, Any] | None = None
    """JSON schema that the completion must match; it may still be cut off by `max_tokens`."""

    @field_validator("grammar")
    @classmethod
    def _check_grammar(cls, value: str | None) -> str | None:
        if value is not None and not value.strip():
            raise ValueError("is empty; leave it out, or give a grammar with a root rule")
        return value

    @field_validator("json_schema")
    @classmethod
    def _check_json_schema(cls, value: dict[str, Any] | None) -> dict[str, Any] | None:
        if value is not None:
            try:
                json.dumps(value, allow_nan=False)
            except (TypeError, ValueError) as error:
                raise ValueError(f"is not JSON: {error}") from error
        return value


PARAMETERS = tuple(Sampling.model_fields)
"""The names of the parameters that a call can have."""


def effective(owner: BaseModel, call: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters that hold for a call: its own before those of the object.

    Raises:
        TypeError: The call has a parameter that does not exist, or belongs on the object.
        ValueError: A value is impossible, or two exclude each other.
    """
    for name in call:
        if name not in PARAMETERS:
            raise TypeError(_unknown(owner, name))
    own = {name: value for name, value in call.items() if value is not None}
    try:
        checked = Sampling.model_validate(own)
    except ValidationError as error:
        raise ValueError(_readable(error)) from None
    merged = {name: getattr(owner, name) for name in PARAMETERS}
    if own.keys() & {"grammar", "json_schema"}:  # the call's one replaces the object's other
        merged["grammar"] = merged["json_schema"] = None
    merged |= {name: getattr(checked, name) for name in own}
    if "max_tokens" in call and call["max_tokens"] is None:
        merged["max_tokens"] = None
    if merged["grammar"] is not None and merged["json_schema"] is not None:
        raise ValueError("grammar and json_schema exclude each other; give one of them")
    return {name: value for name, value in merged.items() if value is not None}


def check_tokens(parameters: Mapping[str, Any], vocabulary: int | None) -> None:
    """Refuse what names tokens that the model does not have.

    Raises:
        ValueError: `logit_bias` has an id beyond the vocabulary, or `logprobs` asks for more.
    """
    if vocabulary is None:
        return
    if parameters.get("logprobs", 0) > vocabulary:
        raise ValueError(
            f"logprobs={parameters['logprobs']}: the model has only {vocabulary} tokens"
        )
    for token in parameters.get("logit_bias", ()):
        if isinstance(token, int) and not 0 <= token < vocabulary:
            raise ValueError(
                f"logit_bias: there is no token {token}; the model's ids go from 0 to "
                f"{vocabulary - 1}"
            )


def as_body(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return parameters as the engine's request has them."""
    body = {"max_tokens": -1, **parameters}
    if "logit_bias" in body:
        body["logit_bias"] = [[token, bias] for token, bias in body["logit_bias"].items()]
    return body


def probe(parameters: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return a request that shows whether the engine honours a schema or llguidance grammar.

    A bad one of these is no error to the engine: it goes on without any constraint. So it is
    asked for the same constraint with a word in front that no model says by itself.
    """
    grammar = parameters.get("grammar", "")
    if "json_schema" in parameters:
        rest = "%json " + json.dumps(parameters["json_schema"])
        grammar = f'%llguidance {{}}\nstart: "{_PROBE}" inner\ninner: {rest}'
    elif grammar.lstrip().startswith("%llguidance"):
        grammar = re_start(grammar)
    else:
        return None
    return {"prompt": "a", "max_tokens": len(_PROBE), "temperature": 0, "grammar": grammar}


def honoured(text: str) -> bool:
    """Whether the answer to a `probe` shows that the constraint holds."""
    return bool(text) and (text.startswith(_PROBE) or _PROBE.startswith(text))


def re_start(grammar: str) -> str:
    """Return a Lark grammar whose start is the probe's word and then the old start."""
    lines = grammar.splitlines()
    changed = [
        line.replace("start", "langchain_wrap_start", 1) if _START.match(line) else line
        for line in lines
    ]
    return "\n".join([*changed, f'start: "{_PROBE}" langchain_wrap_start'])


def _unknown(owner: BaseModel, name: str) -> str:
    who = type(owner).__name__
    if name in type(owner).model_fields:
        return f"{who}: {name!r} cannot be given in a call; set it on the object: {who}({name}=...)"
    other = _OTHER_NAMES.get(name)
    hint = f" Did you mean {other!r}?" if other else did_you_mean(name, PARAMETERS)
    return f"{who} takes no parameter {name!r}.{hint} It takes: {', '.join(PARAMETERS)}."


def _readable(error: ValidationError) -> str:
    details = error.errors(include_url=False)
    return "; ".join(
        f"{'.'.join(map(str, detail['loc']))}={detail['input']!r}: {detail['msg']}"
        for detail in details
    )
