"""Transformers: a batch of 16 by `Transformers`, by langchain-huggingface and by the model itself.

All three share one loaded model (SmolLM2-135M, float32) and make 16 tokens for each prompt,
greedily. By itself means `model.generate` on one padded batch. Runs alone too:
`python -m benchmarks.transformers`.
"""

import warnings
from collections.abc import Callable, Iterator
from typing import Any

import torch
import transformers
from langchain_huggingface import HuggingFacePipeline

from benchmarks.measure import Row, in_turn
from langchain_wrap.models import Transformers, weights

TOKENS = 16
TOPICS = ["cats", "rivers", "the sea", "old maps", "bread", "stars", "trains", "winter"]
PROMPTS = [
    f"{start} {topic}" for start in ("A short story about", "What to know of") for topic in TOPICS
]
EXACT = {"max_new_tokens": TOKENS, "min_new_tokens": TOKENS, "do_sample": False}
REPEATS = 3


def loaded() -> Any:
    """The pipeline that all three use."""
    path = weights.resolve(weights.DEFAULT)
    where = {"gguf_file": path.name}
    tokenizer = transformers.AutoTokenizer.from_pretrained(path.parent, **where)
    tokenizer.padding_side = "left"
    tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
    model = transformers.AutoModelForCausalLM.from_pretrained(path.parent, **where).eval()
    # HuggingFacePipeline passes over pipeline_kwargs where it is given a pipeline.
    return transformers.pipeline("text-generation", model=model, tokenizer=tokenizer, **EXACT)


def by_itself(pipeline: Any) -> Callable[[], object]:
    def work() -> object:
        given = pipeline.tokenizer(PROMPTS, return_tensors="pt", padding=True)
        with torch.inference_mode():
            made = pipeline.model.generate(**given, **EXACT)
        return pipeline.tokenizer.batch_decode(made[:, given["input_ids"].shape[1] :])

    return work


def rows() -> Iterator[Row]:
    warnings.simplefilter("ignore")
    transformers.logging.set_verbosity_error()
    pipeline = loaded()
    ours = Transformers(
        pipeline=pipeline,
        temperature=0,
        max_new_tokens=TOKENS,
        generation={"min_new_tokens": TOKENS},
    )
    theirs = HuggingFacePipeline(pipeline=pipeline, batch_size=16)
    alone = HuggingFacePipeline(pipeline=pipeline)
    mine, other, default, limit = in_turn(
        REPEATS,
        lambda: ours.batch(PROMPTS),
        lambda: theirs.batch(PROMPTS),
        lambda: alone.batch(PROMPTS),
        by_itself(pipeline),
    )
    tokens = len(PROMPTS) * TOKENS
    work = f"Transformers: batch of {len(PROMPTS)} prompts x {TOKENS} tokens"
    for against, seconds, goal, least in (
        ("HuggingFacePipeline(batch_size=16)", other, "≥ 0.95", 0.95),
        ("HuggingFacePipeline, its default of 4", default, "> 1", 1.0),
        ("model.generate on one padded batch", limit, "≥ 0.9", 0.9),
    ):
        yield Row(
            work=work,
            ours=tokens / mine,
            reference=tokens / seconds,
            unit="tokens/s",
            against=against,
            goal=goal,
            met=seconds / mine >= least,
            higher_is_better=True,
        )


if __name__ == "__main__":
    from benchmarks.__main__ import line

    for row in rows():
        print(line(row), flush=True)
