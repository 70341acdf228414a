from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretBytes, SecretStr

from langchain_wrap.pipeline.secrets import (
    MASK,
    clean_url,
    is_secret_name,
    redact,
    secret_values,
)

KEY = "sk-Zx9-very-secret"


@pytest.mark.parametrize(
    "name",
    [
        "api_key",
        "apiKey",
        "API_KEY",
        "OPENAI_API_KEY",
        "api-key",
        "X-Api-Key",
        "hf_token",
        "token",
        "access_token",
        "password",
        "db_password",
        "Authorization",
        "secret",
        "client_secret",
        "session_token",
        "auth",
        "bearer",
        "jwt",
        "cookies",
    ],
)
def test_a_name_that_says_so_is_a_secret(name):
    assert is_secret_name(name)
    assert redact({name: KEY}) == {name: MASK}


@pytest.mark.parametrize("name", ["openai_key", "my_service_key", "github_token", "some_pat"])
def test_what_looks_like_a_key_under_a_likely_name_is_a_secret(name):
    assert redact({name: KEY}) == {name: MASK}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("max_tokens", "5"),
        ("eos_token", "</s>"),
        ("pad_token", "<pad>"),
        ("tokenizer", "bpe"),
        ("sort_key", "name"),
        ("keywords", "a b"),
        ("monkey", "george123"),
        ("temperature", "1"),
    ],
)
def test_other_names_are_left_alone(name, value):
    assert redact({name: value}) == {name: value}


def test_secret_types_are_masked_anywhere():
    thing = {"a": [SecretStr(KEY), (SecretBytes(KEY.encode()), 1)], "b": {"c": SecretStr(KEY)}}
    assert redact(thing) == {"a": [MASK, (MASK, 1)], "b": {"c": MASK}}


def test_every_header_is_masked_unless_known_to_be_harmless():
    headers = {"Authorization": "Bearer x", "X-Custom": "y", "Accept": "text/plain"}
    assert redact(headers, "default_headers") == {
        "Authorization": MASK,
        "X-Custom": MASK,
        "Accept": "text/plain",
    }
    assert redact([("X-Custom", "y"), ("Accept", "z")], "headers") == [
        ("X-Custom", MASK),
        ("Accept", "z"),
    ]


@pytest.mark.parametrize(
    ("url", "clean"),
    [
        ("https://user:pw@host/x", f"https://{MASK}@host/x"),
        ("https://host/x?api_key=k&y=1", f"https://host/x?api_key={MASK}&y=1"),
        ("https://host/x?y=1&access_token=k#z", f"https://host/x?y=1&access_token={MASK}#z"),
        ("https://host/x?sig=k", f"https://host/x?sig={MASK}"),
        ("https://host/x?y=1", "https://host/x?y=1"),
        ("what is a key?", "what is a key?"),
        ("me@example.org", "me@example.org"),
    ],
)
def test_keys_in_urls(url, clean):
    assert clean_url(url) == clean


names = st.sampled_from(["a", "api_key", "headers", "Accept", "url", "token", "x_key"])
values = st.sampled_from([KEY, f"Bearer {KEY}", f"https://h/?key={KEY}", "plain", 5, None])
things = st.recursive(
    values | st.just(SecretStr(KEY)),
    lambda inner: st.dictionaries(names, inner, max_size=3) | st.lists(inner, max_size=3),
    max_leaves=8,
)


@given(things, names)
def test_what_redact_masks_is_what_secret_values_yields(thing, name):
    before = repr(thing)
    masked = repr(redact(thing, name))
    found = list(secret_values(thing, name))
    assert (KEY in masked) <= (KEY in before)
    assert (MASK in masked) == bool(found)
    assert repr(thing) == before
    for secret in found:
        assert "sk-Zx9" in secret or secret in (KEY, "plain", f"Bearer {KEY}") or "://" in secret


def test_the_original_is_left_alone():
    thing = {"api_key": KEY, "inner": [{"token": KEY}]}
    redact(thing)
    assert thing == {"api_key": KEY, "inner": [{"token": KEY}]}
