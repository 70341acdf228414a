from __future__ import annotations

import dataclasses
import functools
import json
import os
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, SecretStr

from langchain_wrap.pipeline.identity import Configuration, canonical, describe

plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(plain)
def test_plain_values_are_json(value):
    json.dumps(describe(value), allow_nan=False)


@given(plain, plain)
def test_different_plain_values_are_described_differently(one, other):
    same = json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)
    assert (canonical(describe(one)) == canonical(describe(other))) == same


@pytest.mark.parametrize("name", ["", "api_key", "headers", "url"])
@pytest.mark.parametrize("digest", [False, True])
def test_any_text_can_be_described(name, digest):
    for text in ("", "\x00", "x\ud800y", "https://u:\ud800@h/?key=\ud800", "\U0001f600"):
        value = {text: text} if name == "headers" else text
        json.dumps(describe({name: value}, digest=digest))


def test_the_order_of_keys_does_not_matter():
    assert canonical(describe({"a": 1, "b": 2})) == canonical(describe({"b": 2, "a": 1}))
    assert describe({1, 2, 3}) == describe({3, 2, 1})


@dataclasses.dataclass
class Data:
    a: int
    api_key: str = "k"


class Model(BaseModel):
    a: int


def test_objects_with_fields_are_described_by_them():
    assert describe(Data(1)) == describe(Data(1)) != describe(Data(2))
    assert describe(Model(a=1)) == describe(Model(a=1)) != describe(Model(a=2))


def test_secrets_are_never_shown():
    thing = {
        "a": SecretStr("sk-very-secret"),
        "headers": {"X": "sk-very-secret"},
        "data": Data(1, "sk-very-secret"),
        "url": "https://u:sk-very-secret@h/",
        "partial": functools.partial(print, api_key="sk-very-secret"),
    }
    for digest in (False, True):
        assert "very-secret" not in canonical(describe(thing, digest=digest))


def test_in_the_cache_key_secrets_differ():
    one, other = ({"api_key": key} for key in ("one-key-1", "other-key-2"))
    assert describe(one) == describe(other)
    assert describe(one, digest=True) != describe(other, digest=True)


def _function(x):
    return x + 1


def _other(x):
    return x + 2


def test_functions_are_told_apart_by_code_and_closure():
    def adder(n):
        return lambda x: x + n

    assert describe(_function) == describe(_function) != describe(_other)
    assert describe(adder(1)) != describe(adder(2))
    assert describe(functools.partial(_function, 1)) != describe(functools.partial(_function, 2))


class Opaque:
    pass


def test_opaque_objects_are_told_apart_and_keep_their_description():
    one, other = Opaque(), Opaque()
    assert describe(one) == describe(one) != describe(other)
    seen = set()
    for _ in range(50):
        seen.add(canonical(describe(Opaque())))
    assert len(seen) == 50


def test_a_structure_that_holds_itself_ends():
    circle: list = [1]
    circle.append(circle)
    assert describe(circle)


SCRIPT = """
import datetime, decimal, pathlib, uuid, enum
from langchain_wrap.pipeline.identity import canonical, describe
class Colour(enum.Enum):
    RED = "r"
print(canonical(describe({
    "d": decimal.Decimal("0.5"), "t": datetime.datetime(2020, 1, 1), "p": pathlib.Path("a"),
    "u": uuid.UUID(int=5), "s": {"b", "a", "c"}, "e": Colour.RED, "f": len, "b": b"x",
})))
"""


def test_a_description_is_the_same_in_every_process():
    def run(seed):
        env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "PYTHONHASHSEED": seed}
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True, env=env
        )
        return done.stdout

    assert run("1") == run("2")


@pytest.mark.parametrize("turns", [1, 5])
def test_a_models_own_changes_are_no_configuration(turns):
    configuration = Configuration()
    first = configuration.read({"n": 0, "t": 1})
    for turn in range(turns):
        before = {"n": turn, "t": 1}
        read = configuration.read(before)
        assert read == first
        configuration.after(before, {"n": turn + 1, "t": 1}, read, configuration.time)
    assert configuration.read({"n": turns, "t": 1}) == first
    assert configuration.read({"n": turns, "t": 2}) != first
    assert configuration.read({"n": 99, "t": 1}) == {"n": 99, "t": 1}


def test_what_somebody_else_assigns_during_a_call_is_configuration():
    configuration = Configuration()
    before = {"t": 0}
    read, time = configuration.read(before), configuration.time
    configuration.assign("t")
    configuration.after(before, {"t": 1}, read, time)
    assert configuration.read({"t": 1}) == {"t": 1}


def test_methods_of_built_in_objects_are_told_apart_by_the_object():
    one, two = {"q": "1"}.get, {"q": "2"}.get
    assert describe(one) != describe(two)
    assert describe(one) == describe({"q": "1"}.get)
    assert describe(len) == "builtins.len"
