"""The subject: the chat model under check, with what its checks share of answers and facts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, cast

from langchain_core.language_models import BaseChatModel

from langchain_wrap.checks.chat import paths
from langchain_wrap.checks.chat.paths import ChatTrace
from langchain_wrap.checks.chat.seam import Seam, standing
from langchain_wrap.checks.clause import Skipped
from langchain_wrap.checks.shared import Shared, made_by

_SAME = {
    "CALL-01": "CHAT-CALL-01",
    "IDENTITY-01": "CHAT-IDENTITY-01",
    "IDENTITY-02": "CHAT-IDENTITY-02",
    "IDENTITY-07": "CHAT-IDENTITY-04",
}


class ChatSubject(Shared):
    """A chat model under check."""

    llm: BaseChatModel

    def made(self, target: Any) -> BaseChatModel:
        """Return the chat model that `target` is or makes.

        Raises:
            TypeError: There is none.
        """
        return cast("BaseChatModel", made_by(target, BaseChatModel, "a chat model", "check_chat"))

    def called(self, llm: Any, path: str, prompts: Sequence[Any], **options: Any) -> ChatTrace:
        """Call a chat model, and return the trace of it.

        Raises:
            NoAnswer: It takes longer than `seconds`.
        """
        return paths.call(llm, path, prompts, run_async=self.run_async, **options)

    def code(self, path: str, prompts: Sequence[Any], **kwargs: Any) -> str:
        """Return the expression that does a call and gives its text, or texts in a batch."""
        return paths.code(path, prompts, **kwargs)

    def see(self, clause: str) -> str:
        """Return which clause of this kit says what a clause of the LLM's says."""
        return _SAME.get(clause, clause)

    def ask(self, path: str, *inputs: Any, **options: Any) -> ChatTrace:
        """Do `answered`, and return the trace as one of a chat model."""
        return cast("ChatTrace", self.answered(path, *inputs, **options))

    def attempt(self, path: str, *inputs: Any, **options: Any) -> ChatTrace:
        """Do `call`, and return the trace as one of a chat model; it may hold an error."""
        return cast("ChatTrace", self.call(path, *inputs, **options))

    @property
    def streams(self) -> bool:
        """Whether the author has written something that streams."""
        cls = type(self.llm)
        names = ("_stream", "_astream", "stream", "astream")
        return any(getattr(cls, name) is not getattr(BaseChatModel, name) for name in names)

    def need_streams(self) -> None:
        """Leave the clause if the model does not stream.

        Raises:
            Skipped: It does not.
        """
        if not self.streams:
            raise Skipped("the model has no `_stream` and no `_astream`")

    @contextmanager
    def seam(self, **options: Any) -> Iterator[tuple[BaseChatModel, Seam]]:
        """Give a copy of the model with a seam before its author's methods."""
        seam = Seam(**options)
        with standing(self.llm, seam) as llm:
            yield llm, seam
