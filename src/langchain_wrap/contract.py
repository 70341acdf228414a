"""The contract: what an author of a custom model writes and declares, and what it is known by."""

from __future__ import annotations

import builtins
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from functools import lru_cache
from typing import Any, Self, cast

from langchain_core.language_models import llms
from langchain_core.outputs import GenerationChunk
from langchain_core.rate_limiters import BaseRateLimiter
from pydantic import (
    AliasChoices,
    AliasPath,
    ConfigDict,
    Field,
    PrivateAttr,
    field_validator,
    model_validator,
)
from pydantic.fields import FieldInfo

from langchain_wrap._version import __version__
from langchain_wrap.errors import did_you_mean
from langchain_wrap.pipeline import core
from langchain_wrap.pipeline.identity import describe
from langchain_wrap.pipeline.live import Live
from langchain_wrap.pipeline.plan import Plan
from langchain_wrap.pipeline.reader import GRACE
from langchain_wrap.pipeline.secrets import is_secret, redact
from langchain_wrap.pipeline.shell import AsyncShell, SyncShell
from langchain_wrap.pipeline.source import METHODS, calling
from langchain_wrap.pipeline.stop import merge_stops
from langchain_wrap.pipeline.timeout import Timeout
from langchain_wrap.pipeline.travel import pack, share, unpack
from langchain_wrap.pipeline.waiter import run_sync


class Contract(llms.LLM):
    """The methods and fields of a custom model; `LLM` adds the paths by which it is called."""

    # Errors must not show inputs: an input may be a key under a misspelled name.
    model_config = ConfigDict(
        arbitrary_types_allowed=True, extra="forbid", hide_input_in_errors=True
    )

    stop: list[str] | None = None
    """Stop sequences of every call; those of a call are added to them."""

    include_stop: bool = False
    """Whether the stop that ended a completion stays in its text."""

    concurrency: int | None = Field(default=None, ge=1)
    """How many calls may be inside the model at once, over all threads, event loops and paths.

    A stream counts until its end. 1 protects a model that is not thread-safe. None: no bound, but
    a batch runs up to 64 prompts at once; a batch method runs once at a time.
    """

    max_queued: int | None = Field(default=None, ge=0)
    """How many calls may wait for the model; one more raises `QueueFullError`. None: no bound."""

    max_batch_size: int | None = Field(default=None, ge=1)
    """How many prompts a batch method is given at most. None: no bound."""

    timeout: float | Timeout | None = None
    """Seconds for a whole call, or a `Timeout`; passing it raises `ModelTimeoutError`."""

    max_retries: int = Field(default=0, ge=0)
    """How often to try again after a retryable error, before the first token only."""

    rate_limiter: BaseRateLimiter | None = Field(default=None, exclude=True)
    """Limits the attempts per second, as the field of this name does in chat models."""

    _wrap_live: Live = PrivateAttr(default_factory=Live)

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
    def _llm_type(self) -> str:
        """The name of the class."""
        return type(self).__name__

    @property
    def _identifying_params(self) -> Mapping[str, Any]:
        """The declared public fields as JSON values; secrets are left out."""
        own = self._own_params()
        return {**own, "stop": merge_stops(self.stop, None)} if self.stop else own

    def _own_params(self) -> builtins.dict[str, Any]:
        return {
            name: value
            for name, value in self._described_fields().items()
            if not (_is_excluded(type(self), name) or is_secret(getattr(self, name), name))
        }

    # --- tokens ---

    def get_token_ids(self, text: str) -> list[int]:
        """Return the token ids of `text`, by `custom_get_token_ids` or `_tokenize`.

        Raises:
            NotImplementedError: The model has neither; nothing is downloaded or estimated.
        """
        if self.custom_get_token_ids is not None:
            return self.custom_get_token_ids(text)
        return self._tokenize(text)

    # --- identity, printing, copies ---

    @property
    def abandoned_calls(self) -> int:
        """How many blocking calls still run although their caller has gone.

        They could not be stopped, and keep their places under `concurrency` until they end.
        """
        return self._wrap_live.abandoned

    def asdict(self) -> builtins.dict[str, Any]:
        """Return the identifying parameters and the type, without secrets."""
        params = {**self._identifying_params, "_type": self._llm_type}
        if not self._names_itself:
            return params
        # The author's may hold secrets, and leave out what tells two objects apart.
        return cast("builtins.dict[str, Any]", redact({**self._own_params(), **params}))

    def to_json(self) -> Any:
        """Return the serialized form, without secrets."""
        json = cast("Any", super().to_json())
        return {**json, "kwargs": redact(json["kwargs"])} if "kwargs" in json else json

    def __str__(self) -> str:
        return (
            f"\033[1m{type(self).__name__}\033[0m\nParams: {redact(dict(self._identifying_params))}"
        )

    def __repr_args__(self) -> Iterator[tuple[str | None, Any]]:
        for name, value in super().__repr_args__():
            yield name, redact(value, name or "")

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        if name in type(self).model_fields and calling.get() is not self:
            live = (self.__pydantic_private__ or {}).get("_wrap_live")
            if live is not None:
                live.configuration.assign(name)
        self.__dict__.pop("_serialized", None)  # langchain-core keeps it from the first call on

    def __getstate__(self) -> builtins.dict[Any, Any]:
        state = super().__getstate__()
        return {**state, "__dict__": pack(state["__dict__"])}

    def __setstate__(self, state: builtins.dict[Any, Any]) -> None:
        super().__setstate__({**state, "__dict__": unpack(state["__dict__"])})

    def __deepcopy__(self, memo: builtins.dict[int, Any] | None = None) -> Self:
        memo = {} if memo is None else memo
        share(self.__dict__, memo)
        return super().__deepcopy__(memo)

    def __copy__(self) -> Self:
        copied = super().__copy__()
        copied._wrap_live = Live()
        return copied

    @property
    def _implemented(self) -> frozenset[str]:
        """The names of the contract's methods that the author has written."""
        return _implemented_by(type(self))

    def _method(self, name: str) -> Callable[..., Any]:
        """Return the author's method of that name."""
        return cast("Callable[..., Any]", getattr(self, name))

    def _label(self, name: str) -> str:
        """Return what an error message calls that method."""
        return f"{type(self).__name__}.{name}()"

    @property
    def _names_itself(self) -> bool:
        return type(self)._identifying_params is not Contract._identifying_params

    def _described_fields(self, *, digest: bool = False) -> builtins.dict[str, Any]:
        names = [*type(self).model_fields, *(self.__pydantic_extra__ or {})]
        return {
            name: describe(getattr(self, name), name, digest=digest)
            for name in names
            if name not in _BASE_FIELDS
        }

    def _params(self) -> builtins.dict[str, Any]:
        if type(self).dict is llms.BaseLLM.dict:
            return self.asdict()
        # The author overrides the method that asdict has replaced.
        return cast("builtins.dict[str, Any]", redact(core.legacy_dict(self)))

    @model_validator(mode="before")
    @classmethod
    def _langchain_wrap_check_class_and_names(cls, values: Any) -> Any:
        if not cls._implements_something():
            raise TypeError(
                f"{cls.__name__} implements none of the methods that a custom LLM can be made "
                f"of; write one of {', '.join(METHODS)}"
            )
        if not isinstance(values, dict) or cls.model_config.get("extra") != "forbid":
            return values
        known = set(cls.model_fields)
        for field in cls.model_fields.values():
            known.update(_aliases(field))
        for name in values:
            if name not in known:
                raise ValueError(
                    f"{cls.__name__} has no field {name!r}.{did_you_mean(name, known)} "
                    f"Its fields: {', '.join(sorted(set(cls.model_fields) - _CORE_FIELDS))}"
                )
        return values

    @field_validator("stop", mode="before", check_fields=False)
    @classmethod
    def _langchain_wrap_check_stop(cls, value: Any) -> Any:
        if value is None or cls.model_fields["stop"].annotation is str:
            return value
        return merge_stops(value, None)

    @field_validator("timeout", mode="after", check_fields=False)
    @classmethod
    def _langchain_wrap_check_timeout(cls, value: Any) -> Any:
        Timeout.of(value)
        return value

    @model_validator(mode="after")
    def _langchain_wrap_set_version(self) -> Self:
        core.add_version(self, "langchain-wrap", __version__)
        return self

    @classmethod
    def _implements_something(cls) -> bool:
        return bool(_implemented_by(cls))


_BASE_FIELDS = frozenset(Contract.model_fields)
_CORE_FIELDS = frozenset(llms.LLM.model_fields)


@lru_cache(maxsize=1024)
def _implemented_by(cls: type[Contract]) -> frozenset[str]:
    return frozenset(
        name for name in METHODS if getattr(cls, name, None) is not getattr(Contract, name, None)
    )


def _is_excluded(cls: type[Contract], name: str) -> bool:
    field = cls.model_fields.get(name)
    return field is not None and bool(field.exclude)


def _aliases(field: FieldInfo) -> Iterator[str]:
    for alias in (field.alias, field.validation_alias):
        if isinstance(alias, str):
            yield alias
        elif isinstance(alias, AliasChoices):
            yield from (_first(choice) for choice in alias.choices)
        elif isinstance(alias, AliasPath):
            yield _first(alias)


def _first(alias: str | AliasPath) -> str:
    return alias if isinstance(alias, str) else str(alias.path[0])
