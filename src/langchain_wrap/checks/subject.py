"""The subject: the LLM under check, with what its checks share of answers and facts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, cast

from langchain_core.language_models.llms import BaseLLM

from langchain_wrap.checks.clause import Skipped
from langchain_wrap.checks.probes import paths
from langchain_wrap.checks.probes.spy import Spy, authored, spying
from langchain_wrap.checks.probes.trace import Trace
from langchain_wrap.checks.shared import (
    PROMPTS,
    Shared,
    cut,
    describe_error,
    first_then,
    made_by,
    shown,
    shown_text,
)

__all__ = [
    "PROMPTS",
    "Subject",
    "cut",
    "describe_error",
    "first_then",
    "shown",
    "shown_text",
]


class Subject(Shared):
    """An LLM under check."""

    llm: BaseLLM

    def made(self, target: Any) -> BaseLLM:
        """Return the LLM that `target` is or makes.

        Raises:
            TypeError: There is none.
        """
        return cast("BaseLLM", made_by(target, BaseLLM, "an LLM", "check_llm"))

    def called(self, llm: Any, path: str, prompts: Sequence[Any], **options: Any) -> Trace:
        """Call an LLM, and return the trace of it.

        Raises:
            NoAnswer: It takes longer than `seconds`.
        """
        return paths.call(llm, path, prompts, run_async=self.run_async, **options)

    def code(self, path: str, prompts: Sequence[Any], **kwargs: Any) -> str:
        """Return the expression that does a call and gives its text, or texts in a batch."""
        return paths.code(path, prompts, **kwargs)

    @property
    def streams(self) -> bool:
        """Whether the author has written something that streams."""
        cls = type(self.llm)
        return bool({"_stream", "_astream"} & set(authored(self.llm))) or any(
            getattr(cls, name) is not getattr(BaseLLM, name)
            for name in ("stream", "astream")
            if not hasattr(self.llm, "_implemented")
        )

    @contextmanager
    def spy(self, llm: Any = None, **options: Any) -> Iterator[Spy]:
        """Stand between the model and its author's methods for the time of the body.

        Raises:
            Skipped: There is no method to stand before.
        """
        with spying(llm or self.llm, Spy(**options)) as spy:
            if not spy.methods:
                raise Skipped("the model has none of the methods of a custom LLM")
            yield spy
