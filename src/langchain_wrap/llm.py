"""`LLM`: the base class of a custom model; change one import and every path is right."""

from __future__ import annotations

import builtins
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from functools import lru_cache
from typing import Any, Self, cast

from langchain_core.language_models import llms
from langchain_core.language_models.base import LanguageModelInput
from langchain_core.outputs import GenerationChunk, LLMResult, RunInfo
from langchain_core.rate_limiters import BaseRateLimiter
from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import ensure_config
from pydantic import (
    AliasChoices,
    ConfigDict,
    Field,
    PrivateAttr,
    field_validator,
    model_validator,
)
from pydantic.fields import FieldInfo

from langchain_wrap._version import __version__
from langchain_wrap.errors import did_you_mean
from langchain_wrap.pipeline.facts import add_usage
from langchain_wrap.pipeline.identity import describe
from langchain_wrap.pipeline.live import Live
from langchain_wrap.pipeline.plan import Listener, Plan
from langchain_wrap.pipeline.reader import GRACE
from langchain_wrap.pipeline.run import Outcome
from langchain_wrap.pipeline.secrets import MASK, redact
from langchain_wrap.pipeline.shell import AsyncShell, Shell, SyncShell
from langchain_wrap.pipeline.source import METHODS
from langchain_wrap.pipeline.stop import merge_stops
from langchain_wrap.pipeline.timeout import Timeout
from langchain_wrap.pipeline.waiter import run_sync


class LLM(llms.LLM):
    r"""A custom LLM: implement one method, whichever fits the model; the rest is derived from it.

    | method | kind of model |
    | --- | --- |
    | `_call(prompt, stop, run_manager, **kwargs) -> str` | blocking function |
    | `_acall(...)` | coroutine |
    | `_stream(...) -> Iterator[GenerationChunk \| str]` | blocking generator |
    | `_astream(...) -> AsyncIterator[GenerationChunk \| str]` | async generator |
    | `_batch(prompts, stop, **kwargs) -> list[str]` | faster on many prompts at once |
    | `_abatch(...)` | the same as a coroutine |

    Besides the prompt, a method is given what its signature names of `stop` (list of strings or
    None), `run_manager` and `cancel` (a `CancelToken`), and the parameters of the call. Stops are
    enforced, and tokens reported to callbacks, whatever the method does about them itself.

    It is a subclass of langchain-core's `LLM`, so a class written for that one works unchanged:
    https://python.langchain.com/api_reference/core/language_models/langchain_core.language_models.llms.LLM.html

    Example:
        ```python
        from langchain_wrap import LLM

        class Shout(LLM):
            def _stream(self, prompt):
                for word in prompt.split():
                    yield word.upper() + " "

        Shout().invoke("hello world")  # 'HELLO WORLD '
        ```

    Raises:
        TypeError: The class implements none of the methods.
        pydantic.ValidationError: A field is unknown or has a wrong value.
    """

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

    # --- what an author writes ---------------------------------------------------------------

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
        own = {
            name: value
            for name, value in self._described_fields().items()
            if not (_is_excluded(type(self), name) or _is_secret(getattr(self, name), name))
        }
        return {**own, "stop": list(self.stop)} if self.stop else own

    # --- Runnable: the paths by which a model is called ---------------------------------------

    def generate(
        self,
        prompts: list[str],
        stop: list[str] | None = None,
        callbacks: Any = None,
        *,
        tags: Any = None,
        metadata: Any = None,
        run_name: Any = None,
        run_id: Any = None,
        **kwargs: Any,
    ) -> LLMResult:
        """Complete prompts side by side; the arguments are those of langchain-core's method.

        Raises:
            Exception: The first error, after what was running has been ended.
        """
        listeners = _listeners(prompts, callbacks, run_id, tags, metadata, run_name)
        plan = Plan(self, SyncShell(), stop=stop, parameters=kwargs)
        return _result(run_sync(plan.complete(prompts, listeners)))

    async def agenerate(
        self,
        prompts: list[str],
        stop: list[str] | None = None,
        callbacks: Any = None,
        *,
        tags: Any = None,
        metadata: Any = None,
        run_name: Any = None,
        run_id: Any = None,
        **kwargs: Any,
    ) -> LLMResult:
        """Complete prompts side by side; see `generate`."""
        listeners = _listeners(prompts, callbacks, run_id, tags, metadata, run_name)
        plan = Plan(self, AsyncShell(), stop=stop, parameters=kwargs)
        return _result(await plan.complete(prompts, listeners))

    def batch(
        self,
        inputs: list[LanguageModelInput],
        config: RunnableConfig | list[RunnableConfig] | None = None,
        *,
        return_exceptions: bool = False,
        **kwargs: Any,
    ) -> list[str]:
        """Complete inputs side by side; texts in order.

        At most `max_concurrency` of the config run at once, else `concurrency`, else 64. With
        `return_exceptions`, an error stands in the place of its input; without, the first is
        raised after what was running has been ended.
        """
        batch = _Batch(self, SyncShell(), inputs, config, return_exceptions, kwargs)
        return batch.texts(run_sync(batch.complete()))

    async def abatch(
        self,
        inputs: list[LanguageModelInput],
        config: RunnableConfig | list[RunnableConfig] | None = None,
        *,
        return_exceptions: bool = False,
        **kwargs: Any,
    ) -> list[str]:
        """Complete inputs side by side; see `batch`."""
        batch = _Batch(self, AsyncShell(), inputs, config, return_exceptions, kwargs)
        return batch.texts(await batch.complete())

    def stream(
        self,
        input: LanguageModelInput,
        config: RunnableConfig | None = None,
        *,
        stop: list[str] | None = None,
        **kwargs: Any,
    ) -> Iterator[str]:
        """Yield a completion piece by piece; leaving early closes the model."""
        plan = Plan(self, SyncShell(), stop=stop, parameters=kwargs, streamed=True)
        run = plan.run(self._convert_input(input).to_string(), Listener.of(ensure_config(config)))
        run_sync(run.start())
        try:
            while (chunk := run_sync(run.next())) is not None:
                yield chunk.text
        finally:
            run_sync(run.close())
            plan.settle()

    async def astream(
        self,
        input: LanguageModelInput,
        config: RunnableConfig | None = None,
        *,
        stop: list[str] | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[str]:
        """Yield a completion piece by piece; see `stream`."""
        plan = Plan(self, AsyncShell(), stop=stop, parameters=kwargs, streamed=True)
        run = plan.run(self._convert_input(input).to_string(), Listener.of(ensure_config(config)))
        await run.start()
        try:
            while (chunk := await run.next()) is not None:
                yield chunk.text
        finally:
            await run.close()
            plan.settle()

    # --- tokens ---------------------------------------------------------------------------------

    def get_token_ids(self, text: str) -> list[int]:
        """Return the token ids of `text`, by `custom_get_token_ids` or `_tokenize`.

        Raises:
            NotImplementedError: The model has neither; nothing is downloaded or estimated.
        """
        if self.custom_get_token_ids is not None:
            return self.custom_get_token_ids(text)
        return self._tokenize(text)

    # --- identity, printing, copies --------------------------------------------------------------

    @property
    def abandoned_calls(self) -> int:
        """How many blocking calls still run although their caller has gone.

        They could not be stopped, and keep their places under `concurrency` until they end.
        """
        return self._wrap_live.abandoned

    def asdict(self) -> builtins.dict[str, Any]:
        """Return the identifying parameters and the type, without secrets."""
        return cast(
            "builtins.dict[str, Any]",
            redact({**self._identifying_params, "_type": self._llm_type}),
        )

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
        self.__dict__.pop("_serialized", None)  # langchain-core keeps it from the first call on

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
        return type(self)._identifying_params is not LLM._identifying_params

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
        return self._dict_for_compat()  # the author overrides the method that asdict replaced

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
        return None if value is None else merge_stops(value, None)

    @field_validator("timeout", mode="after", check_fields=False)
    @classmethod
    def _langchain_wrap_check_timeout(cls, value: Any) -> Any:
        Timeout.of(value)
        return value

    @model_validator(mode="after")
    def _langchain_wrap_set_version(self) -> Self:
        add_version = getattr(self, "_add_version", None)
        if add_version is not None:
            add_version("langchain-wrap", __version__)
        return self

    @classmethod
    def _implements_something(cls) -> bool:
        return bool(_implemented_by(cls))


_BASE_FIELDS = frozenset(LLM.model_fields)
_CORE_FIELDS = frozenset(llms.LLM.model_fields)


@lru_cache(maxsize=1024)
def _implemented_by(cls: type[LLM]) -> frozenset[str]:
    return frozenset(
        name for name in METHODS if getattr(cls, name, None) is not getattr(LLM, name, None)
    )


def _is_excluded(cls: type[LLM], name: str) -> bool:
    field = cls.model_fields.get(name)
    return field is not None and bool(field.exclude)


def _is_secret(value: Any, name: str) -> bool:
    return value is not None and describe(value, name) == MASK


def _aliases(field: FieldInfo) -> Iterator[str]:
    for alias in (field.alias, field.validation_alias):
        if isinstance(alias, str):
            yield alias
        elif isinstance(alias, AliasChoices):
            yield from (choice for choice in alias.choices if isinstance(choice, str))


def _listeners(
    prompts: Any, callbacks: Any, run_id: Any, tags: Any, metadata: Any, run_name: Any
) -> list[Listener]:
    if not isinstance(prompts, list) or not all(isinstance(p, str) for p in prompts):
        raise ValueError(
            f"prompts must be a list of str, not {type(prompts).__name__}"
            if not isinstance(prompts, list)
            else "prompts must be a list of str, and holds something else"
        )
    return Listener.spread(
        len(prompts), callbacks, run_id, tags=tags, metadata=metadata, run_name=run_name
    )


def _result(outcomes: list[Outcome]) -> LLMResult:
    output: dict[str, Any] = {}
    for outcome in outcomes:
        if outcome.usage:
            add_usage(output.setdefault("token_usage", {}), outcome.usage)
        info = (outcome.generation and outcome.generation.generation_info) or {}
        if "model_name" in info:
            output["model_name"] = info["model_name"]
    return LLMResult(
        generations=[[outcome.generation] for outcome in outcomes if outcome.generation],
        llm_output=output,
        run=[RunInfo(run_id=outcome.run_id) for outcome in outcomes if outcome.run_id] or None,
    )


class _Batch:
    """The inputs of one `batch`; what is no prompt has its error already."""

    def __init__(
        self,
        llm: LLM,
        shell: Shell,
        inputs: list[LanguageModelInput],
        config: RunnableConfig | list[RunnableConfig] | None,
        keep_errors: bool,
        kwargs: dict[str, Any],
    ) -> None:
        self._keep_errors = keep_errors
        self._texts: list[Any] = [None] * len(inputs)
        self._plan = Plan(llm, shell, stop=kwargs.pop("stop", None), parameters=kwargs)
        listeners, self._limit = Listener.each(config, len(inputs))
        if self._limit is not None and self._limit < 1:
            raise ValueError(f"max_concurrency must be at least 1, not {self._limit}")
        self._prompts: dict[int, str] = {}
        self._listeners = []
        for index, (input_, listener) in enumerate(zip(inputs, listeners, strict=True)):
            try:
                self._prompts[index] = llm._convert_input(input_).to_string()
                self._listeners.append(listener)
            except Exception as error:
                if not keep_errors:
                    raise
                self._texts[index] = error

    async def complete(self) -> list[Outcome]:
        return await self._plan.complete(
            list(self._prompts.values()),
            self._listeners,
            limit=self._limit,
            keep_errors=self._keep_errors,
        )

    def texts(self, outcomes: list[Outcome]) -> list[str]:
        for index, outcome in zip(self._prompts, outcomes, strict=True):
            text = outcome.generation.text if outcome.generation is not None else ""
            self._texts[index] = text if outcome.error is None else outcome.error
        return self._texts
