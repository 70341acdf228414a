"""Text that is fit to be shown."""

import pytest

from langchain_wrap.checks.reports.characters import clipped, visible


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain, ünïcode, 日本, 🙂\n\tand lines", "plain, ünïcode, 日本, 🙂\n\tand lines"),
        ("\x1b[31mred\x00", r"\x1b[31mred\x00"),
        ("\ud800 and \udfff", r"\ud800 and \udfff"),
        ("one\rtwo\x85three\u2028", r"one\rtwo\x85three\u2028"),
        ("left \u202e right", r"left \u202e right"),
        ("\ufffe\uffff", r"\ufffe\uffff"),
        ("'quotes' and \\", "'quotes' and \\"),
        ("'quotes'\x00\\", r"'quotes'\x00" + "\\"),
    ],
)
def test_what_cannot_be_seen_is_escaped(text, shown):
    assert visible(text) == shown
    shown.encode()


def test_clipped_text_is_one_short_line():
    assert clipped("one\n  two\tthree", 20) == "one two three"
    assert clipped("x" * 30, 10) == "x" * 9 + "…"
