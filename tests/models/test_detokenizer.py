"""Tokens in, text out: the same text as decoding all at once, and no character cut in two."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from langchain_wrap.models.detokenizer import Detokenizer


def by_bytes(tokens):
    """A tokenizer whose tokens are single bytes."""
    return bytes(tokens).decode("utf-8", "replace")


def by_fallback(tokens):
    """Llama 2's: bytes in a row that are no text are written as one sign each, all of them."""
    written, run = "", b""
    for token in [*tokens, 256]:
        if token < 256:
            run += bytes([token])
            continue
        try:
            written += run.decode()
        except UnicodeDecodeError:
            written += "\ufffd" * len(run)
        written, run = written + ("" if token == 256 else f"▁{token}"), b""
    return written


def by_words(tokens):
    """A tokenizer that writes a blank before each token but the first, as sentencepiece does."""
    return " ".join(f"w{token}" for token in tokens)


def pieces(decode, tokens, before=()):
    detokenizer = Detokenizer(decode, before)
    return [*(detokenizer.feed(token) for token in tokens), detokenizer.finish()]


@given(st.text(max_size=60))
def test_the_pieces_join_to_the_text(text):
    got = pieces(by_bytes, text.encode())
    assert "".join(got) == text
    assert all("\ufffd" not in piece for piece in got if "\ufffd" not in text)


@given(st.binary(max_size=120) | st.lists(st.sampled_from("aé€🎂\ufffd"), max_size=60))
def test_so_they_do_where_it_is_no_text(tokens):
    if isinstance(tokens, list):
        tokens = "".join(tokens).encode()[:-1]
    assert "".join(pieces(by_bytes, tokens)) == by_bytes(tokens)


@given(st.text(alphabet="aé€🎂", max_size=60), st.lists(st.integers(300, 400), max_size=5))
def test_bytes_that_stand_for_what_has_no_token(text, words):
    tokens = [*words, *text.encode(), *words]
    assert "".join(pieces(by_fallback, tokens)) == by_fallback(tokens)


@given(st.lists(st.integers(0, 99), max_size=60))
def test_what_a_token_owes_to_the_one_before_is_kept(tokens):
    assert "".join(pieces(by_words, tokens)) == by_words(tokens)


@given(st.lists(st.integers(0, 99), min_size=1, max_size=40), st.lists(st.integers(0, 99)))
def test_the_blank_after_the_prompt_is_kept(prompt, tokens):
    both = by_words([*prompt, *tokens])
    assert "".join(pieces(by_words, tokens, prompt)) == both[len(by_words(prompt)) :]


@given(st.text(min_size=1, max_size=40), st.text(max_size=40))
def test_a_prompt_is_not_in_the_text(prompt, text):
    assert "".join(pieces(by_bytes, text.encode(), prompt.encode())) == text


def test_a_character_cut_off_by_the_end_shows():
    assert "".join(pieces(by_bytes, "né".encode()[:-1])) == "n\ufffd"


def test_a_character_is_waited_for_and_not_longer():
    detokenizer = Detokenizer(by_bytes)
    cake = "🎂".encode()
    assert [detokenizer.feed(byte) for byte in cake] == ["", "", "", "🎂"]
    assert [detokenizer.feed(byte) for byte in b"\xffab"] == ["", "\ufffda", "b"]
    assert "".join(detokenizer.feed(0xFF) for _ in range(50)) == "\ufffd" * 47


@pytest.mark.parametrize(
    "tokens",
    [b"x" * 500, b"\xff" * 500, "🎂".encode() * 125, b"\xf0\x9f" * 250],
    ids=["text", "none", "cakes", "halves"],
)
@pytest.mark.parametrize("decode", [by_bytes, by_fallback])
def test_only_the_last_tokens_are_decoded(decode, tokens):
    seen = []

    def watched(tokens):
        seen.append(len(tokens))
        return decode(tokens)

    pieces(watched, tokens)
    assert max(seen) < 80
    assert sum(seen) < 1000 * len(tokens)
