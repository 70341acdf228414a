"""`ChatModel`: the base class of a custom chat model, and what `as_chat()` gives."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Literal, cast

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel
from langchain_core.language_models.base import LangSmithParams, LanguageModelInput
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable, RunnableConfig
from pydantic import Field, field_validator

from langchain_wrap.chat import history, structured
from langchain_wrap.chat.call import Attempt, Call
from langchain_wrap.chat.call_parser import TextParser
from langchain_wrap.chat.crew import Crew, turns
from langchain_wrap.chat.formats import FORMATS, format_of
from langchain_wrap.chat.formats.base import ToolFormat
from langchain_wrap.chat.handing import handed
from langchain_wrap.chat.native import NativeRequests
from langchain_wrap.chat.pieces import Parser
from langchain_wrap.chat.reasoning import ReasoningParser
from langchain_wrap.chat.template import ChatTemplate
from langchain_wrap.chat.tools import Tools
from langchain_wrap.chat.turn import Turn
from langchain_wrap.errors import did_you_mean
from langchain_wrap.pipeline.generation import Generation
from langchain_wrap.pipeline.identity import canonical, describe
from langchain_wrap.pipeline.requests import Requests, secrets_of
from langchain_wrap.pipeline.run import silent
from langchain_wrap.pipeline.secrets import redact, seal, unseal
from langchain_wrap.pipeline.shell import AsyncShell, Shell, SyncShell
from langchain_wrap.pipeline.signature import does
from langchain_wrap.pipeline.stop import merge_stops
from langchain_wrap.pipeline.unit import Member
from langchain_wrap.pipeline.waiter import run_sync
from langchain_wrap.settings import Settings

_TRACING = ("ls_structured_output_format", "structured_output_format", "stream")
"""Parameters of a call that are not for the model."""


class ChatModel(Settings, BaseChatModel):
    """A custom chat model: write `_chat`; the rest is derived from it.

    `_chat(messages, stop, tools, tool_choice, json_schema, cancel, run_manager, **params)` is given
    what its signature names of these: the messages; the stops of the call (they are enforced
    whatever it does); the tools as OpenAI-style dicts, `tool_choice` (`"auto"`, `"any"`, `"none"`
    or a name) and `json_schema`, where the model knows such things itself; a `CancelToken`. What it
    does not name, tools and schemas, is told to the model in words and read from its text. It is a
    function, coroutine function, generator function or async generator function, and gives `str`,
    `AIMessage` or `AIMessageChunk`.

    Example:
        ```python
        from langchain_wrap import ChatModel

        class Shout(ChatModel):
            def _chat(self, messages):
                for word in messages[-1].text.split():
                    yield word.upper() + " "

        Shout().invoke("hello world").text  # 'HELLO WORLD '
        ```

    Raises:
        TypeError: The class has no `_chat`.
        pydantic.ValidationError: A field is unknown or has a wrong value.
    """

    model_config = Settings.model_config  # langchain-core's would win, as that of the last base

    streaming: bool | None = None
    """Whether `invoke` streams, for handlers that want tokens; False: nothing does, not even
    `stream`. None: what is asked for."""

    tools: Sequence[Any] = ()
    """Tools that are offered in every call, besides those of `bind_tools`."""

    tool_format: str | None = None
    """How a model without tools of its own writes its calls: `hermes`, `llama3`, `mistral` or
    `json`. None: as its chat template says."""

    reasoning_tags: tuple[str, str] | None = ("<think>", "</think>")
    """What stands around the reasoning at the beginning of an answer; None: nothing does."""

    takes: tuple[Literal["image", "audio", "video", "file"], ...] = ()
    """What `_chat` takes besides text; all else that is no text is refused."""

    max_repairs: int = Field(default=2, ge=0)
    """How often a required tool call that is missing or wrong is asked for again.

    Where the model is held to a schema, that is never needed. Where it may be, the answer to a
    required call goes out when it is right, not while it arrives.
    """

    # --- langchain-core's four methods ---

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        turn = self._turn(SyncShell(), messages, stop, run_manager, kwargs, streamed=False)
        try:
            return _result(run_sync(turn.message()))
        finally:
            run_sync(turn.close())

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        turn = self._turn(AsyncShell(), messages, stop, run_manager, kwargs, streamed=False)
        try:
            return _result(await turn.message())
        finally:
            await turn.close()

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        turn = self._turn(SyncShell(), messages, stop, run_manager, kwargs, streamed=True)
        try:
            while (chunk := run_sync(turn.next())) is not None:
                yield chunk
        finally:
            run_sync(turn.close())

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        turn = self._turn(AsyncShell(), messages, stop, run_manager, kwargs, streamed=True)
        try:
            while (chunk := await turn.next()) is not None:
                yield chunk
        finally:
            await turn.close()

    # --- the paths by which it is called, where langchain-core's do not keep our promises ---

    def stream(
        self,
        input: LanguageModelInput,
        config: RunnableConfig | None = None,
        *,
        stop: list[str] | None = None,
        **kwargs: Any,
    ) -> Iterator[AIMessageChunk]:
        """Yield an answer chunk by chunk; leaving early closes the model and ends the run."""
        chunks = super().stream(input, config, stop=stop, **kwargs)
        with turns.collected() as seen:
            chunk = next(chunks, None)  # langchain-core begins the turn in its first step
        try:
            while chunk is not None:
                yield chunk
                chunk = next(chunks, None)
        except GeneratorExit:
            for turn in seen:
                run_sync(turn.leave())
            for _ in chunks:  # so that langchain-core ends the run, and not as an error
                pass

    async def astream(
        self,
        input: LanguageModelInput,
        config: RunnableConfig | None = None,
        *,
        stop: list[str] | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[AIMessageChunk]:
        """Yield an answer chunk by chunk; see `stream`."""
        chunks = super().astream(input, config, stop=stop, **kwargs)
        with turns.collected() as seen:
            chunk = await anext(chunks, None)
        try:
            while chunk is not None:
                yield chunk
                chunk = await anext(chunks, None)
        except GeneratorExit:
            for turn in seen:
                await turn.leave()
            async for _ in chunks:
                pass

    def batch(
        self,
        inputs: list[LanguageModelInput],
        config: RunnableConfig | list[RunnableConfig] | None = None,
        *,
        return_exceptions: bool = False,
        **kwargs: Any | None,
    ) -> list[AIMessage]:
        """Answer inputs side by side; answers in order.

        At most `max_concurrency` of the config run at once, else 64. With `return_exceptions`, an
        error stands in the place of its input; without, the first is raised after what was running
        has been ended.
        """
        crew = Crew(SyncShell(), inputs, config, keep_errors=return_exceptions)
        return run_sync(crew.work(lambda one, each: self.invoke(one, each, **kwargs)))

    async def abatch(
        self,
        inputs: list[LanguageModelInput],
        config: RunnableConfig | list[RunnableConfig] | None = None,
        *,
        return_exceptions: bool = False,
        **kwargs: Any | None,
    ) -> list[AIMessage]:
        """Answer inputs side by side; see `batch`."""
        crew = Crew(AsyncShell(), inputs, config, keep_errors=return_exceptions)
        return await crew.work(lambda one, each: self.ainvoke(one, each, **kwargs))

    # --- tools and schemas ---

    def bind(self, **kwargs: Any) -> Any:
        """Bind parameters to the model; keys among them do not show in the binding's repr."""
        return super().bind(**{name: seal(value, name) for name, value in kwargs.items()})

    def bind_tools(
        self,
        tools: Sequence[Any],
        *,
        tool_choice: Any = None,
        strict: bool | None = None,
        parallel_tool_calls: bool | None = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, AIMessage]:
        """Offer tools to the model.

        Args:
            tools: Functions, pydantic or TypedDict classes, JSON schemas, OpenAI-style dicts, or
                LangChain tools.
            tool_choice: `"auto"` (None), `"any"` (`"required"`, True), `"none"` (False), or the
                name of the tool that has to be called.
            strict: Whether arguments must follow the schema exactly.
            parallel_tool_calls: Whether an answer may have several calls; None: it may.
            **kwargs: Further parameters of each call.

        Raises:
            TypeError: Something is no tool.
            ValueError: Two tools have one name, a schema cannot be used, or the choice names none.
        """
        offered = Tools.of(
            [*self.tools, *tools], tool_choice, strict=strict,
            parallel_tool_calls=parallel_tool_calls,
        )  # fmt: skip
        given: dict[str, Any] = {}
        if tool_choice is not None:
            given["tool_choice"] = offered.chosen or offered.choice
        if strict is not None:
            given["strict"] = strict
        if parallel_tool_calls is not None:
            given["parallel_tool_calls"] = parallel_tool_calls
        return cast(
            "Runnable[LanguageModelInput, AIMessage]",
            self.bind(tools=offered.bound[len(Tools.of(self.tools).specs) :], **given, **kwargs),
        )

    def with_structured_output(
        self,
        schema: Any,
        *,
        method: str = "json_schema",
        include_raw: bool = False,
        strict: bool | None = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, Any]:
        """Have answers given as objects; the arguments are those of langchain-core's method.

        Args:
            schema: A pydantic, TypedDict or dataclass class, a JSON schema, or an OpenAI-style
                function.
            method: `"json_schema"` (the answer's text is the object: the model is held to the
                schema where that is possible), `"function_calling"`, or `"json_mode"` (any JSON
                object; the prompt has to say which).
            include_raw: Whether to return `{"raw", "parsed", "parsing_error"}` instead.
            strict: Whether arguments must follow the schema exactly.
            **kwargs: Further parameters of each call.

        Raises:
            ValueError: The method is unknown, or the schema cannot be used.
        """
        return structured.structured(
            self, schema, method=method, include_raw=include_raw, strict=strict, **kwargs
        )

    def _tokenize(self, text: str) -> list[int]:
        """Return the model's own token ids for `text`; optional."""
        raise NotImplementedError(
            f"{type(self).__name__} cannot count tokens: implement "
            "`_tokenize(self, text: str) -> list[int]` with the model's own tokenizer, or pass "
            "`custom_get_token_ids=...`"
        )

    def get_token_ids(self, text: str) -> list[int]:
        """Return the token ids of `text`, by `custom_get_token_ids` or `_tokenize`.

        Raises:
            NotImplementedError: The model has neither; langchain-core would take GPT-2's.
        """
        if self.custom_get_token_ids is not None:
            return self.custom_get_token_ids(text)
        return self._tokenize(text)

    # --- how an answer is made ---

    def _turn(
        self,
        shell: Shell,
        messages: list[BaseMessage],
        stop: list[str] | None,
        run_manager: Any,
        kwargs: dict[str, Any],
        *,
        streamed: bool,
    ) -> Turn:
        call = self._call(shell, messages, kwargs, stop, run_manager, streamed=streamed)
        turn = Turn(
            call,
            partial(self._attempt, call),
            repairs=self.max_repairs,
            name=lambda: self._model_name,
            secrets=partial(self._secrets, call.parameters),
        )
        turns.note(turn)
        return turn

    def _call(
        self,
        shell: Shell,
        messages: list[BaseMessage],
        kwargs: Mapping[str, Any],
        stop: list[str] | None = None,
        run_manager: Any = None,
        *,
        streamed: bool = False,
    ) -> Call:
        """Return what is asked, of what langchain-core's methods are given.

        Raises:
            TypeError, ValueError: A message, tool, schema or stop cannot be used.
        """
        parameters = {name: value for name, value in kwargs.items() if name not in _TRACING}
        tools = Tools.of(
            [*self.tools, *(parameters.pop("tools", None) or ())],
            parameters.pop("tool_choice", None),
            strict=parameters.pop("strict", None),
            parallel_tool_calls=parameters.pop("parallel_tool_calls", None),
        )
        return Call(
            messages=history.checked(messages, takes=self._takes),
            tools=tools,
            shell=shell,
            streamed=streamed,
            stop=merge_stops(self.stop, stop),
            json_schema=structured.taken(parameters),
            parameters=parameters,
            run_manager=partial(_silent, run_manager),
            member=Member.take(),
            on_retry=getattr(run_manager, "on_retry", None),
        )

    def _attempt(self, call: Call, messages: list[BaseMessage]) -> Attempt:
        """Return one way of the messages through the model."""
        return self._native(self, call, messages)

    def _native(self, model: Any, call: Call, messages: list[BaseMessage]) -> Attempt:
        """Return an attempt by the `_chat` of a model."""
        given = handed(call, messages, self._tool_format(), model._chat_does)
        requests = NativeRequests(model, call.shell, stop=call.stop, parameters=given.parameters)
        generation, cancel = self._begin(requests, call, given.messages)
        return Attempt(
            generation=generation,
            cancel=cancel,
            parser=self._parser(given.parser),
            certain=given.certain,
        )

    @property
    def _chat_does(self) -> frozenset[str]:
        return does(self)

    def _begin(
        self, requests: Requests, call: Call, prompt: Any
    ) -> tuple[Generation, Callable[[], None]]:
        request = requests.request(prompt, streamed=call.streamed)
        request.run_manager = partial(call.run_manager, request.method.is_async)
        request.on_retry = call.on_retry
        return Generation(request, call.shell), request.cancel.cancel

    def _parser(self, inner: Parser | None, *, inside: bool = False) -> Parser:
        """Return what reads an answer; `inside` where the prompt has begun the reasoning."""
        if self.reasoning_tags is None:
            return inner or TextParser()
        return ReasoningParser(self.reasoning_tags, inside, inner)

    def _tool_format(self, template: ChatTemplate | None = None) -> ToolFormat:
        """Return how a model without tools of its own writes its calls."""
        if self.tool_format is None and template is not None:
            return format_of(template.source)
        return FORMATS[self.tool_format or "json"]

    # --- identity ---

    def _get_llm_string(self, stop: list[str] | None = None, **kwargs: Any) -> str:
        """Return the key under which answers are cached; secrets count by their digests."""
        asked = {"stop": merge_stops(self.stop, stop), "call": describe(kwargs, digest=True)}
        return canonical({**self._identity(), **asked})

    def _identity(self) -> dict[str, Any]:
        """Return what tells answers of this model from those of another, as JSON values."""
        return {
            "class": f"{type(self).__module__}.{type(self).__qualname__}",
            "params": describe(dict(self._identifying_params)),
            "fields": self._described_fields(digest=True),
        }

    def _get_invocation_params(
        self, stop: list[str] | None = None, **kwargs: Any
    ) -> dict[str, Any]:
        params = super()._get_invocation_params(stop=stop, **kwargs)
        return cast("dict[str, Any]", redact(params))

    def _secrets(self, parameters: Mapping[str, Any]) -> Iterator[str]:
        """Yield the texts that must not show in an error of a call with these parameters."""
        return secrets_of(self, {name: unseal(value) for name, value in parameters.items()})

    @field_validator("tool_format")
    @classmethod
    def _check_format(cls, value: str | None) -> str | None:
        if value is not None and value not in FORMATS:
            raise ValueError(
                f"tool_format={value!r} is none of {', '.join(FORMATS)}."
                f"{did_you_mean(value, FORMATS)}"
            )
        return value

    @property
    def _takes(self) -> Collection[str]:
        return self.takes

    @property
    def _model_name(self) -> str:
        """What the model is called in answers and traces."""
        params = self._identifying_params
        found = params.get("model_name") or params.get("model") or self.name
        return found if isinstance(found, str) else type(self).__name__

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> LangSmithParams:
        params = super()._get_ls_params(stop=stop, **kwargs)
        asked = kwargs.get("model")  # a call may name another
        name = asked if isinstance(asked, str) else self._model_name
        return cast("LangSmithParams", {**params, "ls_model_name": name})

    @property
    def max_batch_size(self) -> None:
        """None: `_chat` answers one conversation at a time."""

    @property
    def _implemented(self) -> frozenset[str]:
        return frozenset({"_chat"})

    @classmethod
    def _check_class(cls) -> None:
        if not callable(getattr(cls, "_chat", None)):
            raise TypeError(
                f"{cls.__name__} has no `_chat(self, messages)`: write it, as a function, "
                "coroutine function, generator function or async generator function"
            )


ChatModel._general = frozenset(ChatModel.model_fields) - {
    "tools",
    "tool_format",
    "reasoning_tags",
    "takes",
}


def _silent(manager: Any, is_async: bool) -> Any:
    return None if manager is None else silent(manager, is_async=is_async)


def _result(message: AIMessage) -> ChatResult:
    return ChatResult(generations=[ChatGeneration(message=message)])
