"""The drawing of a streamed call."""

import re
from xml.etree import ElementTree as ET

import pytest

from checks import made
from langchain_wrap.checks.reports.timeline import describe, draw
from langchain_wrap.checks.result import Moment


@pytest.mark.parametrize("count", [0, 1, 3, 300])
def test_every_mark_is_drawn_within_the_picture_and_titled(count):
    svg = ET.fromstring(draw(made.moments(count), "STREAM-01"))
    width = float(svg.get("viewBox").split()[2])
    marks = [g for g in svg if g.get("class", "").startswith("mark")]
    assert len(marks) == 2 + 2 * count
    assert all(len(g.find("title").text) > 5 for g in marks)
    places = [float(x.get("x1")) for g in marks for x in g.iter("line")]
    assert all(0 < x < width for x in places)


def test_titles_say_what_and_when():
    marks = draw((Moment(0.0, "start", "hi"), Moment(0.0123, "chunk", "a<b")), "X")
    assert re.findall("<title>(.*?)</title>", marks) == [
        "start at 0 ms: &#x27;hi&#x27;",
        "chunk 1 at 12.3 ms: &#x27;a&lt;b&#x27;",
    ]


@pytest.mark.parametrize(
    ("seconds", "ticks"),
    [
        (0.00063, ["0", "200 µs", "400 µs", "600 µs"]),
        (0.9, ["0", "200 ms", "400 ms", "600 ms", "800 ms"]),
        (61.0, ["0", "20 s", "40 s", "60 s"]),
        (0.0, ["0", "0.2 µs", "0.4 µs", "0.6 µs", "0.8 µs", "1 µs"]),
    ],
)
def test_the_axis_has_round_numbers(seconds, ticks):
    svg = draw((Moment(seconds, "end"),), "X")
    assert re.findall(r'class="tick"[^>]*>([^<]*)<', svg) == ticks


def test_is_described_in_words():
    assert describe(made.moments(2)) == (
        "2 token callbacks, 2 chunks, the first chunk after 11 ms, the last after 21 ms, "
        "end after 40 ms"
    )
    assert describe(made.moments(1, "error")).endswith("error after 30 ms")
    assert describe((Moment(0.5, "chunk", "a"),)) == (
        "0 token callbacks, 1 chunk, the first chunk after 500 ms, no end was reported"
    )
    assert draw((), "X") == ""
