"""The real model, dequantised; and langchain-huggingface beside it."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor

import pytest
from torch_tiny import facts

from langchain_wrap.checks import check_llm
from langchain_wrap.models import Transformers

FRANCE = "The capital of France is"
PROMPTS = [
    FRANCE,
    "Once upon a time there was a king who",
    "def fibonacci(n):\n    ",
    "The opposite of hot is",
    "Water",
    "A list of three colours, one a line:\n1. red\n2.",
]
CHAT = "<|im_start|>user\n{}<|im_end|>\n<|im_start|>assistant\n"
UNTOLD = {"SECRET-01", "SECRET-02", "SECRET-03", "SECRET-04", "SECRET-06", "DOCS-03"}
"""It has no field for a key or for headers, and no service stands behind it."""
HERE = {"BATCH-13", "BATCH-14"}
"""It computes on this machine, where a list need not be faster than one by one."""


@pytest.fixture(scope="module")
def alone(smollm: Transformers) -> list[str]:
    return [smollm.invoke(prompt) for prompt in PROMPTS]


def test_completes(alone):
    assert alone[0].startswith(" Paris.")
    assert "cold" in alone[3]


def test_a_batch_gives_what_one_by_one_gives(smollm, alone):
    assert smollm.batch(PROMPTS) == alone
    assert smollm.model_copy(update={"max_batch_tokens": 60}).batch(PROMPTS) == alone


def test_four_threads_stream_what_they_stream_alone(smollm, alone):
    def read(prompt: str) -> list[str]:
        return list(smollm.stream(prompt))

    with ThreadPoolExecutor(4) as threads:
        streams = list(threads.map(read, PROMPTS))
    assert ["".join(stream) for stream in streams] == alone
    assert all(len(stream) > 10 for stream in streams)


def test_async_streams_and_a_batch_at_once(smollm, alone):
    async def read(prompt: str) -> str:
        return "".join([piece async for piece in smollm.astream(prompt)])

    async def main() -> list[object]:
        streams = [read(prompt) for prompt in PROMPTS[:3]]
        return await asyncio.gather(*streams, smollm.abatch(PROMPTS))

    assert asyncio.run(main()) == [*alone[:3], alone]


def test_a_seed_in_every_path(smollm):
    drawn = {"temperature": 0.9, "top_p": 0.95, "seed": 11}
    text = smollm.invoke(FRANCE, **drawn)
    assert smollm.batch([*PROMPTS, FRANCE], **drawn)[-1] == text
    assert "".join(smollm.stream(FRANCE, **drawn)) == text
    assert asyncio.run(smollm.ainvoke(FRANCE, **drawn)) == text
    assert smollm.invoke(FRANCE, **{**drawn, "seed": 12}) != text


def test_stops_and_what_is_known_of_them(smollm, alone):
    assert smollm.batch([FRANCE, PROMPTS[1]], stop=[".\n"])[0] == " Paris"
    assert "".join(smollm.stream(FRANCE, stop=["ris."])) == " Pa"
    found = facts(smollm, FRANCE, stop=["."])
    assert found["finish_reason"] == "stop"
    assert found["token_usage"] == {
        "prompt_tokens": 5,
        "completion_tokens": 2,
        "total_tokens": 7,
    }
    assert smollm.get_num_tokens(FRANCE) == 5
    assert found["model_name"] == "SmolLM2-135M-Instruct.Q4_1"


def test_its_own_end(smollm):
    prompt = CHAT.format("Say only: OK")
    found = smollm.generate([prompt], max_new_tokens=100).generations[0][0]
    assert found.generation_info["finish_reason"] == "stop"
    assert "<|im_end|>" not in found.text
    assert "".join(smollm.stream(prompt, max_new_tokens=100)) == found.text


def test_its_chat_template_and_special_tokens(smollm):
    template = smollm._chat_template()
    assert template is not None
    assert "<|im_start|>" in template
    special = smollm._special_tokens()
    assert (special["bos_token"], special["eos_token"]) == ("<|im_start|>", "<|im_end|>")
    assert smollm.get_token_ids("<|im_start|>") == [1]


def test_unicode(smollm):
    """The model is made to say it: whatever it says is text, in whole characters."""
    prompt = (
        'Repeat: "naïve café 日本語 🎂🎉"\nRepeat: "naïve café 日本語 🎂🎉"\nRepeat: "naïve café'
    )
    text = smollm.invoke(prompt, max_new_tokens=20)
    assert text.startswith(" 日本語 🎂🎉")
    pieces = list(smollm.stream(prompt, max_new_tokens=20))
    assert "".join(pieces) == text
    assert not any("\ufffd" in piece for piece in pieces)


def test_langchain_huggingface_gives_the_same_text_and_the_prompt_with_it(smollm, alone):
    """What the migration note says about it."""
    from langchain_huggingface import HuggingFacePipeline
    from transformers import pipeline

    engine = smollm._engine()
    pipe = pipeline(
        "text-generation",
        model=engine.model,
        tokenizer=engine.tokenizer,
        max_new_tokens=16,
        do_sample=False,
    )
    other = HuggingFacePipeline(pipeline=pipe)
    assert other.invoke(FRANCE) == FRANCE + alone[0]
    assert "".join(other.stream(FRANCE)) == alone[0]
    ours = Transformers(pipeline=pipe, max_new_tokens=16, generation={"do_sample": False})
    assert ours.invoke(FRANCE) == "".join(ours.stream(FRANCE)) == alone[0]


@pytest.mark.timeout(900)
def test_it_holds_every_clause(smollm):
    report = check_llm(smollm, timeout=60)  # a busy machine is not the model's fault
    assert report, str(report)
    assert {result.id for result in report if result.status == "skipped"} <= UNTOLD | HERE
