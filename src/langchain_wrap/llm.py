"""`LLM`: the base class of a custom model; change one import and every path is right."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING, Any

from langchain_core.language_models.base import LanguageModelInput
from langchain_core.outputs import LLMResult
from langchain_core.runnables import Runnable, RunnableConfig
from langchain_core.runnables.config import ensure_config

from langchain_wrap.contract import Contract
from langchain_wrap.pipeline.core import prompt_of
from langchain_wrap.pipeline.inputs import Inputs
from langchain_wrap.pipeline.listener import Listener
from langchain_wrap.pipeline.plan import Plan
from langchain_wrap.pipeline.run import llm_result
from langchain_wrap.pipeline.secrets import seal
from langchain_wrap.pipeline.shell import AsyncShell, SyncShell
from langchain_wrap.pipeline.waiter import run_sync

if TYPE_CHECKING:
    from langchain_wrap.chat.model import ChatModel


class LLM(Contract):
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

    def bind(self, **kwargs: Any) -> Runnable[LanguageModelInput, str]:
        """Bind parameters to the model; keys among them do not show in the binding's repr."""
        return super().bind(**{name: seal(value, name) for name, value in kwargs.items()})

    def as_chat(self, **fields: Any) -> ChatModel:
        """Return a chat model that this LLM answers for, with tools and structured output.

        Args:
            **fields: Fields of the chat model: `template`, `tools`, `tool_format`, `max_repairs`,
                and those of langchain-core's `BaseChatModel`.

        Raises:
            pydantic.ValidationError: A field is unknown or has a wrong value.
        """
        from langchain_wrap.chat.adapter import LLMChat

        return LLMChat.of(self, fields)

    def with_structured_output(
        self, schema: Any, **kwargs: Any
    ) -> Runnable[LanguageModelInput, Any]:
        """Have completions given as objects: `as_chat().with_structured_output(...)`."""
        return self.as_chat().with_structured_output(schema, **kwargs)

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
        listeners = Listener.spread(
            prompts, callbacks, run_id, tags=tags, metadata=metadata, run_name=run_name
        )
        plan = Plan(self, SyncShell(), stop=stop, parameters=kwargs)
        return llm_result(run_sync(plan.complete(prompts, listeners)))

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
        listeners = Listener.spread(
            prompts, callbacks, run_id, tags=tags, metadata=metadata, run_name=run_name
        )
        plan = Plan(self, AsyncShell(), stop=stop, parameters=kwargs)
        return llm_result(await plan.complete(prompts, listeners))

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
        batch = Inputs(self, SyncShell(), inputs, config, kwargs, keep_errors=return_exceptions)
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
        batch = Inputs(self, AsyncShell(), inputs, config, kwargs, keep_errors=return_exceptions)
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
        run = plan.run(prompt_of(self, input), Listener.of(ensure_config(config)))
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
        run = plan.run(prompt_of(self, input), Listener.of(ensure_config(config)))
        await run.start()
        try:
            while (chunk := await run.next()) is not None:
                yield chunk.text
        finally:
            await run.close()
            plan.settle()
