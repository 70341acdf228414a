"""Tokens in, text out: the same text as decoding all at once, and no character cut in two."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from langchain_wrap.models.detokenizer import Detokenizer


def by_bytes(tokens):
    """A tokenizer whose tokens are single bytes."""
    return bytes(tokens).decode("utf-8", "replace")


def by_words(tokens):
    """A tokenizer that writes a blank before each token but the first, as sentencepiece does."""
    return " ".join(f"w{token}" for token in tokens)


def pieces(decode, tokens):
    detokenizer = Detokenizer(decode)
    return [*(detokenizer.feed(token) for token in tokens), detokenizer.finish()]


@given(st.text(max_size=60))
def test_the_pieces_join_to_the_text(text):
    got = pieces(by_bytes, text.encode())
    assert "".join(got) == text
    assert all("\ufffd" not in piece for piece in got if "\ufffd" not in text)


@given(st.lists(st.integers(0, 99), max_size=60))
def test_what_a_token_owes_to_the_one_before_is_kept(tokens):
    assert "".join(pieces(by_words, tokens)) == by_words(tokens)


def test_a_character_cut_off_by_the_end_shows():
    assert "".join(pieces(by_bytes, "né".encode()[:-1])) == "n\ufffd"


def test_only_the_last_tokens_are_decoded():
    seen = []

    def decode(tokens):
        seen.append(len(tokens))
        return by_bytes(tokens)

    pieces(decode, b"x" * 500)
    assert max(seen) < 30
