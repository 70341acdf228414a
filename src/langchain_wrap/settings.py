"""Settings: what every model of this package declares, and how it is known, shown and copied."""

from __future__ import annotations

import builtins
from collections.abc import Callable, Iterator, Mapping
from typing import Any, ClassVar, Self, cast

from pydantic import (
    AliasChoices,
    AliasPath,
    BaseModel,
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
from langchain_wrap.pipeline.secrets import is_secret, redact
from langchain_wrap.pipeline.source import calling
from langchain_wrap.pipeline.stop import merge_stops
from langchain_wrap.pipeline.timeout import Timeout
from langchain_wrap.pipeline.travel import pack, share, unpack


class Settings(BaseModel):
    """The fields that `LLM` and `ChatModel` have in common, and what follows from fields."""

    # Errors must not show inputs: an input may be a key under a misspelled name.
    model_config = ConfigDict(
        arbitrary_types_allowed=True, extra="forbid", hide_input_in_errors=True
    )

    _general: ClassVar[frozenset[str]] = frozenset()
    """The fields that every model of the kind has: they do not tell one from another."""

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

    timeout: float | Timeout | None = None
    """Seconds for a whole call, or a `Timeout`; passing it raises `ModelTimeoutError`."""

    max_retries: int = Field(default=0, ge=0)
    """How often to try again after a retryable error, before the first token only."""

    _wrap_live: Live = PrivateAttr(default_factory=Live)

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
        json = cast("Any", super()).to_json()
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

    def _method(self, name: str) -> Callable[..., Any]:
        """Return the author's method of that name."""
        return cast("Callable[..., Any]", getattr(self, name))

    def _label(self, name: str) -> str:
        """Return what an error message calls that method."""
        return f"{type(self).__name__}.{name}()"

    @property
    def _names_itself(self) -> bool:
        return type(self)._identifying_params is not Settings._identifying_params

    def _described_fields(self, *, digest: bool = False) -> builtins.dict[str, Any]:
        names = [*type(self).model_fields, *(self.__pydantic_extra__ or {})]
        return {
            name: describe(getattr(self, name), name, digest=digest)
            for name in names
            if name not in self._general
        }

    @model_validator(mode="before")
    @classmethod
    def _langchain_wrap_check_class_and_names(cls, values: Any) -> Any:
        cls._check_class()
        if not isinstance(values, dict) or cls.model_config.get("extra") != "forbid":
            return values
        known = set(cls.model_fields)
        for field in cls.model_fields.values():
            known.update(_aliases(field))
        for name in values:
            if name not in known:
                raise ValueError(
                    f"{cls.__name__} has no field {name!r}.{did_you_mean(name, known)} "
                    f"Its fields: {', '.join(sorted(set(cls.model_fields) - _of_core(cls)))}"
                )
        return values

    @classmethod
    def _check_class(cls) -> None:
        """Refuse a class that implements nothing that a model can be made of.

        Raises:
            TypeError: The message says what to write.
        """

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


def _is_excluded(cls: type[BaseModel], name: str) -> bool:
    field = cls.model_fields.get(name)
    return field is not None and bool(field.exclude)


def _of_core(cls: type[BaseModel]) -> set[str]:
    """Return the fields that a class has from langchain-core."""
    bases = [base for base in cls.__mro__ if base.__module__.startswith("langchain_core.")]
    return {n for base in bases if issubclass(base, BaseModel) for n in base.model_fields}


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
