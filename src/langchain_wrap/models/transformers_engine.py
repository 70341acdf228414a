"""A transformers model at work: completions in, each step a token more, one or many at once."""

from __future__ import annotations

import atexit
import copy
import gc
import os
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from langchain_core.exceptions import ContextOverflowError
from transformers import (
    GenerationConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    StoppingCriteria,
    StoppingCriteriaList,
)

from langchain_wrap.models.transformers_completion import Completion
from langchain_wrap.models.transformers_sampling import PARAMETERS, WARPERS
from langchain_wrap.models.transformers_scores import PENALTIES, processors

_EXIT_PATIENCE = 10.0
_EXIT_REST = 0.1
"""Seconds for a thread that has just ended a generation to get out of torch's frames too."""

_NEUTRAL: dict[str, Any] = {
    "do_sample": False,
    "temperature": 1.0,
    "top_k": 50,
    "top_p": 1.0,
    "typical_p": 1.0,
    "epsilon_cutoff": 0.0,
    "eta_cutoff": 0.0,
    "repetition_penalty": 1.0,
    "no_repeat_ngram_size": 0,
    "num_beams": 1,
    "num_return_sequences": 1,
    "penalty_alpha": 0.0,
    "token_healing": False,
    "use_mtp": False,
    "return_dict_in_generate": False,
    "output_scores": False,
    "output_logits": False,
    "output_attentions": False,
    "output_hidden_states": False,
}
"""What `processors` does instead, and what is not there.

Each has a value, since generate() fills in what is None from the model's own generation config.
"""

_OURS = frozenset({*PARAMETERS, *WARPERS, *PENALTIES, "do_sample"})


class Engine:
    """A model and its tokenizer, for any threads at once.

    Args:
        model: The model, on its device.
        tokenizer: Its tokenizer.
    """

    def __init__(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
        self.model = model
        self.tokenizer = tokenizer
        # Fast tokenizers are written in Rust and refuse two threads at once now and then.
        self._lock = threading.Lock()
        _engines.add(self)

    @property
    def name(self) -> str:
        """The name or folder that the model was loaded from."""
        return str(getattr(self.model.config, "_name_or_path", "") or type(self.model).__name__)

    @property
    def context(self) -> int | None:
        """How many tokens prompt and completion may have together; None: the model says nothing."""
        config = self.model.config.get_text_config()
        length = getattr(config, "max_position_embeddings", None)
        return length if isinstance(length, int) and length > 0 else None

    def encode(self, text: str) -> list[int]:
        """Return the tokens of a prompt, at least one.

        Raises:
            ContextOverflowError: The prompt leaves no room for a completion.
            ValueError: It has no tokens, and the model no token to begin with.
        """
        tokens = self.tokenize(text)
        if not tokens:
            begin = self.tokenizer.bos_token_id
            begin = self.tokenizer.eos_token_id if begin is None else begin
            if begin is None:
                raise ValueError(
                    f"the prompt {text!r} has no tokens, and {self.name} has no token to begin a "
                    "text with: give some text"
                )
            tokens = [begin]
        if self.context is not None and len(tokens) >= self.context:
            raise ContextOverflowError(
                f"a prompt of {len(tokens)} tokens leaves no room in the context of {self.name}, "
                f"{self.context} tokens"
            )
        return tokens

    def tokenize(self, text: str) -> list[int]:
        """Return the tokens of a text, with the special ones that the tokenizer adds.

        Raises:
            ValueError: It has a lone surrogate.
        """
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise ValueError(
                f"the prompt has a lone surrogate at position {error.start}, which is no character"
            ) from None
        with self._lock:
            tokens = list(self.tokenizer(text, verbose=False)["input_ids"])
        begin = self.tokenizer.bos_token_id
        if begin is not None and tokens[:2] == [begin, begin]:
            del tokens[0]  # a chat template has written it already
        return tokens

    def decode(self, tokens: Sequence[int]) -> str:
        """Return the text of tokens; special ones have none."""
        with self._lock:
            return str(
                self.tokenizer.decode(
                    tokens, skip_special_tokens=True, clean_up_tokenization_spaces=False
                )
            )

    def begin(self, prompt: Sequence[int], stop: Sequence[str] = ()) -> Completion:
        """Return the empty completion of a prompt."""
        return Completion(prompt, self.decode, stop)

    def generate(
        self,
        completions: Sequence[Completion],
        parameters: Mapping[str, Any],
        *,
        cancelled: Callable[[], bool] = lambda: False,
        on_piece: Callable[[Completion, str], object] = lambda completion, piece: None,
    ) -> None:
        """Complete prompts in one padded batch.

        Args:
            completions: What to complete, in place.
            parameters: As `transformers_sampling.effective` gives them.
            cancelled: Looked at after each step; the rows end where it is true.
            on_piece: Given each completion that goes on, and its newest text, after each step.
        """
        prompts = [completion.prompt for completion in completions]
        width = max(map(len, prompts))
        settings = self._settings(parameters, width)
        own = processors(
            parameters, self.model.generation_config, [width - len(prompt) for prompt in prompts]
        )
        ids = torch.full((len(prompts), width), settings.pad_token_id)
        mask = torch.zeros_like(ids)
        for row, prompt in enumerate(prompts):
            ids[row, width - len(prompt) :] = torch.tensor(prompt)
            mask[row, width - len(prompt) :] = 1
        watch = _Watch(completions, _ids(settings.eos_token_id), cancelled, on_piece)
        with _at_work(), torch.inference_mode():
            self.model.generate(
                inputs=ids.to(self.model.device),
                attention_mask=mask.to(self.model.device),
                generation_config=settings,
                logits_processor=own,
                stopping_criteria=StoppingCriteriaList([watch]),
                **({"tokenizer": self.tokenizer} if settings.stop_strings else {}),
            )
        for completion in completions:
            if not completion.over and settings.stop_strings:
                completion.finish_reason = "stop"  # the model's own generation config has them
            if piece := completion.finish():
                on_piece(completion, piece)

    def free(self) -> None:
        """Give memory back that a failed attempt has left behind."""
        gc.collect()
        empty = getattr(getattr(torch, self.model.device.type, None), "empty_cache", None)
        if empty is not None:
            empty()

    def _settings(self, parameters: Mapping[str, Any], width: int) -> GenerationConfig:
        settings = copy.deepcopy(self.model.generation_config)
        for name, value in _NEUTRAL.items():
            if hasattr(settings, name):  # some are newer than the oldest transformers
                setattr(settings, name, value)
        for name, value in parameters.items():
            if name not in _OURS:
                setattr(settings, name, value)
        settings.max_length = settings.min_length = None
        settings.max_new_tokens = parameters["max_new_tokens"]
        if self.context is not None:
            settings.max_new_tokens = min(settings.max_new_tokens, self.context - width)
        ends = _ids(settings.eos_token_id) or _ids(self.tokenizer.eos_token_id)
        settings.eos_token_id = sorted(ends) or None
        if settings.pad_token_id is None:
            pad = self.tokenizer.pad_token_id
            settings.pad_token_id = pad if pad is not None else min(ends, default=0)
        return settings


class _Watch(StoppingCriteria):  # type: ignore[misc]
    """Takes the tokens of each step, and says which rows have ended."""

    def __init__(
        self,
        completions: Sequence[Completion],
        ends: frozenset[int],
        cancelled: Callable[[], bool],
        on_piece: Callable[[Completion, str], object],
    ) -> None:
        self._completions = completions
        self._ends = ends
        self._cancelled = cancelled
        self._on_piece = on_piece

    def __call__(self, input_ids: Any, scores: Any, **kwargs: Any) -> Any:
        newest: list[int] = input_ids[:, -1].tolist()
        for completion, token in zip(self._completions, newest, strict=True):
            if not completion.over:
                piece = completion.take(token, is_end=token in self._ends)
                self._on_piece(completion, piece)
        if self._cancelled() or _exit.ending:
            for completion in self._completions:
                completion.cancel()
        over = [completion.over for completion in self._completions]
        return torch.tensor(over, device=input_ids.device)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether the device, or the machine, had too little memory for a batch."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    told = str(error)
    return isinstance(error, RuntimeError) and (
        "out of memory" in told or ("DefaultCPUAllocator" in told and "memory" in told)
    )


def _ids(tokens: Any) -> frozenset[int]:
    if tokens is None:
        return frozenset()
    return frozenset([tokens] if isinstance(tokens, int) else map(int, tokens))


class _Exit:
    """What has to end before the interpreter does: a thread inside torch at its end is a crash."""

    def __init__(self) -> None:
        self.ending = False
        self.running = 0
        self.changed = threading.Condition()

    def wait(self) -> None:
        """Have what runs end at its next token."""
        self.ending = True
        with self.changed:
            if not self.running:
                return
            self.changed.wait_for(lambda: not self.running, _EXIT_PATIENCE)
        time.sleep(_EXIT_REST)


_exit = _Exit()
_engines: weakref.WeakSet[Engine] = weakref.WeakSet()
atexit.register(lambda: _exit.wait())


@contextmanager
def _at_work() -> Iterator[None]:
    exit_ = _exit
    with exit_.changed:
        exit_.running += 1
    try:
        yield
    finally:
        with exit_.changed:
            exit_.running -= 1
            exit_.changed.notify_all()


def _after_fork() -> None:
    global _exit
    _exit = _Exit()
    for engine in list(_engines):
        engine._lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
