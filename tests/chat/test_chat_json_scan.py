from __future__ import annotations

import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from langchain_wrap.chat.json_scan import Key, ObjectScan, Part, ValueEnd

values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
objects = st.dictionaries(st.text(), values, max_size=4)


def scan(*chunks: str):
    """The keys with the text of their values, the scan, and what it left of the chunks."""
    scanner, found, left = ObjectScan(), [], ""
    for chunk in chunks:
        if scanner.ended:
            left += chunk
            continue
        at, events = scanner.feed(chunk)
        left += chunk[at:]
        for event in events:
            if isinstance(event, Key):
                found.append([event.name, "", False])
            elif isinstance(event, Part):
                assert event.text
                found[-1][1] += event.text
            else:
                assert isinstance(event, ValueEnd)
                found[-1][2] = True
    return [tuple(each) for each in found], scanner, left


@st.composite
def cut(draw, texts):
    text = draw(texts)
    cuts = draw(st.lists(st.integers(0, len(text)), max_size=8))
    edges = [0, *sorted(cuts), len(text)]
    return text, [text[a:b] for a, b in itertools.pairwise(edges)]


@given(objects, st.booleans(), st.sampled_from([None, 2]), st.text(max_size=5), st.data())
def test_it_finds_the_keys_and_the_text_of_their_values(value, ascii_only, indent, after, data):
    text = json.dumps(value, ensure_ascii=ascii_only, indent=indent) + after
    _, chunks = data.draw(cut(st.just(text)))
    found, scanner, left = scan(*chunks)
    assert scanner.done
    assert left == after
    assert [(key, json.loads(raw), whole) for key, raw, whole in found] == [
        (key, each, True) for key, each in value.items()
    ]


@given(cut(st.text('{}[]":,\\ a1\n', max_size=30)))
def test_no_cut_changes_what_is_found(case):
    text, chunks = case
    whole, one, left = scan(text)
    parts, many, left_many = scan(*chunks)
    assert parts == whole
    assert (many.done, many.error, left_many) == (one.done, one.error, left)


@given(cut(st.text('{}[]":,\\ a1\n', max_size=30).map(lambda text: '{"k":' + text)))
def test_no_cut_changes_what_is_found_in_a_value(case):
    text, chunks = case
    assert scan(*chunks)[0] == scan(text)[0]


@pytest.mark.parametrize(
    ("text", "left", "error"),
    [
        ("[1]", "[1]", "expected an object, not '['"),
        ("{a: 1}", "a: 1}", "expected a key in double quotes, not 'a'"),
        ("{'a': 1}", "'a': 1}", "expected a key in double quotes"),
        ('{"a" 1}', "1}", "expected ':' after a key, not '1'"),
        ('{"a": }', "}", "expected a value, not '}'"),
        ('{"a": [1}', "}", "expected ']', not '}'"),
        ('{"a": {"b": 1]', "]", "expected '}', not ']'"),
        ('{"a": 1 "b": 2}', '"b": 2}', "expected ',' or '}' after a value"),
        ('{"\\x": 1}', ": 1}", "a key is no JSON string"),
    ],
)
def test_it_breaks_at_the_character_that_shows_it(text, left, error):
    _, scanner, rest = scan(*text)
    assert rest == left
    assert error in scanner.error


def test_brackets_quotes_and_escapes_in_strings_are_text():
    raw = r'"}]\" \\\u007b"'
    assert scan(*('{"a": ' + raw + "}x"))[0] == [("a", raw, True)]


def test_what_models_write_beside_the_standard_is_let_pass():
    found, scanner, _ = scan('{"a": "one\ntwo",\n}')
    assert scanner.done
    assert found == [("a", '"one\ntwo"', True)]


def test_a_value_cut_off_has_no_end():
    assert scan('{"a": {"b": 1')[0] == [("a", '{"b": 1', False)]
    assert scan('{"a": 1')[0] == [("a", "1", False)]


def test_keys_are_decoded():
    assert scan(r'{"n\u0061me": 1}')[0] == [("name", "1", True)]
