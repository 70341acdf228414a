"""DOCS: what mutants do not show."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.language_models.fake import FakeListLLM, FakeStreamingListLLM
from langchain_core.language_models.llms import LLM as CoreLLM
from mutants.right import Core, Ours
from pydantic import ConfigDict, Field

from langchain_wrap import LLM, wrap
from langchain_wrap.checks.session import Session


def check(llm: Any, only: str = "DOCS") -> dict[str, Any]:
    return {result.id: result for result in Session(llm, only=only).run()}


@pytest.mark.parametrize(
    "made",
    [
        Core,
        Ours,
        lambda: FakeListLLM(responses=["a b c"]),
        lambda: FakeStreamingListLLM(responses=["a b c"]),
    ],
)
def test_right_models_hold_it(made):
    assert [result.status for result in check(made).values()] == ["passed", "passed", "skipped"]


def test_a_wrapped_function_has_no_class_of_its_author():
    for result in check(wrap(lambda p: p)).values():
        assert result.status == "skipped"
        assert "made by wrap()" in result.message


def test_a_subclass_may_leave_it_to_the_class_that_it_derives_from():
    class Tuned(Ours):
        def _stream(self, prompt):
            yield prompt

    assert [result.status for result in check(Tuned).values()][:2] == ["passed", "passed"]


def test_each_way_to_describe_a_field():
    class Described(LLM):
        """A model; `in_the_class` is said here, and so is an alias, `short`.

        Even at the left edge.
        """

        under_it: int = 0
        """It stands under the field."""

        described: int = Field(default=0, description="It stands in the field.")
        in_the_class: int = 0
        aliased: int = Field(default=0, alias="short")
        client: Any = Field(default=None, exclude=True)

        def _call(self, prompt):
            return prompt

    assert check(Described)["DOCS-02"].status == "passed"


def test_attribute_docstrings_of_pydantic():
    class Described(LLM):
        """A model."""

        model_config = ConfigDict(use_attribute_docstrings=True)

        under_it: int = 0
        """It stands under the field."""

        def _call(self, prompt):
            return prompt

    assert check(Described)["DOCS-02"].status == "passed"


def test_a_part_of_a_word_is_no_description():
    class Undescribed(LLM):
        """A model of nine words."""

        n: int = 0

        def _call(self, prompt):
            return prompt

    result = check(Undescribed)["DOCS-02"]
    assert (result.status, result.message) == ("failed", "n is described nowhere")


def test_without_a_source_nothing_is_held_against_a_field():
    made: dict[str, Any] = {"LLM": CoreLLM}
    exec(
        "class Made(LLM):\n"
        "    'A model.'\n"
        "    n: int = 0\n"
        "    _llm_type = 'made'\n"
        "    def _call(self, prompt, stop=None, run_manager=None, **kwargs):\n"
        "        return prompt\n",
        made,
    )
    result = check(made["Made"])["DOCS-02"]
    assert result.status == "skipped"
    assert "the source of Made cannot be had" in result.message


@pytest.mark.parametrize(
    ("docs", "status"),
    [
        ("Talks to it. https://docs.so.org/api", "passed"),
        ("Talks to http://localhost:8000 or https://api.example.com.", "failed"),
        ("Talks to it.", "failed"),
    ],
)
def test_a_service_is_linked(docs, status):
    class Service(LLM):
        endpoint: str = "https://so.invalid"

        def _call(self, prompt):
            return prompt

    Service.__doc__ = docs
    assert check(Service)["DOCS-03"].status == status
