"""`as_chat()`: a chat model made of an LLM, by a template or by the LLM's own chat."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, cast

from langchain_core.language_models.base import LangSmithParams
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from pydantic import Field, field_validator, model_validator

from langchain_wrap.chat import history
from langchain_wrap.chat.call import Attempt, Call
from langchain_wrap.chat.history import MEDIA
from langchain_wrap.chat.model import ChatModel
from langchain_wrap.chat.prompt import Prompt, prompt_of, template_named
from langchain_wrap.chat.template import ChatTemplate
from langchain_wrap.contract import Contract
from langchain_wrap.pipeline.identity import describe
from langchain_wrap.pipeline.requests import Requests, secrets_of
from langchain_wrap.pipeline.shell import SyncShell

_OF_THE_LLM = (
    "concurrency",
    "max_queued",
    "timeout",
    "max_retries",
    "rate_limiter",
    "include_stop",
)
_SHARED = ("cache", "verbose", "callbacks", "tags", "metadata", "name", "custom_get_token_ids")


class LLMChat(ChatModel):
    """A chat model made of an LLM; `llm.as_chat()` makes it.

    Example:
        ```python
        from langchain_wrap import wrap

        chat = wrap(lambda prompt: prompt.upper(), name="shout").as_chat()
        chat.invoke("hello").text
        ```
    """

    llm: Any
    """The LLM. Its limits hold for the chat too: they count together."""

    template: Any = None
    """How messages become a prompt: a family (`chatml`, `llama3`, `mistral`, `gemma`, `phi`,
    `plain`), a Jinja text, or a `ChatTemplate`. None: the LLM's own chat, else its own template,
    else `plain`."""

    template_parameters: dict[str, Any] = Field(default_factory=dict)
    """Variables for the template, such as `{"enable_thinking": False}`."""

    @classmethod
    def of(cls, llm: Contract, fields: Mapping[str, Any]) -> LLMChat:
        """Return the chat model of an LLM; callbacks, cache and the like are those of the LLM."""
        shared = {name: getattr(llm, name) for name in _SHARED}
        return cls(llm=llm, **{**{k: v for k, v in shared.items() if v is not None}, **fields})

    @property
    def _llm_type(self) -> str:
        return f"{self.llm._llm_type}-chat"

    @property
    def _identifying_params(self) -> Mapping[str, Any]:
        return {**self.llm._identifying_params, **super()._identifying_params}

    def _identity(self) -> dict[str, Any]:
        llm = self.llm
        kind = f"{type(llm).__module__}.{type(llm).__qualname__}"
        fields = llm._described_fields(digest=True)
        return {**super()._identity(), "llm": [kind, describe(llm._params()), fields]}

    @property
    def _model_name(self) -> str:
        found = self.llm._params().get("model_name")
        return found if isinstance(found, str) else self.llm.get_name()

    @property
    def _takes(self) -> Collection[str]:
        # A native chat of the LLM's refuses by itself what it does not take.
        return MEDIA if self._is_native else ()

    @property
    def _is_native(self) -> bool:
        return self.template is None and bool(self.llm._chats_natively)

    def _attempt(self, call: Call, messages: list[BaseMessage]) -> Attempt:
        if self._is_native:
            return self._native(self.llm, call, messages)
        prompt = self._prompt(call, messages)
        requests = Requests(
            self.llm,
            call.shell,
            stop=[*(call.stop or ()), *prompt.stops],
            parameters={**call.parameters, **prompt.parameters},
            member=call.member,
        )
        generation, cancel = self._begin(requests, call, prompt.text)
        tags = self.reasoning_tags
        held = bool(prompt.parameters)  # and so it cannot think first, whatever the prompt opens
        return Attempt(
            generation=generation,
            cancel=cancel,
            parser=self._parser(
                prompt.format.parser(call.tools),
                inside=tags is not None and not held and prompt.text.rstrip().endswith(tags[0]),
            ),
            before=prompt.before,
            after=prompt.after,
            certain=prompt.certain,
            count=self._counter(prompt.text),
        )

    def _prompt(self, call: Call, messages: list[BaseMessage]) -> Prompt:
        template = self._template()
        return prompt_of(
            messages,
            template,
            self._tool_format(template),
            tools=call.tools,
            json_schema=call.json_schema,
            hold=self.llm._schema_parameters,
            variables=self.template_parameters,
        )

    def _template(self) -> ChatTemplate:
        if isinstance(self.template, ChatTemplate):
            return self.template
        own = None if self.template is not None else self.llm._chat_template()
        special = tuple(self.llm._special_tokens().items())
        return template_named(self.template or own or "plain", special)

    def _counter(self, prompt: str) -> Any:
        """Return what counts tokens by the LLM's own tokenizer; None where it has none."""
        llm = self.llm
        if llm.custom_get_token_ids is None and not llm._has_tokenizer:
            return None

        def count(text: str) -> dict[str, int]:
            return {
                "prompt_tokens": len(llm.get_token_ids(prompt)),
                "completion_tokens": len(llm.get_token_ids(text)),
            }

        return count

    def get_token_ids(self, text: str) -> list[int]:
        """Return the LLM's own token ids of `text`.

        Raises:
            NotImplementedError: The LLM cannot count tokens.
        """
        return cast("list[int]", self.llm.get_token_ids(text))

    def get_num_tokens_from_messages(
        self, messages: list[BaseMessage], tools: Sequence[Any] | None = None
    ) -> int:
        """Return how many tokens messages are as a prompt, by the LLM's own template and tokenizer.

        Messages that are no conversation by themselves are counted one by one and added up: parts
        of one, and these back to front, are what `trim_messages` asks for.

        Raises:
            NotImplementedError: The LLM cannot count tokens.
            ValueError: A message holds an image or something else that is no text.
        """
        if self._is_native:
            return super().get_num_tokens_from_messages(messages, tools)
        if not messages:
            return 0
        try:
            return self._count(messages, tools)
        except ValueError:
            return self._count_parts(history.checked(messages, parts=True), tools)

    def _count(self, messages: list[BaseMessage], tools: Sequence[Any] | None) -> int:
        call = self._call(SyncShell(), messages, {"tools": tools or ()})
        return len(self.get_token_ids(self._prompt(call, call.messages).text))

    def _count_parts(self, parts: list[BaseMessage], tools: Sequence[Any] | None) -> int:
        user = HumanMessage("")
        around = self._count([user], tools)
        per_message = (self._count([user, AIMessage(""), user], tools) - around + 1) // 2
        texts = [str(part.text) for part in parts]
        for part in parts:
            calls = history.calls_of(part) if isinstance(part, AIMessage) else ()
            texts.extend(json.dumps([c["name"], c["args"]], default=str) for c in calls)
        return (
            around + per_message * (len(parts) - 1) + sum(len(self.get_token_ids(t)) for t in texts)
        )

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> LangSmithParams:
        params = super()._get_ls_params(stop=stop, **kwargs)
        of_llm = self.llm._get_ls_params(stop=stop, **kwargs)
        known = {name: value for name, value in of_llm.items() if name != "ls_model_name"}
        return cast("LangSmithParams", {**params, **known, "ls_model_type": "chat"})

    def _secrets(self, parameters: Mapping[str, Any]) -> Iterator[str]:
        yield from super()._secrets(parameters)
        yield from secrets_of(self.llm, {})

    @classmethod
    def _check_class(cls) -> None:
        """It needs no `_chat`: it has an LLM."""

    @model_validator(mode="before")
    @classmethod
    def _check_limits(cls, values: Any) -> Any:
        for name in _OF_THE_LLM if isinstance(values, dict) else ():
            # LangChain makes configured copies with all fields, these as they were.
            if name in values and values[name] != cls.model_fields[name].default:
                raise ValueError(f"{name} is a field of the LLM: set it there, before as_chat()")
        if isinstance(values, dict) and values.get("takes"):
            raise ValueError(
                "takes is for a `_chat` of your own; a template has text only, and an HTTPEndpoint "
                'is told by chat={"takes": ("text", "image")}'
            )
        return values

    @field_validator("llm")
    @classmethod
    def _check_llm(cls, value: Any) -> Any:
        if not isinstance(value, Contract):
            raise ValueError(f"llm must be a langchain_wrap.LLM, not {type(value).__name__}")
        return value

    @field_validator("template")
    @classmethod
    def _check_template(cls, value: Any) -> Any:
        if value is not None:
            ChatTemplate.of(value)
        return value


# The LLM tells of itself, and is not described as a field.
LLMChat._general = (ChatModel._general | {"llm"}) - {"takes"}
