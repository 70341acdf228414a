from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from langchain_wrap.chat.formats import FORMATS
from langchain_wrap.chat.pieces import CallDelta, Reasoning, Text
from langchain_wrap.chat.reasoning import ReasoningParser
from langchain_wrap.chat.tools import Tools


def split(*chunks: str, **options):
    """The reasoning and the answer."""
    parser = ReasoningParser(**options)
    pieces = [piece for chunk in chunks for piece in parser.feed(chunk)] + parser.finish()
    assert all(piece.text for piece in pieces)
    kinds = [type(piece) for piece in pieces]
    assert kinds == sorted(kinds, key=[Reasoning, Text].index)
    return tuple(
        "".join(piece.text for piece in pieces if isinstance(piece, kind))
        for kind in (Reasoning, Text)
    )


@pytest.mark.parametrize(
    ("text", "reasoning", "answer"),
    [
        ("<think>a</think>b", "a", "b"),
        ("<think>\na\n</think>\n\nb\n", "a", "b\n"),
        ("\n <think>\r\na b\n\nc\n\n</think>b", "a b\n\nc", "b"),
        ("<think>\n\n</think>\n\nb", "", "b"),
        ("<think></think>", "", ""),
        ("<think>a", "a", ""),
        ("<think>a\n", "a\n", ""),
        ("<think>a</thin", "a</thin", ""),
        ("<think>a < b </ c</think>d", "a < b </ c", "d"),
        ("<think>a<think>b</think>c", "a<think>b", "c"),
        ("<think>a</think>b<think>c</think>d", "a", "b<think>c</think>d"),
        ("a <think>b</think>", "", "a <think>b</think>"),
        ("a</think>b", "", "a</think>b"),
        ("<thin", "", "<thin"),
        ("<thing>", "", "<thing>"),
        ("  a", "", "  a"),
        ("  ", "", "  "),
        ("", "", ""),
    ],
)
def test_reasoning_is_split_off_the_beginning(text, reasoning, answer):
    assert split(text) == (reasoning, answer)
    assert split(*text) == (reasoning, answer)


@pytest.mark.parametrize(
    ("text", "reasoning", "answer"),
    [
        ("\na\n</think>\n\nb", "a", "b"),
        ("a", "a", ""),
        ("<think>\na</think>b", "a", "b"),
        ("</think>b", "", "b"),
        ("<b>a</think>b", "<b>a", "b"),
    ],
)
def test_the_prompt_may_have_opened_it(text, reasoning, answer):
    assert split(text, inside=True) == (reasoning, answer)
    assert split(*text, inside=True) == (reasoning, answer)


def test_other_tags():
    tags = ("[THINK]", "[/THINK]")
    assert split("[THINK]a[/THINK]b", tags=tags) == ("a", "b")
    with pytest.raises(ValueError, match="two texts"):
        ReasoningParser(("", "</think>"))


@given(
    st.text("<think>/\n a", max_size=30)
    | st.lists(st.sampled_from(["<think>", "</think>", "\n", " ", "a", "<"]), max_size=12).map(
        "".join
    ),
    st.lists(st.integers(0, 80), max_size=10),
    st.booleans(),
)
def test_no_cut_changes_what_is_found(text, cuts, inside):
    edges = [0, *sorted(min(cut, len(text)) for cut in cuts), len(text)]
    chunks = [text[a:b] for a, b in itertools.pairwise(edges)]
    whole = split(text, inside=inside)
    assert split(*chunks, inside=inside) == whole
    kept = "".join(whole)
    for dropped in ("<think>", "</think>", "\n", " ", "\r"):
        kept, text = kept.replace(dropped, ""), text.replace(dropped, "")
    assert kept == text


def test_thoughts_go_out_as_they_come():
    parser = ReasoningParser()
    assert parser.feed("<thi") == []
    assert parser.feed("nk>\nOne") == [Reasoning("One")]
    assert parser.feed(" two\n") == [Reasoning(" two")]
    assert parser.feed("three </th") == [Reasoning("\nthree ")]
    assert parser.feed("ink>") == []
    assert parser.feed("\nFour") == [Text("Four")]
    assert parser.finish() == []


def test_the_next_parser_gets_the_answer():
    tools = Tools.of([{"name": "f"}])
    parser = ReasoningParser(then=FORMATS["hermes"].parser(tools))
    text = '<think>call it</think>\nYes.\n<tool_call>\n{"name": "f", "arguments": {}}\n</tool_call>'
    pieces = [*parser.feed(text), *parser.finish()]
    assert pieces[:2] == [Reasoning("call it"), Text("Yes.")]
    assert [(piece.name, piece.args) for piece in pieces[2:]] == [("f", "{}")]
    assert isinstance(pieces[2], CallDelta)
