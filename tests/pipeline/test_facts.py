from __future__ import annotations

import pytest

from langchain_wrap.pipeline.facts import Facts, add_usage


def test_facts_are_taken_off_and_given_once():
    facts = Facts()
    assert facts.take({"model_name": "m", "finish_reason": None}) is None
    assert facts.take({"model_name": "m", "finish_reason": "stop"}) is None
    assert facts.undelivered
    assert facts.deliver() == {"model_name": "m", "finish_reason": "stop"}
    assert not facts.undelivered


def test_what_holds_lists_stays_on_its_chunk():
    facts = Facts()
    info = {"logprobs": {"tokens": ["a"]}, "tokens": [1], "id": "x"}
    assert facts.take(info) == {"logprobs": {"tokens": ["a"]}, "tokens": [1]}
    assert facts.deliver() == {"id": "x"}


def test_nothing_known_is_none():
    assert Facts().deliver() is None
    assert Facts().usage is None


def test_what_the_pipeline_concludes_overrides_the_model():
    facts = Facts()
    facts.take({"finish_reason": "length"})
    facts.deliver()
    facts.conclude(finish_reason="cancelled")
    assert facts.deliver() == {"finish_reason": "cancelled"}
    assert not facts.undelivered


@pytest.mark.parametrize(
    ("pieces", "usage"),
    [
        ([{"input_tokens": 1, "output_tokens": 2}], (1, 2, 3)),
        ([{"input_tokens": 1}, {"output_tokens": 2}], (1, 2, 3)),
        ([{"input_tokens": 1, "output_tokens": 1}, {"output_tokens": 2}], (1, 2, 3)),
        ([{"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 9}], (1, 2, 9)),
    ],
)
def test_usage_is_put_together_under_one_set_of_names(pieces, usage):
    facts = Facts()
    for piece in pieces:
        facts.take({"usage": piece})
    names = ("prompt_tokens", "completion_tokens", "total_tokens")
    assert facts.usage == dict(zip(names, usage, strict=True))


def test_the_callers_usage_is_left_alone():
    usage = {"input_tokens": 1, "output_tokens": 2}
    facts = Facts()
    facts.take({"usage": usage})
    facts.deliver()["token_usage"]["prompt_tokens"] = 99
    assert usage == {"input_tokens": 1, "output_tokens": 2}
    assert facts.usage["prompt_tokens"] == 1


def test_usage_adds_up_in_depth():
    total: dict = {}
    for _ in range(3):
        add_usage(total, {"a": 1, "details": {"b": 2.5}, "note": "x"})
    assert total == {"a": 3, "details": {"b": 7.5}}
