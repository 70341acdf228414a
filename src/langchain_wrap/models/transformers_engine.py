"""A transformers model at work: token ids in, tokens out, for one prompt or many at once."""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from langchain_core.exceptions import ContextOverflowError
from transformers import (
    GenerationConfig,
    LogitsProcessor,
    LogitsProcessorList,
    MinPLogitsWarper,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    StoppingCriteria,
    StoppingCriteriaList,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

_STOP_MARGIN = 8
"""Tokens more than a stop has characters in which it is looked for."""


@dataclass
class Completion:
    """One prompt and what has been generated for it."""

    prompt: list[int]
    tokens: list[int] = field(default_factory=list)
    finish_reason: str = "length"

    @property
    def usage(self) -> dict[str, int]:
        """Counts of tokens."""
        prompt, completion = len(self.prompt), len(self.tokens)
        return {
            "prompt_tokens": prompt,
            "completion_tokens": completion,
            "total_tokens": prompt + completion,
        }


class Engine:
    """A model and its tokenizer.

    Args:
        model: The model, on its device.
        tokenizer: Its tokenizer.
    """

    def __init__(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
        self.model = model
        self.tokenizer = tokenizer
        ends = model.generation_config.eos_token_id
        if ends is None:
            ends = tokenizer.eos_token_id
        self._ends = frozenset([ends] if isinstance(ends, int) else ends or ())
        # Fast tokenizers are written in Rust and refuse two threads at once now and then.
        self._lock = threading.Lock()

    @property
    def name(self) -> str:
        """The name or folder that the model was loaded from."""
        return str(getattr(self.model.config, "_name_or_path", "") or type(self.model).__name__)

    @property
    def context(self) -> int | None:
        """How many tokens prompt and completion may have together."""
        length = getattr(self.model.config, "max_position_embeddings", None)
        return length if isinstance(length, int) else None

    def encode(self, text: str) -> list[int]:
        """Return the token ids of a prompt, with the special tokens that the model expects."""
        with self._lock:
            return list(self.tokenizer(text)["input_ids"])

    def tokenize(self, text: str) -> list[int]:
        """Return the token ids of a text alone."""
        with self._lock:
            return list(self.tokenizer(text, add_special_tokens=False)["input_ids"])

    def decode(self, tokens: Sequence[int]) -> str:
        """Return the text of tokens; special ones have none."""
        with self._lock:
            return str(
                self.tokenizer.decode(
                    tokens, skip_special_tokens=True, clean_up_tokenization_spaces=False
                )
            )

    def generate(
        self,
        prompts: Sequence[list[int]],
        parameters: Mapping[str, Any],
        *,
        stop: Sequence[str] = (),
        cancelled: Callable[[], bool] = lambda: False,
        on_step: Callable[[list[int]], object] = lambda tokens: None,
    ) -> list[Completion]:
        """Complete prompts in one padded batch.

        Args:
            prompts: Token ids.
            parameters: `seed`, and those of transformers' GenerationConfig.
            stop: A row ends once its text has one of these; it is not cut here.
            cancelled: Looked at after each step; the rows end where it is true.
            on_step: Given the newest token of each row after each step.

        Raises:
            ContextOverflowError: A prompt leaves no room for a completion.
        """
        completions = [Completion(prompt) for prompt in prompts]
        width = max(map(len, prompts))
        settings, sampler = self._settings(parameters, len(prompts), width)
        watch = _Watch(self, completions, stop, cancelled, on_step)
        ids = torch.full((len(prompts), width), int(settings.pad_token_id or 0))
        mask = torch.zeros_like(ids)
        for row, prompt in enumerate(prompts):
            ids[row, width - len(prompt) :] = torch.tensor(prompt)
            mask[row, width - len(prompt) :] = 1
        with torch.inference_mode():
            self.model.generate(
                inputs=ids.to(self.model.device),
                attention_mask=mask.to(self.model.device),
                generation_config=settings,
                logits_processor=sampler,
                stopping_criteria=StoppingCriteriaList([watch]),
            )
        return completions

    def is_end(self, token: int) -> bool:
        """Whether a token ends a completion."""
        return token in self._ends

    def _settings(
        self, parameters: Mapping[str, Any], rows: int, width: int
    ) -> tuple[GenerationConfig, LogitsProcessorList]:
        given = {name: value for name, value in parameters.items() if value is not None}
        seed = given.pop("seed", None)
        settings = copy.deepcopy(self.model.generation_config)
        settings.max_length = None
        settings.max_new_tokens = given.pop("max_new_tokens", None) or 256
        temperature = given.pop("temperature", None)
        samples = settings.do_sample if temperature is None else temperature > 0
        for name, value in given.items():
            setattr(settings, name, value)
        if "do_sample" not in given:
            settings.do_sample = False  # the sampler below draws, with a generator of its own
        elif temperature:
            settings.temperature = temperature
        if settings.pad_token_id is None:
            settings.pad_token_id = self.tokenizer.pad_token_id or next(iter(self._ends), 0)
        if self.context is not None:
            if width >= self.context:
                raise ContextOverflowError(
                    f"a prompt of {width} tokens leaves no room in the context of {self.name}, "
                    f"{self.context} tokens"
                )
            settings.max_new_tokens = min(settings.max_new_tokens, self.context - width)
        sampler = LogitsProcessorList()
        if samples and "do_sample" not in given:
            sampler = _sampler(settings, temperature, seed, rows)
            settings.temperature = settings.top_k = settings.top_p = settings.min_p = None
        return settings, sampler


def _sampler(
    settings: GenerationConfig, temperature: float | None, seed: int | None, rows: int
) -> LogitsProcessorList:
    """Return what turns the best token into a drawn one.

    Each row draws from a generator of its own, so that a seed gives the same text in a batch and
    alone, whatever else is drawn in the process meanwhile.
    """
    found = LogitsProcessorList()
    temperature = temperature or settings.temperature
    if temperature not in (None, 1.0):
        found.append(TemperatureLogitsWarper(float(temperature)))
    if settings.top_k:
        found.append(TopKLogitsWarper(settings.top_k))
    if settings.top_p is not None and settings.top_p < 1:
        found.append(TopPLogitsWarper(settings.top_p))
    if settings.min_p is not None:
        found.append(MinPLogitsWarper(settings.min_p))
    found.append(_Draw(rows, seed))
    return found


class _Draw(LogitsProcessor):  # type: ignore[misc]
    """Adds noise to logits so that the greatest is a draw from their distribution.

    The Gumbel-max trick: https://arxiv.org/abs/1411.0030
    """

    def __init__(self, rows: int, seed: int | None) -> None:
        self._generators = [torch.Generator() for _ in range(rows)]
        for generator in self._generators:
            generator.seed() if seed is None else generator.manual_seed(seed)

    def __call__(self, input_ids: Any, scores: Any) -> Any:
        noise = torch.stack(
            [torch.empty(scores.shape[-1]).exponential_(generator=g) for g in self._generators]
        )
        return scores.float().log_softmax(-1) - noise.to(scores.device).log()


class _Watch(StoppingCriteria):  # type: ignore[misc]
    """Takes the tokens of each step, and says which rows have ended."""

    def __init__(
        self,
        engine: Engine,
        completions: list[Completion],
        stop: Sequence[str],
        cancelled: Callable[[], bool],
        on_step: Callable[[list[int]], object],
    ) -> None:
        self._engine = engine
        self._completions = completions
        self._stop = stop
        self._window = max(map(len, stop), default=0) + _STOP_MARGIN
        self._cancelled = cancelled
        self._on_step = on_step
        self._over = [False] * len(completions)

    def __call__(self, input_ids: Any, scores: Any, **kwargs: Any) -> Any:
        newest: list[int] = input_ids[:, -1].tolist()
        for row, token in enumerate(newest):
            if not self._over[row]:
                self._over[row] = self._take(self._completions[row], token)
        self._on_step(newest)
        over = [True] * len(newest) if self._cancelled() else self._over
        return torch.tensor(over, device=input_ids.device)

    def _take(self, completion: Completion, token: int) -> bool:
        completion.tokens.append(token)
        if self._engine.is_end(token):
            completion.finish_reason = "stop"
            return True
        if not self._stop:
            return False
        text = self._engine.decode(completion.tokens[-self._window :])
        return any(one in text for one in self._stop)
