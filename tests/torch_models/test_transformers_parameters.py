"""Parameters: which there are, what they may be, and which holds where several are given."""

from __future__ import annotations

import pytest
import transformers
from torch_tiny import tiny

from langchain_wrap.models import Transformers
from langchain_wrap.models.transformers_sampling import _MORE, PARAMETERS, draws, effective


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ({"top_p": 2}, "top_p=2"),
        ({"top_p": 0}, "top_p=0"),
        ({"temperature": -1}, "temperature=-1"),
        ({"temperature": float("nan")}, "temperature=nan"),
        ({"temperature": "warm"}, "temperature='warm'"),
        ({"max_new_tokens": 0}, "max_new_tokens=0"),
        ({"seed": -1}, "seed=-1"),
        ({"seed": 2**63}, "seed="),
        ({"top_k": -1}, "top_k=-1"),
        ({"min_p": 2}, "min_p=2"),
        ({"repetition_penalty": 0}, "repetition_penalty=0"),
        ({"temperature": 0, "do_sample": True}, "temperature=0 always takes the likeliest"),
    ],
    ids=str,
)
def test_impossible_values(llm, call, message):
    for path in (llm.invoke, lambda prompt, **call: list(llm.stream(prompt, **call))):
        with pytest.raises(ValueError, match=message):
            path("x", **call)
    if "do_sample" not in call:
        with pytest.raises(ValueError, match=next(iter(call))):
            Transformers(model=llm.model, tokenizer=llm.tokenizer, **call)


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("temprature", "Did you mean 'temperature'?"),
        ("max_tokens", "Did you mean 'max_new_tokens'?"),
        ("num_beams", "Beam search is not there"),
        ("num_return_sequences", "several times"),
        ("return_full_text", "never contains the prompt"),
        ("stop_strings", "Did you mean 'stop'?"),
        ("pipeline_kwargs", "by its own names"),
        ("prompt_lookup_num_tokens", "It takes: max_new_tokens"),
    ],
)
def test_names_that_there_are_not(llm, name, hint):
    with pytest.raises(TypeError, match=f"takes no parameter {name!r}") as told:
        llm.invoke("x", **{name: 1})
    assert hint in str(told.value)
    with pytest.raises(ValueError, match="generation") as told:
        Transformers(model=llm.model, tokenizer=llm.tokenizer, generation={name: 1})
    assert hint in str(told.value)


def test_a_field_is_no_parameter(llm):
    with pytest.raises(TypeError, match=r"set it on the object: Transformers\(max_batch_tokens"):
        llm.invoke("x", max_batch_tokens=4)


def test_a_field_does_not_stand_in_generation(llm):
    with pytest.raises(ValueError, match="a field of its own: top_p"):
        Transformers(model=llm.model, tokenizer=llm.tokenizer, generation={"top_p": 0.4})


def test_all_names_are_transformers_own():
    known = vars(transformers.GenerationConfig())
    assert set(_MORE) | set(PARAMETERS) - {"seed"} <= set(known)


def test_none_is_what_the_object_says(llm):
    given = llm.model_copy(update={"max_new_tokens": 3})
    assert given.invoke("x", max_new_tokens=None, temperature=None) == given.invoke("x")


def test_the_call_comes_before_the_object_and_that_before_the_model():
    model, own = tiny()
    llm = Transformers(
        model=model, tokenizer=own, temperature=0.5, generation={"do_sample": False, "max_time": 9}
    )
    assert effective(llm, {}) == {
        "max_new_tokens": 256,
        "temperature": 0.5,
        "do_sample": False,
        "max_time": 9,
    }
    assert effective(llm, {"temperature": 0.9})["temperature"] == 0.9
    assert "do_sample" not in effective(llm, {"temperature": 0.9})
    assert effective(llm, {"do_sample": True, "max_time": 3})["max_time"] == 3
    assert not draws(effective(llm, {}), default=True)
    assert draws(effective(llm, {"temperature": 0.9}), default=False)
    assert not draws(effective(llm, {"temperature": 0}), default=True)


def test_max_time_ends_a_completion():
    model, own = tiny(max_position_embeddings=100_000)
    llm = Transformers(
        model=model,
        tokenizer=own,
        max_new_tokens=90_000,
        generation={"max_time": 0.2, "eos_token_id": 10_000},
    )
    found = llm.generate(["x"]).generations[0][0].generation_info
    assert found["finish_reason"] == "length"
    assert 0 < found["token_usage"]["completion_tokens"] < 90_000


def test_the_models_own_stop_strings():
    model, own = tiny()
    llm = Transformers(model=model, tokenizer=own, temperature=0, max_new_tokens=12)
    text = llm.invoke("hello")
    model.generation_config.stop_strings = [text[4]]
    found = llm.generate(["hello"]).generations[0][0]
    assert found.generation_info["finish_reason"] == "stop"
    assert text.startswith(found.text)
    assert len(found.text) < len(text)
