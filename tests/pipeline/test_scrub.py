from __future__ import annotations

import traceback

import pytest

from langchain_wrap.pipeline.scrub import scrub
from langchain_wrap.pipeline.secrets import MASK

KEY = "sk-Zx9-very-secret"


def shown(error):
    return "".join(traceback.format_exception(error)) + repr(error)


def test_an_error_without_secrets_stays_itself():
    error = ValueError("plain", 5)
    assert scrub(error, [KEY]) is error
    assert error.args == ("plain", 5)


def test_the_error_is_kept_where_its_text_can_be_masked():
    error = ValueError(f"bad {KEY}!", 5)
    assert scrub(error, [KEY]) is error
    assert error.args == (f"bad {MASK}!", 5)


def test_short_secrets_are_not_looked_for():
    error = ValueError("a b c")
    assert str(scrub(error, ["b", ""])) == "a b c"


def test_a_secret_within_another_is_masked_as_a_whole():
    assert str(scrub(ValueError("x abcdefgh y"), ["abcd", "abcdefgh"])) == f"x {MASK} y"


def test_a_secret_is_no_regular_expression():
    assert str(scrub(ValueError("x a.c* y abbc"), ["a.c*"])) == f"x {MASK} y abbc"


def test_the_errors_behind_it_are_masked_and_kept():
    inner = KeyError(KEY)
    outer = RuntimeError("outer")
    outer.__cause__ = inner
    assert scrub(outer, [KEY]) is outer
    assert outer.__cause__ is inner
    assert KEY not in shown(outer)


def test_a_circle_of_errors_ends():
    one, two = ValueError(KEY), ValueError(KEY)
    one.__context__, two.__context__ = two, one
    scrub(one, [KEY])
    assert one.args == two.args == (MASK,)


@pytest.mark.parametrize(
    "make",
    [
        lambda: OSError(2, f"no {KEY}", f"/x/{KEY}"),
        lambda: ExceptionGroup(KEY, [ValueError(KEY), ExceptionGroup(KEY, [OSError(KEY)])]),
        lambda: UnicodeDecodeError("utf-8", KEY.encode(), 0, 1, KEY),
        lambda: ValueError({"a": [(KEY,)]}),
        lambda: ImportError(KEY, name=KEY, path=KEY),
    ],
)
def test_no_kind_of_error_shows_it_and_its_class_is_kept(make):
    error = scrub(make(), [KEY])
    assert KEY not in shown(error)
    assert type(error) is type(make())


class Stubborn(Exception):
    def __str__(self):
        return KEY


@pytest.mark.parametrize("behind", [Stubborn(), ExceptionGroup(KEY, [ValueError(KEY)])], ids=repr)
@pytest.mark.parametrize("link", ["__cause__", "__context__"])
def test_an_error_behind_it_that_cannot_be_masked_is_not_shown(link, behind):
    error = ValueError("outer")
    setattr(error, link, behind)
    scrubbed = scrub(error, [KEY])
    assert KEY not in shown(scrubbed)
    assert "outer" in shown(scrubbed)


def test_an_error_that_cannot_be_masked_is_replaced():
    error = Stubborn()
    replaced = scrub(error, [KEY])
    assert KEY not in shown(replaced)
    assert "Stubborn" in shown(replaced)
