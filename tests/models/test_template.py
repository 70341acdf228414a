"""Templates: typed values, never text pasted into JSON."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from langchain_wrap.models import template

NAMES = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,8}", fullmatch=True)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
PLAIN = st.text(st.characters(exclude_characters="{}", exclude_categories=["Cs"]))
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)


@given(VALUES)
def test_a_name_alone_becomes_the_value_itself(value):
    filled = template.fill({"a": ["{x}", {"b": "{x}"}]}, {"x": value})
    assert filled == {"a": [value, {"b": value}]}
    assert type(filled["a"][0]) is type(value)


@given(TEXTS, PLAIN, PLAIN)
def test_within_text_a_text_is_put_in_as_it_is(value, before, after):
    assert template.fill(f"{before}{{x}}{after}", {"x": value}) == f"{before}{value}{after}"


@given(VALUES.filter(lambda value: not isinstance(value, str)), PLAIN.filter(bool))
def test_within_text_another_value_is_put_in_as_json(value, before):
    filled = template.fill(before + "{x}", {"x": value})
    assert json.loads(filled.removeprefix(before)) == value


@given(st.dictionaries(NAMES, TEXTS, min_size=1, max_size=4))
def test_what_is_put_in_is_not_filled_again(values):
    names = list(values)
    values = dict.fromkeys(names, "{" + names[0] + "}")
    assert template.fill("|".join(f"{{{n}}}" for n in names) + "|", values) == "|".join(
        [values[n] for n in names] + [""]
    )


@given(VALUES)
def test_a_template_without_names_is_itself(value):
    text = json.dumps(value).replace("{", "(").replace("}", ")")
    assert template.fill([text, 1], {}) == [text, 1]


@pytest.mark.parametrize(
    ("text", "filled"),
    [
        ("{{x}}", "{x}"),
        ("a {{x}} {x}", "a {x} 1"),
        ("{}", "{}"),
        ("{ x }", "{ x }"),
        ('{"json": true}', '{"json": true}'),
        ("{1}", "{1}"),
        ("{x", "{x"),
        ("{x:>3}", "{x:>3}"),
        ("{x.y}", "{x.y}"),
        ("{{{x}}}", "{{x}}"),
    ],
)
def test_other_braces_stay(text, filled):
    assert template.fill(text, {"x": 1}) == filled


def test_what_has_no_value_is_left_out():
    assert template.fill({"a": "{x}", "b": ["{x}", 1], "c": {"d": "{x}"}, "{x}": 1}, {}) == {
        "b": [1],
        "c": {},
    }
    assert template.fill({"a": "never {x} half filled"}, {}) == {}
    assert template.fill("{x}", {}) is None


def test_none_is_a_value():
    assert template.fill({"a": "{x}"}, {"x": None}) == {"a": None}


def test_keys_are_text():
    assert template.fill({"{x}": 1, "k{x}": 2, 3: 4}, {"x": [1]}) == {"[1]": 1, "k[1]": 2, 3: 4}


def test_names():
    assert template.names({"{a}": ["{b} {c}", 1, None], "d": {"e": "{{f}} {1} {g}"}}) == {*"abcg"}


def test_where_a_name_stands():
    assert template.within_text(["{x}", {"a": "b {x}"}], "x")
    assert not template.within_text(["{x}", {"a": "b {y}"}], "x")


def test_merging_goes_into_mappings():
    ours = {"a": {"b": 1, "c": 2}, "d": [1]}
    assert template.merge(ours, {"a": {"c": 3, "e": {}}, "d": [2]}) == {
        "a": {"b": 1, "c": 3, "e": {}},
        "d": [2],
    }
    assert ours == {"a": {"b": 1, "c": 2}, "d": [1]}
