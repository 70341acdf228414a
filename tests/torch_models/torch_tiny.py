"""Tiny models with random weights, and what tests of them share."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM
from transformers import PreTrainedTokenizerFast as Fast

CONTEXT = 96
NO_END = {"eos_token_id": 10_000}
"""A token that there is not, so that a completion goes on to its last token."""
MERGES = [("t", "h"), ("th", "e"), ("Ġ", "the"), ("a", "n"), ("Ġ", "an"), ("i", "n")]


def tokenizer(**special: str) -> Fast:
    """Bytes, a few merges, and special tokens: any text, and completions that are no text."""
    texts = [*sorted(pre_tokenizers.ByteLevel.alphabet()), *(a + b for a, b in MERGES)]
    vocabulary = {text: number for number, text in enumerate(["</s>", "<s>", "<mark>", *texts])}
    inner = Tokenizer(models.BPE(vocab=vocabulary, merges=MERGES))
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    special = {"eos_token": "</s>", **special}
    return Fast(tokenizer_object=inner, extra_special_tokens=["<mark>"], **special)


def _sized(found: Any) -> dict[str, Any]:
    ends = {"bos_token_id": 1, "eos_token_id": 0, "pad_token_id": None}
    return {"vocab_size": len(found), **ends}


def tiny(seed: int = 0, **changes: Any) -> tuple[LlamaForCausalLM, Fast]:
    """Llama with rotary positions; doubles, so that a batch differs in no bit that counts."""
    found = tokenizer()
    config = {
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": CONTEXT,
        "initializer_range": 0.4,
    }
    torch.manual_seed(seed)
    return LlamaForCausalLM(
        LlamaConfig(**{**config, **_sized(found), **changes})
    ).double().eval(), found


def tiny_gpt2(seed: int = 0) -> tuple[GPT2LMHeadModel, Fast]:
    """GPT-2 with learned positions: padding on the left must not move them."""
    found = tokenizer()
    sizes = {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": CONTEXT}
    config = GPT2Config(**_sized(found), **sizes, initializer_range=0.4)
    torch.manual_seed(seed)
    return GPT2LMHeadModel(config).double().eval(), found


def facts(llm: Any, prompt: str, **call: Any) -> dict[str, Any]:
    found = llm.generate([prompt], **call).generations[0][0].generation_info
    assert found is not None
    return found


def eventually(condition: Callable[[], object], patience: float = 30) -> bool:
    """Wait for something that must come about, with a bound for liveness only."""
    deadline = time.monotonic() + patience
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True
