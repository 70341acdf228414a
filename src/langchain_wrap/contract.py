"""The contract: what an author of a custom model writes and declares, and what it is known by."""

from __future__ import annotations

import builtins
from collections.abc import AsyncIterator, Iterator, Mapping
from functools import lru_cache
from typing import Any, cast

from langchain_core.language_models import llms
from langchain_core.outputs import GenerationChunk
from langchain_core.rate_limiters import BaseRateLimiter
from pydantic import Field

from langchain_wrap.pipeline import core
from langchain_wrap.pipeline.plan import Plan
from langchain_wrap.pipeline.reader import GRACE
from langchain_wrap.pipeline.secrets import redact
from langchain_wrap.pipeline.shell import AsyncShell, SyncShell
from langchain_wrap.pipeline.signature import does
from langchain_wrap.pipeline.source import METHODS
from langchain_wrap.pipeline.waiter import run_sync
from langchain_wrap.settings import Settings


class Contract(Settings, llms.LLM):
    """The methods and fields of a custom model; `LLM` adds the paths by which it is called."""

    model_config = Settings.model_config  # langchain-core's would win, as that of the last base

    max_batch_size: int | None = Field(default=None, ge=1)
    """How many prompts a batch method is given at most. None: no bound."""

    rate_limiter: BaseRateLimiter | None = Field(default=None, exclude=True)
    """Limits the attempts per second, as the field of this name does in chat models."""

    # --- what an author writes; what is not written is derived ---

    def _call(
        self, prompt: str, stop: list[str] | None = None, run_manager: Any = None, **kwargs: Any
    ) -> str:
        return "".join(c.text for c in self._derived("_call", prompt, stop, kwargs))

    async def _acall(
        self, prompt: str, stop: list[str] | None = None, run_manager: Any = None, **kwargs: Any
    ) -> str:
        return "".join([c.text async for c in self._aderived("_acall", prompt, stop, kwargs)])

    def _stream(
        self, prompt: str, stop: list[str] | None = None, run_manager: Any = None, **kwargs: Any
    ) -> Iterator[GenerationChunk]:
        return self._derived("_stream", prompt, stop, kwargs)

    def _astream(
        self, prompt: str, stop: list[str] | None = None, run_manager: Any = None, **kwargs: Any
    ) -> AsyncIterator[GenerationChunk]:
        return self._aderived("_astream", prompt, stop, kwargs)

    def _derived(
        self, name: str, prompt: str, stop: Any, kwargs: dict[str, Any]
    ) -> Iterator[GenerationChunk]:
        """Do what the method `name` would do by another that the author has written."""
        plan = Plan(
            self, SyncShell(), stop=stop, parameters=kwargs, streamed="stream" in name, without=name
        )
        generation = plan.generation(prompt)
        try:
            while (chunk := run_sync(generation.next())) is not None:
                yield chunk
        finally:
            run_sync(generation.close(GRACE))

    async def _aderived(
        self, name: str, prompt: str, stop: Any, kwargs: dict[str, Any]
    ) -> AsyncIterator[GenerationChunk]:
        plan = Plan(
            self,
            AsyncShell(),
            stop=stop,
            parameters=kwargs,
            streamed="stream" in name,
            without=name,
        )
        generation = plan.generation(prompt)
        try:
            while (chunk := await generation.next()) is not None:
                yield chunk
        finally:
            await generation.close(GRACE)

    def _tokenize(self, text: str) -> list[int]:
        """Return the model's own token ids for `text`; optional."""
        raise NotImplementedError(
            f"{type(self).__name__} cannot count tokens: implement "
            "`_tokenize(self, text: str) -> list[int]` with the model's own tokenizer, or pass "
            "`custom_get_token_ids=...`"
        )

    @property
    def _has_tokenizer(self) -> bool:
        """Whether `_tokenize` is there, and can be called as the model is configured."""
        return type(self)._tokenize is not Contract._tokenize

    # --- what chat asks of the model; all of it is optional ---

    def _chat_template(self) -> str | None:
        """Return the text of the model's own chat template, in Jinja; None: it has none."""
        return None

    def _special_tokens(self) -> Mapping[str, str]:
        """Return the texts of special tokens that a template may use: `bos_token`, ..."""
        return {}

    def _schema_parameters(self, schema: builtins.dict[str, Any]) -> builtins.dict[str, Any] | None:
        """Return the parameters of a call that make completions JSON texts valid for `schema`.

        None: the model cannot be held to a schema.
        """
        return None

    @property
    def _chats_natively(self) -> bool:
        """Whether `_chat` is there: chat of the model's own, without a template."""
        return callable(getattr(self, "_chat", None))

    @property
    def _chat_does(self) -> frozenset[str]:
        """What `_chat` does itself of `tools`, `tool_choice`, `json_schema` and the like."""
        return does(self)

    # ---

    def get_token_ids(self, text: str) -> list[int]:
        """Return the token ids of `text`, by `custom_get_token_ids` or `_tokenize`.

        Raises:
            NotImplementedError: The model has neither; nothing is downloaded or estimated.
        """
        if self.custom_get_token_ids is not None:
            return self.custom_get_token_ids(text)
        return self._tokenize(text)

    @property
    def _implemented(self) -> frozenset[str]:
        """The names of the contract's methods that the author has written."""
        return _implemented_by(type(self))

    def _params(self) -> builtins.dict[str, Any]:
        if type(self).dict is llms.BaseLLM.dict:
            return self.asdict()
        # The author overrides the method that asdict has replaced.
        return cast("builtins.dict[str, Any]", redact(core.legacy_dict(self)))

    @classmethod
    def _check_class(cls) -> None:
        if not cls._implements_something():
            raise TypeError(
                f"{cls.__name__} implements none of the methods that a custom LLM can be made "
                f"of; write one of {', '.join(METHODS)}"
            )

    @classmethod
    def _implements_something(cls) -> bool:
        return bool(_implemented_by(cls))


Contract._general = frozenset(Contract.model_fields)


@lru_cache(maxsize=1024)
def _implemented_by(cls: type[Contract]) -> frozenset[str]:
    return frozenset(
        name for name in METHODS if getattr(cls, name, None) is not getattr(Contract, name, None)
    )
