from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from langchain_wrap.pipeline.stop import StopFilter, merge_stops

# Few characters make many overlaps; among them: what a regex would read as an operator, an astral
# character, a lone surrogate, a combining mark, a zero-width joiner.
ALPHABETS = (
    "ab",
    "ab.",
    ".*",
    "a\n",
    "\u00e9\u0301e",
    "\U0001f600\ud83d",
    "\u200d\U0001f4bb",
    "aA\u00df",
)
alphabets = st.sampled_from(ALPHABETS)


@st.composite
def cases(draw):
    alphabet = draw(alphabets)
    text = draw(st.text(alphabet, max_size=40))
    stops = draw(st.lists(st.text(alphabet, min_size=1, max_size=5), min_size=1, max_size=5))
    cuts = draw(st.lists(st.integers(0, len(text)), max_size=12))
    edges = [0, *sorted(cuts), len(text)]
    chunks = [text[a:b] for a, b in itertools.pairwise(edges)]
    return text, stops, chunks


def reference(text: str, stops: list[str], include: bool) -> tuple[str, str | None]:
    for end in range(1, len(text) + 1):
        complete = [stop for stop in stops if text[:end].endswith(stop)]
        if complete:
            stop = max(complete, key=len)
            return text[: end if include else end - len(stop)], stop
    return text, None


def run(chunks: list[str], stops: list[str], include: bool = False) -> tuple[str, str | None]:
    stop_filter = StopFilter(stops, include_stop=include)
    out = ""
    for chunk in chunks:
        out += stop_filter.feed(chunk)
        if stop_filter.hit is not None:
            return out, stop_filter.hit
    return out + stop_filter.flush(), None


@given(cases(), st.booleans())
def test_any_chunking_gives_what_the_naive_search_gives(case, include):
    text, stops, chunks = case
    assert run(chunks, stops, include) == reference(text, stops, include)


@given(cases())
def test_only_what_may_still_become_a_stop_is_held_back(case):
    _, stops, chunks = case
    stop_filter = StopFilter(stops)
    seen = out = ""
    for chunk in chunks:
        seen += chunk
        out += stop_filter.feed(chunk)
        if stop_filter.hit is not None:
            return
        endings = [seen[i:] for i in range(len(seen))]
        waiting = [e for e in endings if any(s.startswith(e) and s != e for s in stops)]
        assert out == seen[: len(seen) - len(max(waiting, key=len, default=""))]


@given(cases())
def test_what_goes_out_is_never_taken_back(case):
    text, stops, chunks = case
    kept, _ = reference(text, stops, include=False)
    stop_filter = StopFilter(stops)
    out = ""
    for chunk in chunks:
        out += stop_filter.feed(chunk)
        assert kept.startswith(out)
        if stop_filter.hit is not None:
            break


def test_the_stop_that_is_complete_first_wins():
    assert run(["abcd"], ["abcd", "c"]) == ("ab", "c")


def test_of_two_complete_at_once_the_longer_wins():
    assert run(["xaby"], ["b", "ab"]) == ("x", "ab")


def test_a_stop_is_no_regular_expression():
    assert run(["axb a.b"], ["a.b"]) == ("axb ", "a.b")
    assert run(["a(b"], ["("]) == ("a", "(")


def test_a_composed_character_is_not_its_decomposition():
    assert run(["caf\u00e9"], ["e\u0301"]) == ("caf\u00e9", None)


def test_a_stop_over_many_one_character_chunks():
    assert run(list("one\nObservation: two"), ["\nObservation:"]) == ("one", "\nObservation:")


def test_flush_gives_the_held_text_once():
    stop_filter = StopFilter(["ab"])
    assert stop_filter.feed("xa") == "x"
    assert stop_filter.flush() == "a"
    assert stop_filter.flush() == ""


def test_many_stops_with_long_common_beginnings():
    stops = ["a" * n + "b" for n in range(1, 60)]
    assert run(list("a" * 500 + "c"), stops) == ("a" * 500 + "c", None)
    assert run(list("c" + "a" * 70 + "b"), stops) == ("c" + "a" * 11, "a" * 59 + "b")


@pytest.mark.parametrize("none", [None, [], ()])
def test_nothing_is_no_stop(none):
    assert merge_stops(none, none) == []


def test_stops_of_model_and_call_are_merged_in_order_without_doubles():
    assert merge_stops(["a", "b"], ["c", "a"]) == ["a", "b", "c"]


def test_one_string_is_one_stop():
    assert merge_stops("ab", "c") == ["ab", "c"]


def test_merging_leaves_the_callers_lists_alone():
    field, call = ["a"], ["b"]
    merge_stops(field, call).append("c")
    assert (field, call) == (["a"], ["b"])


def test_an_empty_stop_is_refused():
    with pytest.raises(ValueError, match="empty string"):
        merge_stops(None, ["a", ""])


@pytest.mark.parametrize("wrong", [5, {"a": 1}, [1], [b"x"], object()])
def test_what_is_no_list_of_strings_is_refused(wrong):
    with pytest.raises(TypeError, match="stop must be a list of strings"):
        merge_stops(None, wrong)
