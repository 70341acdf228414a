"""One prompt, one text: alone, in a batch, as a stream, whatever else is there."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch_tiny import CONTEXT, facts, tiny, tiny_gpt2, tokenizer

from langchain_wrap.models import Transformers

PROMPTS = ["a", "the cat and the dog", "né €", "hello", "in the end", "0123456789" * 4]
SLOW = settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))

lengths = st.lists(st.integers(0, 60), min_size=1, max_size=9)


def prompts_of(lengths: list[int]) -> list[str]:
    return [("abcdefghij" * 6)[number % 7 :][:length] for number, length in enumerate(lengths)]


@pytest.fixture(scope="module", params=["llama", "gpt2"])
def either(request: pytest.FixtureRequest) -> Transformers:
    model, own = tiny() if request.param == "llama" else tiny_gpt2()
    return Transformers(model=model, tokenizer=own, temperature=0, max_new_tokens=10)


@given(lengths)
@SLOW
def test_a_batch_gives_what_one_by_one_gives(either, lengths):
    prompts = prompts_of(lengths)
    assert either.batch(prompts) == [either.invoke(prompt) for prompt in prompts]


@given(lengths, st.integers(0, 2**63 - 1))
@SLOW
def test_so_it_does_with_a_seed(llm, lengths, seed):
    prompts = prompts_of(lengths)
    drawn = {"temperature": 1.3, "top_k": 40, "seed": seed}
    assert llm.batch(prompts, **drawn) == [llm.invoke(prompt, **drawn) for prompt in prompts]


@pytest.mark.parametrize(
    "parameters",
    [
        {"repetition_penalty": 1.8},
        {"no_repeat_ngram_size": 2},
        {"repetition_penalty": 1.3, "no_repeat_ngram_size": 3, "temperature": 1.0, "seed": 4},
        {"min_new_tokens": 8, "eos_token_id": [*range(0, 200, 2)]},
        {"min_p": 0.05, "top_p": 0.9, "typical_p": 0.8, "seed": 1, "temperature": 0.9},
        {"top_h": 0.5, "epsilon_cutoff": 1e-3, "eta_cutoff": 1e-3, "seed": 1, "temperature": 0.9},
        {"suppress_tokens": [*range(0, 200, 3)], "bad_words_ids": [[9], [10, 11]]},
    ],
    ids=str,
)
def test_so_it_does_with_penalties_and_the_like(either, parameters):
    one_by_one = [either.invoke(prompt, **parameters) for prompt in PROMPTS]
    assert either.batch(PROMPTS, **parameters) == one_by_one
    assert ["".join(either.stream(prompt, **parameters)) for prompt in PROMPTS] == one_by_one
    assert one_by_one != [either.invoke(prompt) for prompt in PROMPTS]


def test_padding_is_no_token_that_was_there_before():
    """The token that ends a text pads it too: a penalty on it would be one on the end."""
    model, own = tiny()
    model.generation_config.pad_token_id = model.generation_config.eos_token_id
    llm = Transformers(model=model, tokenizer=own, temperature=0, repetition_penalty=50.0)
    short, long = "a", "0123456789" * 6
    assert llm.batch([short, long]) == [llm.invoke(short), llm.invoke(long)]


@pytest.mark.parametrize("drawn", [{}, {"temperature": 1.0, "seed": 7}], ids=str)
def test_every_path_gives_the_same_text(either, drawn):
    async def paths(prompt: str) -> list[str]:
        streamed = [piece async for piece in either.astream(prompt, **drawn)]
        whole = [await either.ainvoke(prompt, **drawn), *await either.abatch([prompt], **drawn)]
        return ["".join(streamed), *whole]

    for prompt in PROMPTS:
        text = either.invoke(prompt, **drawn)
        assert "".join(either.stream(prompt, **drawn)) == text
        assert asyncio.run(paths(prompt)) == [text] * 3


def test_the_text_is_what_the_tokenizer_says(llm):
    """Incremental detokenising against decoding it all: completions here are no valid UTF-8."""
    import torch

    for prompt in PROMPTS:
        ids = torch.tensor([llm.tokenizer(prompt)["input_ids"]])
        whole = llm.model.generate(
            ids, attention_mask=torch.ones_like(ids), max_new_tokens=12, do_sample=False,
            pad_token_id=0,
        )  # fmt: skip
        expected = llm.tokenizer.decode(whole[0, ids.shape[1] :], skip_special_tokens=True)
        assert llm.invoke(prompt) == expected


def test_a_seed_repeats_and_no_seed_does_not(llm):
    drawn = {"temperature": 2.0, "max_new_tokens": 12}
    assert len({llm.invoke("x", **drawn) for _ in range(4)}) == 4
    assert len({llm.invoke("x", seed=5, **drawn) for _ in range(4)}) == 1
    assert len({llm.invoke("x", seed=seed, **drawn) for seed in range(4)}) == 4
    assert len(set(llm.batch(["x"] * 4, **drawn))) == 4


def test_a_seed_does_not_touch_the_generator_of_the_process(llm):
    import torch

    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    llm.invoke("x", temperature=1.0, seed=9)
    llm.invoke("x", temperature=1.0)
    assert torch.rand(1) == expected


def test_draws_follow_the_distribution():
    """Half a thousand draws of one token against the probabilities that the model says."""
    import torch

    model, own = tiny(initializer_range=0.2)
    llm = Transformers(model=model, tokenizer=own, max_new_tokens=1, temperature=1.0, top_k=3)
    engine = llm._engine()
    ids = engine.encode("hello")
    with torch.inference_mode():
        best = model(torch.tensor([ids])).logits[0, -1].softmax(-1).topk(3)
    expected = best.values / best.values.sum()
    seen: dict[int, int] = dict.fromkeys(best.indices.tolist(), 0)
    from langchain_wrap.models.transformers_scores import processors

    rows = 3000
    drawn = processors({"temperature": 1.0, "top_k": 3}, model.generation_config, [0] * rows)
    logits = model(torch.tensor([ids])).logits[:, -1].detach().float().repeat(rows, 1)
    for token in drawn(torch.tensor([ids] * rows), logits).argmax(-1).tolist():
        seen[token] += 1
    for share, count in zip(expected.tolist(), seen.values(), strict=True):
        assert abs(count / rows - share) < 0.05


def test_what_shapes_a_draw_asks_for_one(llm):
    loose = Transformers(model=llm.model, tokenizer=llm.tokenizer, max_new_tokens=12)
    greedy = llm.invoke("x")
    assert loose.invoke("x") == greedy
    assert loose.invoke("x", top_k=40, seed=1) != greedy
    assert loose.invoke("x", top_k=40, seed=1, temperature=0) == greedy
    assert loose.invoke("x", do_sample=True, seed=1) == loose.invoke("x", seed=1, temperature=1.0)
    assert loose.invoke("x", do_sample=False, top_p=0.5) == greedy
    assert llm.invoke("x", do_sample=True, seed=1) == loose.invoke("x", do_sample=True, seed=1)


def test_the_models_own_generation_config_is_the_default():
    model, own = tiny()
    model.generation_config.update(do_sample=True, temperature=0.7, top_k=5)
    llm = Transformers(model=model, tokenizer=own, max_new_tokens=12, seed=2)
    assert llm.invoke("x") == llm.invoke("x", do_sample=True, temperature=0.7, top_k=5)
    assert llm.invoke("x") != llm.invoke("x", top_k=0)
    plain, _ = tiny()
    plain = Transformers(model=plain, tokenizer=own, max_new_tokens=12)
    assert llm.invoke("x", temperature=0) == plain.invoke("x", temperature=0)
    model.generation_config.update(
        do_sample=False, temperature=1.0, repetition_penalty=2.0, num_beams=3, max_length=4
    )
    assert llm.invoke("x", temperature=0) == plain.invoke(
        "x", temperature=0, repetition_penalty=2.0
    )


class TestStops:
    @pytest.mark.parametrize("path", ["invoke", "stream", "batch"])
    def test_a_stop_across_tokens(self, llm, path):
        paths: dict[str, Any] = {
            "invoke": llm.invoke,
            "stream": lambda prompt, **call: "".join(llm.stream(prompt, **call)),
            "batch": lambda prompt, **call: llm.batch([prompt, "a longer one"], **call)[0],
        }
        for prompt in PROMPTS:
            text = llm.invoke(prompt)
            for begin in range(len(text) - 2):
                stop = text[begin : begin + 3]
                assert paths[path](prompt, stop=[stop]) == text[: text.index(stop)]

    def test_a_stop_ends_the_model(self, llm):
        text = llm.invoke("hello")
        for path in (facts, lambda llm, prompt, **call: last(llm, prompt, **call)):
            found = path(llm, "hello", stop=[text[2:4]])
            assert found["finish_reason"] == "stop"
            assert found["stop_reason"] == text[2:4]
            assert found["token_usage"]["completion_tokens"] < 12

    def test_only_its_own_row_ends(self, llm):
        one, two = llm.invoke("hello"), llm.invoke("in the end")
        stop = one[1:4]
        assert stop not in two
        assert llm.batch(["hello", "in the end"], stop=[stop]) == [one[: one.index(stop)], two]

    def test_the_batch_method_itself_says_why_it_ended(self, llm):
        text = llm.invoke("hello")
        (found,) = llm._batch(["hello"], stop=[text[1:4]])
        assert found.generation_info["finish_reason"] == "stop"
        assert found.text.startswith(text[:4])

    def test_a_stop_of_many_tokens(self):
        """An emoji has four of them; the last few would not show the whole stop."""
        own = tokenizer()
        cake = "🎂" * 6
        completions = Transformers(model=tiny()[0], tokenizer=own, temperature=0)._engine()
        completion = completions.begin(own("x")["input_ids"], [cake])
        for token in own("so: " + cake)["input_ids"]:
            assert not completion.over
            completion.take(token, is_end=False)
        assert completion.over
        assert completion.finish_reason == "stop"

    def test_it_stays_if_it_is_asked_for(self, llm):
        text = llm.invoke("hello")
        kept = llm.model_copy(update={"include_stop": True})
        stop = text[2:4]
        assert kept.invoke("hello", stop=[stop]) == text[: text.index(stop) + 2]


def last(llm: Transformers, prompt: str, **call: Any) -> dict[str, Any]:
    """What is known at the end of a stream."""
    from langchain_core.tracers.run_collector import RunCollectorCallbackHandler

    seen = RunCollectorCallbackHandler()
    list(llm.stream(prompt, config={"callbacks": [seen]}, **call))
    info = seen.traced_runs[0].outputs["generations"][0][0]["generation_info"]
    assert isinstance(info, dict)
    return info


class TestEnds:
    def test_usage_and_reason(self, llm):
        found = facts(llm, "hello")
        assert found["finish_reason"] == "length"
        counts = {"prompt_tokens": 5, "completion_tokens": 12, "total_tokens": 17}
        assert found["token_usage"] == counts
        assert found["model_name"] == "LlamaForCausalLM"
        assert last(llm, "hello") == found

    def test_usage_of_a_batch(self, llm):
        result = llm.generate(PROMPTS)
        counts = [found[0].generation_info["token_usage"] for found in result.generations]
        assert [count["prompt_tokens"] for count in counts] == list(
            map(llm.get_num_tokens, PROMPTS)
        )
        total = sum(count["total_tokens"] for count in counts)
        assert result.llm_output["token_usage"]["total_tokens"] == total

    @pytest.mark.parametrize("special", [True, False])
    def test_the_models_own_end_has_no_text(self, special):
        """Whether its tokenizer calls the token special or not."""
        model, own = tiny()
        llm = Transformers(model=model, tokenizer=own, temperature=0, max_new_tokens=12)
        text = llm.invoke("hello")
        end = end_at(llm, "hello", 3)
        if special:
            own.add_special_tokens({"extra_special_tokens": [own.convert_ids_to_tokens(end)]})
        found = facts(llm, "hello", eos_token_id=end)
        assert found["finish_reason"] == "stop"
        assert found["token_usage"]["completion_tokens"] <= 3
        short = llm.invoke("hello", eos_token_id=end)
        assert "".join(llm.stream("hello", eos_token_id=end)) == short
        assert text.startswith(short.rstrip("\ufffd"))
        assert len(short) < 3

    def test_it_may_have_several(self):
        model, own = tiny()
        llm = Transformers(model=model, tokenizer=own, temperature=0, max_new_tokens=12)
        ends = sorted({end_at(llm, "hello", 4), 1, 0})
        model.generation_config.eos_token_id = ends
        assert facts(llm, "hello")["token_usage"]["completion_tokens"] <= 4
        assert facts(llm, "hello")["finish_reason"] == "stop"

    def test_special_tokens_are_no_text(self, llm):
        own = llm.tokenizer
        mark = own.convert_tokens_to_ids("<mark>")
        ids = own("ab")["input_ids"]
        completion = llm._engine().begin(ids)
        for token in [*ids, mark, *ids]:
            completion.take(token, is_end=False)
        completion.finish()
        assert completion.text == "abab"

    def test_an_empty_completion(self, llm):
        end = end_at(llm, "hello", 1)
        assert llm.invoke("hello", eos_token_id=end) == ""
        assert "".join(llm.stream("hello", eos_token_id=end)) == ""
        assert facts(llm, "hello", eos_token_id=end)["finish_reason"] == "stop"


def end_at(llm: Transformers, prompt: str, count: int) -> int:
    """The token that comes at that place."""
    import torch

    ids = torch.tensor([llm._engine().encode(prompt)])
    whole = llm.model.generate(
        ids, attention_mask=torch.ones_like(ids), max_new_tokens=count, do_sample=False,
        pad_token_id=0,
    )  # fmt: skip
    return int(whole[0, -1])


class TestContext:
    def test_a_prompt_that_fills_it(self, llm):
        from langchain_core.exceptions import ContextOverflowError

        for path in (llm.invoke, lambda prompt: list(llm.stream(prompt))):
            with pytest.raises(ContextOverflowError, match=f"{CONTEXT} tokens.*{CONTEXT} tokens"):
                path("x" * CONTEXT)
        good, bad = llm.batch(["x", "x" * 200], return_exceptions=True)
        assert good == llm.invoke("x")
        assert isinstance(bad, ContextOverflowError)

    def test_near_its_end_a_completion_is_as_long_as_alone(self, llm):
        prompts = ["x" * (CONTEXT - left) for left in (1, 2, 5, 11, 12, 13, 40)]
        found = llm.generate(prompts).generations
        counts = [one[0].generation_info["token_usage"]["completion_tokens"] for one in found]
        assert counts[:3] == [1, 2, 5]
        assert [one[0].text for one in found] == [llm.invoke(prompt) for prompt in prompts]

    def test_a_model_without_a_bound(self):
        model, own = tiny()
        del model.config.max_position_embeddings
        llm = Transformers(model=model, tokenizer=own, temperature=0, max_new_tokens=3)
        assert facts(llm, "hello " * 30)["token_usage"]["completion_tokens"] == 3


class TestPrompts:
    def test_an_empty_prompt(self, llm):
        assert facts(llm, "")["token_usage"]["prompt_tokens"] == 1
        assert llm.batch(["", "x"]) == [llm.invoke(""), llm.invoke("x")]
        assert llm.get_num_tokens("") == 0

    def test_a_lone_surrogate(self, llm):
        with pytest.raises(ValueError, match="lone surrogate at position 2"):
            llm.invoke("ab\ud800")

    def test_the_mark_that_begins_a_text_is_not_doubled(self):
        from tokenizers.processors import TemplateProcessing

        own = tokenizer(bos_token="<s>")
        own.backend_tokenizer.post_processor = TemplateProcessing(
            single="<s> $A", special_tokens=[("<s>", 1)]
        )
        llm = Transformers(model=tiny()[0], tokenizer=own, temperature=0, max_new_tokens=4)
        assert llm.get_token_ids("a")[0] == 1
        assert llm.get_token_ids("<s>a") == llm.get_token_ids("a")
        assert llm.invoke("<s>a") == llm.invoke("a")

    def test_a_blank_between_prompt_and_completion_is_kept(self):
        """Tokenizers like Llama 2's drop a blank at the very beginning of what they decode."""
        from tokenizers import Tokenizer, decoders, models, pre_tokenizers
        from transformers import PreTrainedTokenizerFast

        words = {word: number for number, word in enumerate(["</s>", "▁one", "▁two", "▁three"])}
        inner = Tokenizer(models.WordLevel(words, unk_token="</s>"))
        inner.pre_tokenizer = pre_tokenizers.Metaspace()
        inner.decoder = decoders.Metaspace()
        own = PreTrainedTokenizerFast(tokenizer_object=inner, eos_token="</s>")
        model, _ = tiny(vocab_size=4)
        llm = Transformers(model=model, tokenizer=own, temperature=1.0, max_new_tokens=8, seed=1)
        text = llm.invoke("one two")
        assert text.startswith(" ")
        assert own.decode(llm._engine().encode("one two" + text)) == "one two" + text
        assert "".join(llm.stream("one two")) == text
