"""What of a program's output is the completion, however it is cut into pieces."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from langchain_wrap.models.command_text import Completion

TEXT = st.text(alphabet="ab >\n", max_size=12)
MARKER = st.text(alphabet="ab>", min_size=1, max_size=3)


def whole(text, *, after=None, echo="", until=None):
    """What must come out, told of the whole text; None if the marker never comes."""
    if after is not None:
        _, found, text = text.partition(after)
        if not found:
            return None
    stripped = text.lstrip()
    if echo and stripped.startswith(echo):
        text = stripped[len(echo) :]
    return text if until is None else text.partition(until)[0]


def read(pieces, **options):
    completion = Completion(**options)
    out = "".join(completion.feed(piece) for piece in pieces)
    try:
        return out + completion.finish()
    except ValueError:
        return None


@given(
    st.lists(TEXT, max_size=8),
    st.none() | MARKER,
    st.just("") | MARKER,
    st.none() | MARKER,
)
def test_pieces_give_what_the_whole_gives(pieces, after, echo, until):
    options = {"after": after, "echo": echo, "until": until}
    assert read(pieces, **options) == whole("".join(pieces), **options)


def test_text_goes_out_as_soon_as_it_is_certain():
    completion = Completion(after=">>", until="END")
    assert [completion.feed(p) for p in ["banner >", "> one E", "x two EN", "D three"]] == [
        "", " one ", "Ex two ", "",
    ]  # fmt: skip
    assert completion.ended


def test_an_echo_that_is_none_after_all_is_kept():
    completion = Completion(echo="abc")
    assert [completion.feed("ab"), completion.feed("x")] == ["", "abx"]


def test_a_marker_that_never_comes_is_an_error():
    completion = Completion(after=">>>")
    completion.feed("no marker > here >")
    with pytest.raises(ValueError, match="does not contain '>>>'"):
        completion.finish()
