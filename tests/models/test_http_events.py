"""Events, whichever way their bytes were cut up."""

from __future__ import annotations

import asyncio
import codecs
import itertools
import json

import httpx
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from langchain_wrap.models.http_body import TooLarge
from langchain_wrap.models.http_events import NDJSON, SSE, Event, Raw, parsed

LIMIT = 2**20
LINES = st.lists(
    st.one_of(
        st.sampled_from(
            ["", "", ":", ": keep-alive", "data", "data:", "data: [DONE]", "event: error", "id: 7"]
        ),
        st.text(st.characters(exclude_characters="\r\n", exclude_categories=["Cs"])).map(
            lambda text: "data: " + text
        ),
        st.text(st.characters(exclude_characters="\r\n", exclude_categories=["Cs"]), max_size=5),
    ),
    max_size=12,
)
ENDS = st.sampled_from(["\n", "\r\n", "\r"])


def read(decoder, data, cuts=()):
    """Feed bytes cut at these places."""
    places = [0, *sorted({cut for cut in cuts if 0 < cut < len(data)}), len(data)]
    parts = [data[a:b] for a, b in itertools.pairwise(places)]
    events = [event for part in parts if part for event in decoder.feed(part)]
    return [*events, *decoder.end()]


def oracle(data):
    """What httpx-sse reads."""
    httpx_sse = pytest.importorskip("httpx_sse")

    async def everything():
        response = httpx.Response(200, headers={"content-type": "text/event-stream"}, content=data)
        source = httpx_sse.EventSource(response)
        return [Event(e.data, e.event) async for e in source.aiter_sse()]

    return asyncio.run(everything())


def telling(events):
    """Without the events that say nothing: which of them are told of differs."""
    names = ("", "message")
    return [Event(e.data, "" if e.name in names else e.name) for e in events if e.data]


@given(LINES, st.data())
def test_sse_reads_what_httpx_sse_reads_wherever_it_is_cut(lines, data):
    # A field `error` is no part of the standard; only old llama-servers send it.
    lines = [line for line in lines if line.partition(":")[0] != "error"]
    ends = data.draw(st.lists(ENDS, min_size=len(lines), max_size=len(lines)))
    # The last event, ended or not, is told of by us and not by httpx-sse.
    sent = ("".join(a + b for a, b in zip(lines, ends, strict=True)) + "\n\n").encode()
    cuts = data.draw(st.lists(st.integers(0, len(sent))))
    assert telling(read(SSE(LIMIT), sent, cuts)) == telling(oracle(sent))


EVERYTHING = (
    "\ufeff: comment\r\n\r\n"
    'data: {"text": "naïve ☃ 🙂"}\r\n\r\n'
    "event: ping\ndata: {}\n\n"
    "data: two\rdata:lines\r\r"
    "id: 1\nretry: 5\nunknown: field\nnocolon\n\n"
    ":\n\ndata:  spaced \n\ndata\n\n"
    "event: error\ndata: broken\n\n"
    "data: the end"
).encode()
TOLD = [
    Event('{"text": "naïve ☃ 🙂"}'),
    Event("{}", "ping"),
    Event("two\nlines"),
    Event(" spaced "),
    Event("broken", "error"),
    Event("the end"),
]


def test_sse_cut_at_every_place():
    for cut in range(len(EVERYTHING)):
        assert telling(read(SSE(LIMIT), EVERYTHING, [cut])) == TOLD


def test_sse_one_byte_at_a_time():
    assert telling(read(SSE(LIMIT), EVERYTHING, range(len(EVERYTHING)))) == TOLD


def test_an_event_is_told_of_at_once_even_where_a_carriage_return_ends_it():
    decoder = SSE(LIMIT)
    assert list(decoder.feed(b"data: a\r\r")) == [Event("a")]
    assert list(decoder.feed(b"\ndata: b\r\n\r")) == [Event("b")]
    assert list(decoder.feed(b"\n")) == []


def test_a_field_named_error_is_an_error():
    assert read(SSE(LIMIT), b'error: {"message": "no"}\n\n') == [
        Event('{"message": "no"}', "error")
    ]


@given(st.lists(st.sampled_from(["\n", "\r\n"]).flatmap(
    lambda end: st.dictionaries(st.text(max_size=3), st.text(max_size=5), max_size=3).map(
        lambda value: (json.dumps(value, ensure_ascii=False), end)))), st.data())  # fmt: skip
def test_ndjson_wherever_it_is_cut(lines, data):
    lines = [(text.encode("utf-8", "replace").decode(), end) for text, end in lines]
    sent = "".join(text + end for text, end in lines).encode()
    cuts = data.draw(st.lists(st.integers(0, len(sent))))
    events = read(NDJSON(LIMIT), sent, cuts)
    assert [e.data for e in events if e.data] == [text for text, _ in lines]


def test_ndjson_with_mark_empty_lines_and_no_end():
    sent = codecs.BOM_UTF8 + b'{"a": 1}\n\n\n{"a": 2}'
    assert [e.data for e in read(NDJSON(LIMIT), sent, range(99)) if e.data] == [
        '{"a": 1}',
        '{"a": 2}',
    ]


@given(st.text(st.characters(exclude_categories=["Cs"])), st.data())
@example("é☃🙂", None)
def test_raw_text_wherever_it_is_cut(text, data):
    sent = text.encode()
    places = range(len(sent)) if data is None else data.draw(st.lists(st.integers(0, len(sent))))
    assert "".join(e.data for e in read(Raw(None), sent, places)) == text.removeprefix("\ufeff")


@pytest.mark.parametrize(
    ("charset", "sent"),
    [
        ("latin-1", b"\xe9"),
        ("utf-16", "é".encode("utf-16")),
        *((name, b"\xc3\xa9") for name in ("no-such-charset", "hex", "rot13", "idna", "undefined")),
    ],
)
def test_raw_text_in_the_charset_that_the_server_names(charset, sent):
    assert "".join(e.data for e in read(Raw(charset), sent, range(9))) == "é"


def test_half_a_character_is_shown_as_one_that_is_not_there():
    assert "".join(e.data for e in read(Raw(None), b"a\xe2\x98")) == "a\ufffd"
    assert read(SSE(LIMIT), b"data: a\xff\n\n") == [Event("a\ufffd")]


@pytest.mark.parametrize("kind", [SSE, NDJSON])
def test_what_may_come_for_one_event_is_bounded(kind):
    line = b"data: " + b"x" * 50 + b"\n\n"
    decoder = kind(100)
    for _ in range(10):  # in all it is not
        assert list(decoder.feed(line))
    assert list(decoder.feed(b"x" * 50)) == []
    with pytest.raises(TooLarge, match="more than 100 bytes"):
        list(decoder.feed(b"x" * 51))


def test_the_lines_of_one_event_are_bounded_together():
    decoder = SSE(100)
    assert list(decoder.feed(b"data: " + b"x" * 50 + b"\n")) == []
    with pytest.raises(TooLarge):
        list(decoder.feed(b"data: " + b"x" * 51 + b"\n"))


@pytest.mark.parametrize("text", ["", "no", "[" * 200_000, "{'a': 1}", "9" * 10_000])
def test_what_is_no_json(text):
    with pytest.raises(ValueError, match=r"."):
        parsed(text)
