"""Sampling: what a completion of `Transformers` can be told, by transformers' own names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from langchain_wrap.errors import did_you_mean

WARPERS = ("top_h", "top_k", "top_p", "min_p", "typical_p", "epsilon_cutoff", "eta_cutoff")
"""What shapes a draw, in the order in which transformers applies it, after the temperature."""

_MORE = (
    "do_sample",
    *("top_h", "typical_p", "epsilon_cutoff", "eta_cutoff"),
    *("min_new_tokens", "max_time", "eos_token_id", "forced_eos_token_id"),
    *("no_repeat_ngram_size", "bad_words_ids", "sequence_bias", "suppress_tokens"),
    *("begin_suppress_tokens", "exponential_decay_length_penalty", "renormalize_logits"),
    *("remove_invalid_values", "use_cache", "prefill_chunk_size"),
)
"""Names of transformers' `GenerationConfig` that hold for one completion like for many."""

_INSTEAD = {
    "max_tokens": "Did you mean 'max_new_tokens'?",
    "max_length": "Did you mean 'max_new_tokens'?",
    "stop_strings": "Did you mean 'stop'?",
    "repeat_penalty": "Did you mean 'repetition_penalty'?",
    "num_beams": "Beam search is not there: a completion is drawn token by token.",
    "num_return_sequences": "For several completions give the prompt several times to batch.",
    "return_full_text": "A completion never contains the prompt.",
    "skip_prompt": "A completion never contains the prompt.",
    "batch_size": "Set max_batch_size on the object.",
    "pipeline_kwargs": "Give what is in it by its own names.",
}


class Sampling(BaseModel):
    """How tokens are chosen and when to end.

    Each can be set on the object and, for one call, in `invoke` and its like. Where a parameter is
    None, the model's own generation config holds, or else transformers' default.
    https://huggingface.co/docs/transformers/main_classes/text_generation
    """

    model_config = ConfigDict(extra="forbid")

    max_new_tokens: int = Field(default=256, ge=1)
    """How many tokens a completion has at most; one that ends here has finish_reason "length"."""

    temperature: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    """How freely tokens are drawn; 0: always the likeliest."""

    top_p: float | None = Field(default=None, gt=0, le=1)
    """Draw only from the likeliest tokens that sum up to this probability; 1: off."""

    top_k: int | None = Field(default=None, ge=0)
    """Draw only from so many of the likeliest tokens; 0: off. transformers' default: 50."""

    min_p: float | None = Field(default=None, ge=0, le=1)
    """Draw only from tokens at least this likely, relative to the likeliest."""

    repetition_penalty: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    """How much less likely tokens become that were there before; 1: off."""

    seed: int | None = Field(default=None, ge=0, lt=2**63)
    """Equal seeds give equal completions of equal calls. None: another each time."""

    generation: dict[str, Any] = Field(default_factory=dict)
    """More parameters of transformers' `GenerationConfig`, by their own names."""

    @field_validator("generation")
    @classmethod
    def _check_generation(cls, value: dict[str, Any]) -> dict[str, Any]:
        for name in value:
            if name in PARAMETERS:
                raise ValueError(f"names {name!r}, which is a field of its own: {name}=...")
            if name not in _MORE:
                raise ValueError(f"names {name!r}, which is not taken.{_hint(name)}")
        return value


PARAMETERS = tuple(name for name in Sampling.model_fields if name != "generation")
"""The names of the parameters that are fields as well."""


def effective(owner: BaseModel, call: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters that hold for a call: its own before those of the object.

    Raises:
        TypeError: The call has a parameter that does not exist, or belongs on the object.
        ValueError: A value is impossible, or two contradict each other.
    """
    for name in call:
        if name not in PARAMETERS and name not in _MORE:
            raise TypeError(_unknown(owner, name))
    own = {name: value for name, value in call.items() if value is not None}
    try:
        checked = Sampling.model_validate({k: v for k, v in own.items() if k in PARAMETERS})
    except ValidationError as error:
        raise ValueError(_readable(error)) from None
    merged = {name: getattr(owner, name) for name in PARAMETERS}
    merged |= getattr(owner, "generation", {})
    # Whether to draw can be said in two ways; the call's one replaces the object's other.
    if "do_sample" in own and "temperature" not in own and merged["temperature"] == 0:
        merged["temperature"] = None
    if "temperature" in own:
        merged.pop("do_sample", None)
    merged |= own | {name: getattr(checked, name) for name in own if name in PARAMETERS}
    if merged.get("do_sample") and merged["temperature"] == 0:
        raise ValueError(
            "temperature=0 always takes the likeliest token, and do_sample=True draws: give one "
            "of them, or a temperature above 0"
        )
    return {name: value for name, value in merged.items() if value is not None}


def draws(parameters: Mapping[str, Any], *, default: bool) -> bool:
    """Whether tokens are drawn; what shapes a draw asks for one. `default`: the model's own."""
    if "do_sample" in parameters:
        return bool(parameters["do_sample"])
    if "temperature" in parameters:
        return bool(parameters["temperature"] > 0)
    return default or any(name in parameters for name in WARPERS)


def _unknown(owner: BaseModel, name: str) -> str:
    who = type(owner).__name__
    if name in type(owner).model_fields:
        return f"{who}: {name!r} cannot be given in a call; set it on the object: {who}({name}=...)"
    return f"{who} takes no parameter {name!r}.{_hint(name)}"


def _hint(name: str) -> str:
    known = (*PARAMETERS, *_MORE)
    other = f" {_INSTEAD[name]}" if name in _INSTEAD else did_you_mean(name, known)
    return f"{other} It takes: {', '.join(known)}."


def _readable(error: ValidationError) -> str:
    details = error.errors(include_url=False)
    return "; ".join(
        f"{'.'.join(map(str, detail['loc']))}={detail['input']!r}: {detail['msg']}"
        for detail in details
    )
