"""`LlamaCpp` as a LangChain LLM, on the real model."""

from __future__ import annotations

import asyncio
import copy
import json
import pickle
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from langchain_core.caches import InMemoryCache
from langchain_core.exceptions import ContextOverflowError
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import PromptTemplate
from langchain_core.runnables import ConfigurableField
from llama_helpers import ENGINE, eventually

from langchain_wrap.models import llama_engine
from langchain_wrap.models.llama_cpp import LlamaCpp
from langchain_wrap.models.llama_sampling import PARAMETERS, Sampling

FRANCE = "The capital of France is"
NAMES = ["Anna", "Boris", "Clara", "David", "Emma", "Felix", "Greta", "Henry"]
CODES = dict(zip(NAMES, [41, 73, 29, 86, 52, 97, 35, 68], strict=True))
BOOK = "The codes of all members.\n" + "".join(
    f"The secret code of {name} is {code}.\n" for name, code in CODES.items()
)
SHARED = BOOK * 3  # above MIN_SHARED, below the context
ASKED = NAMES[:4]
QUESTIONS = [f"{SHARED}The secret code of {name} is" for name in ASKED]


def info(llm: LlamaCpp, prompt: str, **call: Any) -> dict[str, Any]:
    found = llm.generate([prompt], **call).generations[0][0].generation_info
    assert found is not None
    return found


def cached_tokens(llm: LlamaCpp, prompts: list[str]) -> list[int]:
    return [
        generations[0].generation_info["token_usage"]["prompt_tokens_details"]["cached_tokens"]
        for generations in llm.generate(prompts).generations
        if generations[0].generation_info
    ]


def test_completes(llm: LlamaCpp) -> None:
    assert llm.invoke(FRANCE).startswith(" Paris.")


def test_every_path_gives_the_same_text(llm: LlamaCpp) -> None:
    text = llm.invoke(FRANCE)

    async def paths() -> list[str]:
        streamed = [token async for token in llm.astream(FRANCE)]
        return [await llm.ainvoke(FRANCE), "".join(streamed), *await llm.abatch([FRANCE])]

    assert ["".join(llm.stream(FRANCE)), *llm.batch([FRANCE])] == [text] * 2
    assert asyncio.run(paths()) == [text] * 3


def test_streams_token_by_token(llm: LlamaCpp) -> None:
    tokens = [token for token in llm.stream(FRANCE) if token]
    assert len(tokens) == 16
    assert tokens[0] == " Paris"


def test_in_a_chain(llm: LlamaCpp) -> None:
    chain = PromptTemplate.from_template("The capital of {x} is") | llm | StrOutputParser()
    assert chain.invoke({"x": "France"}) == llm.invoke(FRANCE)


def test_batch_gives_what_one_by_one_gives(llm: LlamaCpp) -> None:
    prompts = [
        f"The secret code is {code}. Once more, the secret code is" for code in range(20, 32)
    ]
    one_by_one = [llm.invoke(prompt, max_tokens=3) for prompt in prompts]
    assert llm.batch(prompts, max_tokens=3) == one_by_one
    assert one_by_one[0] == " 20"


def test_sixteen_threads_do_not_mix(llm: LlamaCpp) -> None:
    def ask(code: int) -> str:
        prompt = f"The secret code is {code}. Once more, the secret code is"
        return llm.invoke(prompt, max_tokens=3)

    alone = [ask(code) for code in range(20, 44)]
    assert len(set(alone)) > 16
    with ThreadPoolExecutor(16) as threads:
        assert list(threads.map(ask, range(20, 44))) == alone


def test_stop_across_token_borders(llm: LlamaCpp) -> None:
    tokens = list(llm.stream(FRANCE))
    text = "".join(tokens)
    stop = tokens[3][-2:] + tokens[4][:2]
    expected = text[: text.index(stop)]
    assert llm.invoke(FRANCE, stop=[stop]) == expected
    assert "".join(llm.stream(FRANCE, stop=[stop])) == expected
    found = info(llm, FRANCE, stop=[stop])
    assert found["finish_reason"] == "stop"
    assert found["token_usage"]["completion_tokens"] < 16


def test_a_stop_frees_the_slots(llm: LlamaCpp) -> None:
    llm.batch([FRANCE] * 6, stop=["Paris"], max_tokens=None, ignore_eos=True)
    engine = llm._engine()
    assert eventually(lambda: not any(slot["is_processing"] for slot in engine.slots()))
    assert all(slot.get("n_prompt_tokens", 0) < 500 for slot in engine.slots())


def test_leaving_a_stream_early(llm: LlamaCpp) -> None:
    stream = llm.stream(FRANCE, max_tokens=None, ignore_eos=True)
    assert next(stream) == " Paris"
    stream.close()
    engine = llm._engine()
    assert eventually(lambda: not engine.core.live)


def test_cancelling_a_task_frees_the_slot(llm: LlamaCpp) -> None:
    async def main() -> None:
        calls = {"max_tokens": None, "ignore_eos": True}
        tasks = [asyncio.create_task(llm.ainvoke(f"{i}", **calls)) for i in range(6)]
        await asyncio.sleep(0.3)
        for task in tasks:
            task.cancel()
        assert all(
            isinstance(result, asyncio.CancelledError)
            for result in await asyncio.gather(*tasks, return_exceptions=True)
        )

    asyncio.run(main())
    assert eventually(lambda: not llm._engine().core.live)


def test_facts(llm: LlamaCpp) -> None:
    result = llm.generate([FRANCE])
    found = result.generations[0][0].generation_info or {}
    assert found["finish_reason"] == "length"
    assert found["model_name"] == "SmolLM2-135M-Instruct.Q4_1"
    usage = found["token_usage"]
    assert (usage["prompt_tokens"], usage["completion_tokens"]) == (5, 16)
    assert usage["total_tokens"] == 21
    assert found["timings"]["predicted_n"] == 16
    assert (result.llm_output or {})["token_usage"]["total_tokens"] == 21


def test_the_models_own_end(llm: LlamaCpp) -> None:
    prompt = "<|im_start|>user\nSay only: OK<|im_end|>\n<|im_start|>assistant\n"
    found = info(llm, prompt, max_tokens=None)
    assert found["finish_reason"] == "stop"


def test_tokens_are_the_models_own(llm: LlamaCpp) -> None:
    assert llm.get_num_tokens(FRANCE) == 5
    assert llm.get_token_ids("<|im_start|>") == [1]
    assert llm.get_token_ids("") == []


def test_context_overflow_names_both_numbers(llm: LlamaCpp) -> None:
    with pytest.raises(ContextOverflowError, match=r"1500 tokens.* is 1024"):
        llm.invoke("word " * 1499 + "word")
    with pytest.raises(ContextOverflowError):
        llm.batch(["word " * 1500] * 3)
    assert llm.invoke(FRANCE, max_tokens=1) == " Paris"


def test_a_completion_ends_where_the_context_does() -> None:
    llm = LlamaCpp(max_tokens=None, ignore_eos=True, **{**ENGINE, "n_ctx": 256})
    found = info(llm, "Once upon a time")
    assert found["finish_reason"] == "length"
    assert found["token_usage"]["total_tokens"] <= 257


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        ({"temprature": 1}, TypeError, "Did you mean 'temperature'"),
        ({"n_predict": 3}, TypeError, "Did you mean 'max_tokens'"),
        ({"response_format": {}}, TypeError, "Did you mean 'json_schema'"),
        ({"n_ctx": 512}, TypeError, "set it on the object"),
        ({"temperature": -1}, ValueError, "temperature=-1"),
        ({"temperature": "hot"}, ValueError, "temperature='hot'"),
        ({"top_p": 1.5}, ValueError, "top_p"),
        ({"min_p": -0.1}, ValueError, "min_p"),
        ({"top_k": -1}, ValueError, "top_k"),
        ({"max_tokens": 0}, ValueError, "max_tokens"),
        ({"seed": -5}, ValueError, "seed"),
        ({"repeat_penalty": 0}, ValueError, "repeat_penalty"),
        ({"logprobs": 0}, ValueError, "logprobs"),
        ({"logit_bias": {"a": "b"}}, ValueError, "logit_bias"),
        ({"grammar": " "}, ValueError, "grammar"),
        ({"grammar": "root ::= ["}, ValueError, "grammar"),
        ({"grammar": "%llguidance {}\nstart: nothing"}, ValueError, "cannot enforce"),
        ({"json_schema": {"type": "foo"}}, ValueError, "cannot enforce"),
        ({"json_schema": {"$ref": "#/nope"}}, ValueError, "cannot enforce"),
        ({"json_schema": {"enum": [object()]}}, ValueError, "not JSON"),
        ({"grammar": 'root ::= "a"', "json_schema": {}}, ValueError, "exclude each other"),
    ],
)
def test_wrong_parameters(
    llm: LlamaCpp, call: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        llm.invoke("Hi", **call)


@pytest.mark.parametrize(
    "fields",
    [{"temprature": 1}, {"temperature": -1}, {"n_parallel": 0}, {"n_batch": 1}, {"max_tokens": 0}],
)
def test_wrong_fields(fields: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(fields))):
        LlamaCpp(**fields)


def test_more_context_than_the_model_has() -> None:
    with pytest.raises(ValueError, match=r"n_ctx=9000 .* 8192"):
        LlamaCpp(n_ctx=9000).invoke("Hi")


def test_a_prompt_that_is_no_text(llm: LlamaCpp) -> None:
    with pytest.raises(ValueError, match="surrogate at position 2"):
        llm.invoke("ab\ud800")


HONOURED = {
    "max_tokens": 3,
    "temperature": 0.5,
    "top_k": 7,
    "top_p": 0.5,
    "min_p": 0.25,
    "typical_p": 0.5,
    "repeat_penalty": 1.25,
    "repeat_last_n": 8,
    "presence_penalty": 0.5,
    "frequency_penalty": 0.25,
    "ignore_eos": True,
    "seed": 7654321,
}


def test_the_engine_takes_over_every_parameter(llm: LlamaCpp) -> None:
    # What is not in this list has a test of its own below.
    rest = {"logprobs", "logit_bias", "grammar", "json_schema"}
    assert HONOURED.keys() | rest == set(PARAMETERS) == set(Sampling.model_fields)
    llm.invoke("Hi", **HONOURED)
    slots = llm._engine().slots()
    (params,) = [s["params"] for s in slots if s.get("params", {}).get("seed") == 7654321]
    assert {name: params[name] for name in HONOURED} == HONOURED


def test_fields_hold_and_a_call_comes_first() -> None:
    llm = LlamaCpp(temperature=0, max_tokens=2, seed=424242, **ENGINE)
    assert info(llm, "Hi")["token_usage"]["completion_tokens"] == 2
    assert info(llm, "Hi", max_tokens=3)["token_usage"]["completion_tokens"] == 3
    assert info(llm, "Hi", max_tokens=3, seed=None)["token_usage"]["completion_tokens"] == 3


def test_seed(llm: LlamaCpp) -> None:
    call = {"temperature": 1.5, "max_tokens": 12}
    first = llm.invoke("Once upon a time", seed=1, **call)
    assert llm.invoke("Once upon a time", seed=1, **call) == first
    assert len({llm.invoke("Once upon a time", **call) for _ in range(4)}) > 1


def test_logprobs(llm: LlamaCpp) -> None:
    found = info(llm, FRANCE, logprobs=3, max_tokens=4)
    content = found["logprobs"]["content"]
    assert len(content) == 4
    assert content[0]["token"] == " Paris"
    assert [len(one["top_logprobs"]) for one in content] == [3] * 4


def test_logit_bias(llm: LlamaCpp) -> None:
    (paris,) = llm.get_token_ids(" Paris")
    assert llm.invoke(FRANCE, logit_bias={paris: -100}, max_tokens=1) != " Paris"
    assert llm.invoke(FRANCE, logit_bias={" Paris": -100}, max_tokens=1) != " Paris"


def test_grammar(llm: LlamaCpp) -> None:
    gbnf = 'root ::= "yes" | "no"'
    assert llm.invoke("Is the sky blue?", grammar=gbnf) in ("yes", "no")
    assert llm.invoke("Hm?", grammar='%llguidance {}\nstart: "maybe"') == "maybe"


def test_json_schema(llm: LlamaCpp) -> None:
    schema = {
        "type": "object",
        "properties": {"name": {"type": "string", "maxLength": 8}, "age": {"enum": [1, 2]}},
        "required": ["name", "age"],
        "additionalProperties": False,
    }
    answer = json.loads(llm.invoke("A person as JSON:\n", json_schema=schema, max_tokens=80))
    assert answer.keys() == {"name", "age"}
    assert answer["age"] in (1, 2)


def test_a_call_replaces_the_constraint_of_the_object() -> None:
    llm = LlamaCpp(temperature=0, json_schema={"const": "x"}, **ENGINE)
    assert llm.invoke("Hm?") == '"x"'
    assert llm.invoke("Hm?", grammar='root ::= "no"') == "no"


def test_copies_and_pickles_find_the_same_engine(llm: LlamaCpp) -> None:
    text = llm.invoke(FRANCE)
    for twin in (pickle.loads(pickle.dumps(llm)), copy.deepcopy(llm), llm.model_copy()):
        assert twin.invoke(FRANCE) == text
        assert twin._engine() is llm._engine()
    other = llm.model_copy(update={"n_ctx": 512})
    assert other._engine() is not llm._engine()


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The `n_ctx` of each time that an engine is loaded."""
    seen = []
    plain = llama_engine._load

    def load(settings: llama_engine.Settings, address: object) -> object:
        seen.append(settings.n_ctx)
        return plain(settings, address)

    monkeypatch.setattr(llama_engine, "_load", load)
    return seen


def test_calls_with_configurable_fields_load_it_once(loads: list[int]) -> None:
    # Each is by an object of its own, and the one that all are made from is never called.
    chosen = LlamaCpp(temperature=0, max_tokens=4, n_ctx=320).configurable_fields(
        max_tokens=ConfigurableField(id="most")
    )
    texts = [chosen.invoke(FRANCE, {"configurable": {"most": most}}) for most in (1, 2, 3)]
    assert texts[2].startswith(texts[1])
    assert texts[1].startswith(texts[0])
    assert loads == [320]


def test_copies_that_differ_do_not_take_it_from_each_other(loads: list[int]) -> None:
    one = LlamaCpp(temperature=0, max_tokens=1, n_ctx=384)
    two = one.model_copy(update={"n_ctx": 448})
    for _ in range(3):
        one.invoke(FRANCE)
        two.invoke(FRANCE)
    assert loads == [384, 448]
    assert one == LlamaCpp(temperature=0, max_tokens=1, n_ctx=384)


def test_identity(llm: LlamaCpp) -> None:
    params = llm._identifying_params
    assert llm._llm_type == "llama-cpp"
    assert params["model_name"] == "SmolLM2-135M-Instruct.Q4_1"
    assert json.loads(json.dumps(params)) == params
    assert LlamaCpp(temperature=0, max_tokens=16, **ENGINE)._identifying_params == params
    assert LlamaCpp(temperature=1, **ENGINE)._identifying_params != params


def test_the_cache_tells_calls_apart() -> None:
    llm = LlamaCpp(temperature=1.5, max_tokens=12, cache=InMemoryCache(), **ENGINE)
    first = llm.invoke("Once upon a time")
    assert llm.invoke("Once upon a time", top_k=1) != first
    # Cut off by max_tokens, so not kept; one that ends by itself is.
    grammar = "root ::= [a-z] [a-z] [a-z] [a-z] [a-z] [a-z]"
    ended = llm.invoke("Once", grammar=grammar)
    assert llm.invoke("Once", grammar=grammar) == ended


def test_weights_are_not_loaded_by_making_an_object() -> None:
    llm = LlamaCpp(**{**ENGINE, "n_parallel": 7})
    repr(llm)
    assert llm._identifying_params
    assert llm._held.engine is None


def test_a_shared_beginning_is_computed_once(llm: LlamaCpp) -> None:
    alone = LlamaCpp(temperature=0, max_tokens=3, cache_prompt=False, **ENGINE)
    together = LlamaCpp(temperature=0, max_tokens=3, **ENGINE)
    one_by_one = [alone.invoke(question) for question in QUESTIONS]
    assert [int(text.strip(" .\n")) for text in one_by_one] == [CODES[name] for name in ASKED]
    assert together.batch(QUESTIONS) == one_by_one
    length = together.get_num_tokens(SHARED)
    assert all(count >= length - 20 for count in cached_tokens(together, QUESTIONS))
    assert cached_tokens(alone, QUESTIONS[:1]) == [0]


def test_a_shared_beginning_with_other_prompts_and_early_ends() -> None:
    llm = LlamaCpp(temperature=0, max_tokens=3, **{**ENGINE, "n_ctx": 1280})
    other = "Another preface, as long as the first one but not the same. " * 18
    prompts = [text for q in QUESTIONS for text in (q, other + f"Say {q[-8:]}", FRANCE)]
    streams = [llm.stream(prompts[i]) for i in range(4)]
    threads = [threading.Thread(target=next, args=(stream,)) for stream in streams]
    for thread in threads:
        thread.start()
    texts = llm.batch(prompts)
    for thread, stream in zip(threads, streams, strict=True):
        thread.join()
        stream.close()
    codes = [int(text.strip(" .\n")) for text in texts[::3]]
    assert codes == [CODES[name] for name in ASKED]
    assert set(texts[2::3]) == {llm.invoke(FRANCE)}
    assert eventually(lambda: not llm._engine().core.live)


@pytest.mark.parametrize(
    "wrong",
    [
        {"logit_bias": {10**9: 1.0}},
        {"logit_bias": {-1: 1.0}},
        {"logprobs": 10**6},
        {"top_k": 10**12},
        {"repeat_last_n": 10**10},
        {"presence_penalty": float("nan")},
        {"temperature": float("inf")},
        {"max_tokens": 10**12},
    ],
    ids=str,
)
def test_what_the_engine_would_not_take_as_it_is_meant_is_refused(llm, wrong):
    (name,) = wrong
    with pytest.raises(ValueError, match=name):
        llm.invoke("Hi", **wrong)


def test_a_lark_grammar_may_give_its_start_rule_attributes(llm):
    grammar = '%llguidance {}\nstart[max_tokens=3]: "yes" | "no"\n'
    assert llm.invoke("Is water wet? ", grammar=grammar) in ("yes", "no")


def test_an_empty_path_says_so():
    with pytest.raises(ValueError, match="model_path is empty"):
        LlamaCpp(model_path="")
