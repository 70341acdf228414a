"""Scores: what changes the scores of tokens before the best one is taken."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import transformers
from transformers import LogitsProcessor, LogitsProcessorList

from langchain_wrap.models.transformers_sampling import WARPERS, draws

PENALTIES = ("repetition_penalty", "no_repeat_ngram_size")
"""What looks at the tokens before, which must not see the padding."""

_OFF: dict[str, Any] = {
    "top_h": None,
    "top_k": 0,
    "top_p": 1.0,
    "min_p": None,
    "typical_p": 1.0,
    "epsilon_cutoff": 0.0,
    "eta_cutoff": 0.0,
    "repetition_penalty": 1.0,
    "no_repeat_ngram_size": 0,
}


def processors(
    parameters: Mapping[str, Any], own: Any, starts: Sequence[int]
) -> LogitsProcessorList:
    """Return what is applied to the scores of each step, after transformers' own.

    Args:
        parameters: Those of the call and of the object.
        own: The model's own generation config.
        starts: Where each row's prompt begins, behind its padding.
    """
    found = LogitsProcessorList()
    given = {name: parameters.get(name, getattr(own, name, None)) for name in _OFF}
    given["top_k"] = 50 if given["top_k"] is None else given["top_k"]  # as generate() has it
    active = {name: value for name, value in given.items() if value not in (None, _OFF[name])}
    penalties = [_made(name, active[name]) for name in PENALTIES if name in active]
    if penalties:
        found.append(_Unpadded(penalties, starts))
    if draws(parameters, default=bool(own.do_sample)):
        temperature = float(parameters.get("temperature") or own.temperature or 1.0)
        if temperature != 1.0:
            found.append(transformers.TemperatureLogitsWarper(temperature))
        found += [_made(name, active[name]) for name in WARPERS if name in active]
        found.append(_Draw(len(starts), parameters.get("seed")))
    return found


def _made(name: str, value: Any) -> LogitsProcessor:
    kind, convert = {
        "top_h": ("TopHLogitsWarper", float),
        "top_k": ("TopKLogitsWarper", int),
        "top_p": ("TopPLogitsWarper", float),
        "min_p": ("MinPLogitsWarper", float),
        "typical_p": ("TypicalLogitsWarper", float),
        "epsilon_cutoff": ("EpsilonLogitsWarper", float),
        "eta_cutoff": ("EtaLogitsWarper", float),
        "repetition_penalty": ("RepetitionPenaltyLogitsProcessor", float),
        "no_repeat_ngram_size": ("NoRepeatNGramLogitsProcessor", int),
    }[name]
    return getattr(transformers, kind)(convert(value))


class _Unpadded(LogitsProcessor):  # type: ignore[misc]
    """Applies processors row by row to what is behind the padding.

    Padding is made of a token that the model may also generate: to a penalty it would look as if
    it had been there before, and a row would differ from the same prompt alone.
    """

    def __init__(self, inner: Sequence[Any], starts: Sequence[int]) -> None:
        self._inner = inner
        self._starts = starts

    def __call__(self, input_ids: Any, scores: Any) -> Any:
        rows = []
        for row, start in enumerate(self._starts):
            own = scores[row : row + 1]
            for one in self._inner:
                own = one(input_ids[row : row + 1, start:], own)
            rows.append(own)
        return torch.cat(rows)


class _Draw(LogitsProcessor):  # type: ignore[misc]
    """Adds noise to scores so that the greatest is a draw from their distribution.

    The Gumbel-max trick: https://arxiv.org/abs/1411.0030. Each row draws from a generator of its
    own, so that a seed gives the same text in a batch and alone, whatever else is drawn in the
    process meanwhile.
    """

    def __init__(self, rows: int, seed: int | None) -> None:
        self._generators = [torch.Generator() for _ in range(rows)]
        for generator in self._generators:
            generator.seed() if seed is None else generator.manual_seed(seed)

    def __call__(self, input_ids: Any, scores: Any) -> Any:
        noise = torch.stack(
            [torch.empty(scores.shape[-1]).exponential_(generator=g) for g in self._generators]
        )
        # An exact 0 would draw a token that has been ruled out.
        noise = noise.clamp_min_(torch.finfo(noise.dtype).tiny).log_()
        return scores.float().log_softmax(-1) - noise.to(scores.device)
