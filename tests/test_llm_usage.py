"""Facts about a completion stand once, on the last chunk, and add up over prompts."""

from __future__ import annotations

import asyncio
from functools import reduce
from operator import add

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.outputs import GenerationChunk
from scripted import KINDS, PATHS, ByCall, ByStream, Recorder

from langchain_wrap import LLM

DIRECT = [path for path in PATHS if path != "astream_events"]
USAGE = {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}


def streaming(*chunks):
    class Streaming(LLM):
        def _stream(self, prompt):
            for text, info in chunks:
                yield GenerationChunk(text=text, generation_info=info and dict(info))

        async def _astream(self, prompt):
            for text, info in chunks:
                yield GenerationChunk(text=text, generation_info=info and dict(info))

    return Streaming()


def chunks_of(llm, path="stream", **kwargs):
    recorder = Recorder()
    PATHS[path](llm, "p", {"callbacks": [recorder]}, **kwargs)
    return recorder.chunks, recorder


@pytest.mark.parametrize("path", ["stream", "astream", "invoke", "ainvoke"])
def test_facts_stand_once_on_the_last_chunk(path):
    each = {"model_name": "m", "finish_reason": None}
    last = {"model_name": "m", "finish_reason": "stop", "token_usage": USAGE}
    chunks, recorder = chunks_of(streaming(("a", each), ("b", each), ("c", last)), path)
    assert [chunk.text for chunk in chunks] == ["a", "b", "c"]
    assert [chunk.generation_info for chunk in chunks[:-1]] == [None, None]
    assert chunks[-1].generation_info == last
    assert reduce(add, chunks).generation_info == last
    assert recorder.end.generation_info == last
    (response,) = recorder.of("end")
    assert response.llm_output == {"token_usage": USAGE, "model_name": "m"}


def test_usage_after_the_last_text_stands_on_the_last_text():
    chunks, _ = chunks_of(
        streaming(("a", None), ("b", {"finish_reason": "stop"}), ("", {"usage": USAGE}))
    )
    assert [chunk.text for chunk in chunks] == ["a", "b"]
    assert chunks[-1].generation_info == {"finish_reason": "stop", "token_usage": USAGE}


def test_usage_without_a_finish_reason_comes_on_a_chunk_of_its_own():
    chunks, _ = chunks_of(streaming(("a", None), ("", {"usage": USAGE})))
    assert "".join(chunk.text for chunk in chunks) == "a"
    assert chunks[-1].generation_info == {"token_usage": USAGE}


@pytest.mark.parametrize("name", ["token_usage", "usage", "usage_metadata"])
def test_usage_has_one_name_and_a_total(name):
    usage = {"input_tokens": 3, "output_tokens": 4}
    result = streaming(("a", {name: usage})).generate(["p"])
    assert result.llm_output["token_usage"] == USAGE
    assert result.generations[0][0].generation_info == {"token_usage": USAGE}


def test_usage_in_two_pieces_is_put_together():
    llm = streaming(("a", {"usage": {"input_tokens": 3}}), ("b", {"usage": {"output_tokens": 4}}))
    assert llm.generate(["p"]).llm_output["token_usage"] == USAGE


def test_running_usage_counts_once():
    llm = streaming(
        *(("a", {"usage": {"prompt_tokens": 3, "completion_tokens": n}}) for n in (1, 2, 4))
    )
    assert llm.generate(["p"]).llm_output["token_usage"] == USAGE


@pytest.mark.parametrize("is_async", [False, True])
def test_generate_adds_up_the_usage_of_its_prompts(is_async):
    llm = streaming(("a", {"token_usage": {**USAGE, "details": {"cached": 1}}, "model_name": "m"}))
    prompts = ["p"] * 5
    result = asyncio.run(llm.agenerate(prompts)) if is_async else llm.generate(prompts)
    assert result.llm_output["token_usage"] == {
        "prompt_tokens": 15,
        "completion_tokens": 20,
        "total_tokens": 35,
        "details": {"cached": 5},
    }
    assert result.llm_output["model_name"] == "m"


infos = st.dictionaries(
    st.sampled_from(["model_name", "id", "finish_reason", "n", "nested", "flag"]),
    st.none()
    | st.text(max_size=3)
    | st.integers()
    | st.booleans()
    | st.dictionaries(st.sampled_from("ab"), st.text(max_size=2) | st.integers(), max_size=2),
    max_size=4,
)


@given(st.lists(st.tuples(st.text("ab", max_size=2), st.none() | infos), max_size=6))
def test_merging_all_chunks_gives_each_fact_as_it_was_last_said(chunks):
    delivered, recorder = chunks_of(streaming(*chunks))
    merged = reduce(add, delivered)
    said = {}
    for _, info in chunks:
        said |= {key: value for key, value in (info or {}).items() if value is not None}
    assert (merged.generation_info or {}) == said
    assert (recorder.end.generation_info or {}) == said
    assert merged.text == recorder.end.text == "".join(text for text, _ in chunks)


def test_logprobs_stay_with_their_tokens_and_merge():
    llm = streaming(("a", {"logprobs": {"tokens": ["a"]}}), ("b", {"logprobs": {"tokens": ["b"]}}))
    chunks, recorder = chunks_of(llm)
    assert [c.generation_info for c in chunks] == [
        {"logprobs": {"tokens": ["a"]}},
        {"logprobs": {"tokens": ["b"]}},
    ]
    assert recorder.end.generation_info == {"logprobs": {"tokens": ["a", "b"]}}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("path", ["stream", "astream", "invoke", "ainvoke"])
def test_a_stop_is_reported_as_the_finish_reason(kind, path):
    chunks, recorder = chunks_of(KINDS[kind](), path, stop=["zz", "p"])
    assert chunks[-1].generation_info == {"finish_reason": "stop", "stop_reason": "p"}
    assert recorder.end.generation_info == {"finish_reason": "stop", "stop_reason": "p"}


def test_our_stop_overrides_the_reason_that_the_model_would_have_given():
    llm = streaming(("abc", {"finish_reason": "length"}))
    _, recorder = chunks_of(llm, stop=["b"])
    assert recorder.end.generation_info["finish_reason"] == "stop"
    assert recorder.end.text == "a"


def test_a_batch_method_may_give_generations_with_usage():
    class Lists(LLM):
        def _batch(self, prompts):
            return [
                GenerationChunk(text=prompt, generation_info={"usage": dict(USAGE)})
                for prompt in prompts
            ]

    assert Lists().generate(["a", "b"]).llm_output["token_usage"]["total_tokens"] == 14


def test_a_model_that_reports_nothing_has_no_facts():
    chunks, recorder = chunks_of(ByStream())
    assert chunks[-1].generation_info is None
    assert recorder.end.generation_info is None
    assert not ByCall().generate(["p"]).llm_output


def test_the_chunks_of_the_model_are_left_alone():
    kept = GenerationChunk(text="abc", generation_info={"model_name": "m"})

    class Same(LLM):
        def _stream(self, prompt):
            yield kept

    for _ in range(3):
        Same().invoke("p", stop=["c"])
    assert kept == GenerationChunk(text="abc", generation_info={"model_name": "m"})


# --- counting tokens --------------------------------------------------------------------------


def test_tokens_are_counted_by_the_models_own_tokenizer():
    class Tokenizing(ByCall):
        def _tokenize(self, text):
            return [len(word) for word in text.split()]

    llm = Tokenizing()
    assert llm.get_token_ids("one three") == [3, 5]
    assert llm.get_num_tokens("one three") == 2


def test_tokens_are_counted_by_the_function_that_was_given():
    assert ByCall(custom_get_token_ids=lambda text: [7] * len(text)).get_num_tokens("abc") == 3


def test_without_a_tokenizer_the_error_says_how_to_add_one():
    with pytest.raises(NotImplementedError, match=r"ByCall.*_tokenize.*custom_get_token_ids"):
        ByCall().get_num_tokens("abc")
