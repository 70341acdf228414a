"""SECRET: what mutants do not show, such as which names are keys, and what is skipped."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from langchain_core.language_models.fake import FakeListLLM
from mutants.right import Core, Ours
from mutants.secret import OWN, CoreWithKey, OursWithKey, PlainKey
from pydantic import SecretBytes, SecretStr
from scripted import KINDS

from langchain_wrap import LLM, wrap
from langchain_wrap.checks.probes.fields import looks_like_key, shows
from langchain_wrap.checks.probes.marked import KEY, holds
from langchain_wrap.checks.session import Session


def check(llm: Any, only: Any = "SECRET", **options: Any) -> dict[str, Any]:
    return {result.id: result for result in Session(llm, only=only, **options).run()}


def statuses(results: dict[str, Any]) -> list[str]:
    return [result.status for result in results.values()]


KEYS = """
api_key apiKey openai_key groq_api_key secret client_secret password token access_token hf_token
auth key aws_secret_access_key credentials huggingfacehub_api_token authorization jwt private_key
"""
NO_KEYS = """
max_tokens token_ids stop_tokens n_key_heads tokenizer keywords key_size eos_token bos_token
pad_token input_key output_key memory_key sort_key credentials_profile_name api_key_env key_path
password_file secret_name n_key author secretary monkey authority max_token num_key_value_heads
"""


@pytest.mark.parametrize("name", KEYS.split())
def test_names_of_keys(name):
    assert looks_like_key(name)


@pytest.mark.parametrize("name", NO_KEYS.split())
def test_names_of_no_keys(name):
    assert not looks_like_key(name)


@pytest.mark.parametrize(
    ("annotation", "plain"),
    [
        (str, True),
        (str | None, True),
        (bytes, True),
        (SecretStr | str, True),
        (tuple[str, str], True),
        (dict[str, str], True),
        (SecretStr, False),
        (SecretStr | None, False),
        (SecretBytes, False),
        (SecretStr | None | Callable[[], str], False),
        (dict[str, SecretStr], False),
        (bool, False),
        (int, False),
        (Any, False),
    ],
)
def test_which_types_show_text(annotation, plain):
    assert shows(annotation) is plain


@pytest.mark.parametrize(
    "made",
    [*KINDS.values(), Ours, lambda: wrap(lambda p: p), lambda: FakeListLLM(responses=["a b c"])],
)
def test_models_without_a_key_do_not_fail(made):
    results = check(made)
    assert "failed" not in statuses(results)
    assert results["SECRET-01"].message == "the model has no field for a key"


def test_ours_with_a_key_holds_everything():
    assert statuses(check(OursWithKey)) == ["passed"] * 6


def test_on_langchain_core_only_what_it_does_not_give_fails():
    results = check(CoreWithKey)
    found = [result.id for result in results.values() if result.status == "failed"]
    assert found == ["SECRET-05", "SECRET-06"]


def test_a_plain_key_is_reported_once():
    results = check(PlainKey)
    assert results["SECRET-01"].status == "failed"
    for id_ in ("SECRET-02", "SECRET-03", "SECRET-06"):
        assert results[id_].message == "no field is a SecretStr, as SECRET-01 reports"


def test_the_users_own_key_is_never_shown():
    class Leaks(CoreWithKey):
        def __str__(self):
            return f"So {self.api_key.get_secret_value()}"

        @property
        def _identifying_params(self):
            return {"k": self.api_key.get_secret_value(), "own": OWN, "model_name": "so"}

    results = check(Leaks, ["SECRET", "IDENTITY"])
    assert "failed" in statuses(results)
    assert OWN not in "".join(result.message + result.repro for result in results.values())


def test_a_key_that_the_service_refuses_is_said_so():
    class Refused(OursWithKey):
        def _stream(self, prompt, **kwargs):
            if self.api_key.get_secret_value() != OWN:
                raise PermissionError("401")
            yield prompt

    (result,) = check(Refused, "SECRET-03").values()
    assert result.status == "passed"
    assert result.message == "the service refused the marked key: only the start was seen"


def test_a_serialized_form_of_before_does_not_hide_a_leak():
    # langchain-core keeps what it has serialized at the first call, and copies take it along.
    class ReprShowsKey(CoreWithKey):
        def __repr__(self):
            return f"So({self.api_key.get_secret_value()})"

    llm = ReprShowsKey()
    llm.invoke("hello")
    results = check(llm, ["SECRET-02", "SECRET-03"])
    assert statuses(results) == ["failed", "failed"]


def test_headers_in_a_dict_of_parameters():
    class Passes(Core):
        model_kwargs: dict[str, Any] = {}  # noqa: RUF012

        @property
        def _identifying_params(self):
            return {"model_name": "so", "repeat": self.repeat, **self.model_kwargs}

    (result,) = check(Passes, "SECRET-04").values()
    assert result.status == "failed"
    assert result.message.startswith("a key in model_kwargs is shown by repr(llm), str(llm), ")
    with pytest.raises(AssertionError):
        exec(result.repro, {"llm": Passes()})


def test_named_parameters_are_tried_alone():
    class Named(LLM):
        def _call(self, prompt, api_key: str = ""):
            return prompt

    (result,) = check(Named, "SECRET-05").values()
    assert result.status == "passed"


def test_bytes_are_marked_too():
    class Bytes(Ours):
        signing_key: SecretBytes = SecretBytes(b"own")

    results = check(Bytes)
    assert [results[f"SECRET-0{n}"].status for n in (1, 2, 3, 6)] == ["passed"] * 4


def test_a_mark_is_found_wherever_it_stands():
    for thing in (KEY, [KEY], {"a": {"b": KEY}}, ValueError(KEY), (1, f"x{KEY}y")):
        assert holds(thing)
    assert not holds({"a": SecretStr(KEY)})
