"""IDENTITY: what mutants do not show, such as what is skipped, and why."""

from __future__ import annotations

import enum
import random
import threading
import time
from typing import Any, Literal

import pytest
from langchain_core.caches import InMemoryCache
from langchain_core.language_models.fake import FakeListLLM, FakeStreamingListLLM
from mutants.right import Core, Ours
from pydantic import Field, PrivateAttr
from scripted import KINDS

from langchain_wrap import LLM, wrap
from langchain_wrap.checks.clauses import CLAUSES
from langchain_wrap.checks.probes.fields import as_code, other_values
from langchain_wrap.checks.session import Session

PRODUCTION_OF_CORE = {"IDENTITY-13", "IDENTITY-14"}
"""What langchain-core's own class does not give."""


def check(llm: Any, only: str = "IDENTITY", **options: Any) -> dict[str, Any]:
    return {result.id: result for result in Session(llm, only=only, **options).run()}


def failed(results: dict[str, Any]) -> set[str]:
    return {id_ for id_, result in results.items() if result.status == "failed"}


def shout(prompt: str) -> str:
    return prompt.upper()


@pytest.mark.parametrize("kind", KINDS.values())
def test_ours_of_each_kind_hold_everything(kind):
    assert failed(check(kind())) == set()


@pytest.mark.parametrize("made", [Ours, lambda: wrap(shout), lambda: wrap(lambda p: p[::-1])])
def test_ours_and_wrapped_hold_everything(made):
    assert failed(check(made)) == set()


@pytest.mark.parametrize(
    "made",
    [
        Core,
        lambda: FakeListLLM(responses=["one two three"]),
        lambda: FakeListLLM(responses=["one two three", "four five"]),
        lambda: FakeStreamingListLLM(responses=["one two three"]),
    ],
)
def test_on_langchain_core_only_what_it_does_not_give_fails(made):
    assert failed(check(made)) == PRODUCTION_OF_CORE


class Settings(enum.Enum):
    LOW = 1
    HIGH = 2


class ManyFields(LLM):
    """A field of each sort."""

    switch: bool = False
    number: int = 5
    at_least_ten: int = Field(default=16, ge=10)
    share: float = Field(default=1.0, ge=0, le=1)
    choice: Literal["a", "b"] = "a"
    level: Settings = Settings.LOW
    maybe: int | None = None
    maybe_not: bool | None = None
    text: str = "free"
    base_url: str = "http://so.invalid"
    n_threads: int = 4
    port: int = 80
    api_key: str = ""
    request_timeout: float = 3.0
    calls: list[str] = []  # noqa: RUF012

    def _call(self, prompt):
        return prompt


def test_fields_are_varied_within_their_bounds_and_never_what_says_where_to_go():
    assert {name: values[0] for name, values in other_values(ManyFields()).items()} == {
        "switch": True,
        "number": 1,
        "at_least_ten": 17,
        "share": 0.5,
        "choice": "b",
        "level": Settings.HIGH,
        "maybe": 2,
        "maybe_not": True,
    }
    assert as_code("level", Settings.HIGH) == "type(llm.level)['HIGH']"


class LeavesOut(LLM):
    """It says `letters` letters, and its parameters do not tell how many."""

    letters: int = 9
    style: Settings = Settings.LOW
    unused: int = 0

    def asdict(self):
        return {"style": self.style.value}

    def _call(self, prompt):
        return prompt[: self.letters]


def test_a_limit_that_is_out_of_reach_is_found_too():
    (result,) = check(LeavesOut(letters=500), "IDENTITY-06").values()
    assert result.status == "failed"
    assert result.message.startswith("with letters=1 the model says 'T' instead of 'The capital")
    with pytest.raises(AssertionError):
        exec(result.repro, {"llm": LeavesOut(letters=500)})


def test_fields_without_a_difference_may_be_left_out():
    class OnlyUnused(LeavesOut):
        def asdict(self):
            return {"letters": self.letters, "style": self.style.value}

    (result,) = check(OnlyUnused, "IDENTITY-06").values()
    assert (result.status, result.message) == ("passed", "left out, without a difference: unused")


def test_what_cannot_be_told_is_not_passed():
    class Varies(LeavesOut):
        def _call(self, prompt):
            return prompt[: self.letters] + str(random.random())

    class Fails(LeavesOut):
        def _call(self, prompt):
            if self.letters != 9 or self.unused:
                raise ValueError("this model is made for 9 letters")
            return prompt[: self.letters]

    (varies,) = check(Varies, "IDENTITY-06").values()
    assert varies.status == "skipped"
    assert "letters, unused (answers vary)" in varies.message
    (fails,) = check(Fails, "IDENTITY-06").values()
    assert fails.status == "skipped"
    assert "letters, unused (the model fails with other values)" in fails.message


def test_parameters_that_cannot_be_had_fail_once():
    class NoProperty(Core):
        def _identifying_params(self):
            return {}

        def asdict(self):
            return {"_type": "so"}

        def __str__(self):
            return "So"

    results = check(NoProperty)
    assert failed(results) == {"IDENTITY-02", "IDENTITY-06", "IDENTITY-12", *PRODUCTION_OF_CORE}
    assert results["IDENTITY-02"].message == "_identifying_params is no dict but a method"
    assert "as IDENTITY-02 reports" in results["IDENTITY-03"].message


def test_a_message_never_shows_a_parameters_value():
    class Tells(Core):
        @property
        def _identifying_params(self):
            return {"model_name": "so", "repeat": 1, "auth": {"sk-own-1234"}, "at": time.time_ns()}

    results = check(Tells)
    assert {"IDENTITY-02", "IDENTITY-03"} <= failed(results)
    shown = "".join(result.message + result.repro for result in results.values())
    assert "sk-own" not in shown


def test_a_name_that_reaches_no_trace_fails():
    class ById(LLM):
        model_id: str = "small"

        @property
        def _identifying_params(self):
            return {"size": 3}

        def _call(self, prompt):
            return prompt

    (result,) = check(ById, "IDENTITY-05").values()
    assert result.message == "the model has model_id='small', and traces are told no name"
    with pytest.raises(AssertionError):
        exec(result.repro, {"llm": ById()})


def test_a_name_of_a_file_is_recognised():
    class ByPath(LLM):
        model_path: str = "/models/Llama-3.gguf"

        @property
        def _identifying_params(self):
            return {"model_name": "llama-3"}

        def _call(self, prompt):
            return prompt

    (result,) = check(ByPath, "IDENTITY-05").values()
    assert result.status == "passed"


def test_copies_that_fail_name_the_field():
    class KeepsLock(LLM):
        _lock: Any = PrivateAttr(default_factory=threading.Lock)

        def _call(self, prompt):
            return prompt

    results = check(KeepsLock)
    assert failed(results) == {"IDENTITY-08"}
    assert "because of _lock (lock)" in results["IDENTITY-08"].message
    # A class that is defined in a function cannot be pickled by any means.
    assert results["IDENTITY-09"].status == "skipped"
    assert "KeepsLock cannot be found" in results["IDENTITY-09"].message


def test_a_function_that_has_a_name_is_pickled_and_a_lambda_is_not_asked():
    (named,) = check(lambda: wrap(shout), "IDENTITY-09").values()
    assert named.status == "passed"
    (nameless,) = check(lambda: wrap(lambda p: p), "IDENTITY-09").values()
    assert nameless.status == "skipped"
    assert "lambda" in nameless.message


def test_what_a_user_gave_and_pickle_refuses_is_a_failure():
    (result,) = check(lambda: Ours(custom_get_token_ids=lambda text: []), "IDENTITY-09").values()
    assert result.status == "failed"
    assert "because of custom_get_token_ids (function)" in result.message


def test_a_completion_that_is_never_cached_is_no_failure_of_the_cache():
    from langchain_core.outputs import GenerationChunk

    class CutOff(LLM):
        def _stream(self, prompt):
            yield GenerationChunk(text=prompt[:3], generation_info={"finish_reason": "length"})

    assert failed(check(CutOff)) == set()


def test_a_model_with_a_cache_of_its_own_keeps_it():
    llm = Ours(cache=InMemoryCache())
    assert failed(check(llm)) == set()
    assert llm.repeat == 1


def test_a_model_without_parameters_is_not_asked_for_them():
    (result,) = check(Ours, "IDENTITY-13").values()
    assert (result.status, result.message) == ("skipped", "calls of the model take no parameters")


def test_a_slow_model_is_called_few_times():
    calls = []

    class Slow(LLM):
        a: int = 0
        b: int = 0
        c: int = 0
        d: int = 0
        e: int = 0
        f: int = 0

        def asdict(self):
            return {}

        def _call(self, prompt):
            calls.append(prompt)
            time.sleep(0.75)
            return prompt

    results = check(Slow, ["IDENTITY-06", "IDENTITY-12", "IDENTITY-13"], deterministic=True)
    assert failed(results) == set()
    assert "e, f (a call takes too long to try them all)" in results["IDENTITY-06"].message
    assert len(calls) <= 6


def test_a_model_that_hangs_hangs_nothing():
    class Hangs(LLM):
        def _call(self, prompt):
            time.sleep(3)

    began = time.monotonic()
    results = check(Hangs, timeout=0.3)
    assert failed(results) == {"IDENTITY-01"}  # the first to call it
    assert time.monotonic() - began < 3


def test_a_model_that_raises_fails_once():
    class Raises(Core):
        def _call(self, prompt, stop=None, run_manager=None, **kwargs):
            raise RuntimeError("no")

    results = check(Raises)
    assert failed(results) == {"IDENTITY-01", *PRODUCTION_OF_CORE}
    assert results["IDENTITY-07"].message == "invoke does not work, as IDENTITY-01 reports"


def test_every_text_is_there():
    for clause in CLAUSES:
        if clause.area in ("IDENTITY", "SECRET", "DOCS"):
            assert all((clause.title, clause.why, clause.source, clause.fix))
