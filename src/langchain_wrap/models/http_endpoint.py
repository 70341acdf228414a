"""`HTTPEndpoint`: a model behind an HTTP API that is declared, not programmed."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing
from typing import Any, Self

from langchain_core.messages import AIMessageChunk, BaseMessage
from langchain_core.outputs import Generation, GenerationChunk
from pydantic import AliasChoices, Field, model_validator

from langchain_wrap import LLM
from langchain_wrap.errors import did_you_mean
from langchain_wrap.models import http_parameters, http_presets, template
from langchain_wrap.models.http_chat import ChatFormat
from langchain_wrap.models.http_chat_dialect import Asked
from langchain_wrap.models.http_chat_history import turns
from langchain_wrap.models.http_connection import Connection
from langchain_wrap.models.http_errors import Peer
from langchain_wrap.models.http_exchange import encoded, fetch
from langchain_wrap.models.http_format import (
    Path,
    StreamFormat,
    Tokenizer,
    Url,
    find,
    found_facts,
)
from langchain_wrap.models.http_reading import streamed, value_of, whole
from langchain_wrap.models.http_relay import completed, relayed

_OURS = frozenset({"prompt", "prompts", "stop"})


class HTTPEndpoint(Connection, LLM):
    """A model behind an HTTP API, declared: `pip install 'langchain-wrap[http]'`.

    The body of a request is a template: JSON values in which `{prompt}`, `{stop}`, `{model}` and
    the names of any parameters stand for values. The answer is read by JMESPath expressions. For
    OpenAI-compatible servers, Ollama, llama-server and TGI see `HTTPEndpoint.openai`, `.ollama`,
    `.llama_server` and `.tgi`. Expressions: https://jmespath.org. Where `chat` says that the server
    chats, `as_chat()` uses that.

    Requests run side by side, up to `concurrency`. A call that is cancelled or left closes its
    response at once, and so the server can stop. Redirects are not followed: they could carry a
    key elsewhere.

    Example:
        ```python
        from langchain_wrap.models import HTTPEndpoint

        llm = HTTPEndpoint(
            "http://localhost:8000/generate",
            body={"inputs": "{prompt}", "stop": "{stop}", "temperature": "{temperature}"},
            text="generated_text",
        )
        llm.invoke("The capital of France is", temperature=0)
        ```

    Raises:
        ModelError: One of langchain-core's, by the status code of an answer (`status_code`), with
            the server's own words; `retry_after` is what the server asked for. Where a stream
            breaks off, the error's `partial_text` is the text until then.
        TypeError: A call has a parameter that is neither in the template nor declared.
        ValueError: A prompt or parameter cannot be written as JSON.
        MissingExtraError: httpx or jmespath is not installed.
    """

    url: Url
    """The URL of a whole answer, and of a stream unless `stream` has its own."""

    body: Any = {"prompt": "{prompt}"}  # noqa: RUF012  (pydantic copies defaults)
    """The request's body: a template of JSON values.

    A string that is one name alone, such as `"{temperature}"`, becomes the value itself; an entry
    whose name has no value in a call is left out. Other braces stay as they are; `{{name}}` stands
    for `{name}`.
    """

    text: Path | None = "text"
    """Where a whole answer has its text. None: the endpoint only streams."""

    texts: Path | None = None
    """Where the answer to a list of prompts (`{prompts}`, or `{prompt}` as a list) has its texts.

    With it and `max_batch_size`, a batch goes out as lists of at most so many prompts.
    """

    finish_reason: Path | None = None
    """Where a whole answer has the finish reason."""

    finish_reasons: Path | None = None
    """Where the answer to a list of prompts has their finish reasons, one for each."""

    usage: Path | None = None
    """Where a whole answer has the counts of tokens: `prompt_tokens` and `completion_tokens`."""

    error: Path = "error"
    """Where an answer with a good status code has an error all the same."""

    stream_format: StreamFormat | None = Field(
        default=None, validation_alias=AliasChoices("stream", "stream_format")
    )
    """How the endpoint streams; given as `stream=`, a `StreamFormat` or its fields. None: not."""

    chat: ChatFormat | None = None
    """How the endpoint chats, if it does; a `ChatFormat` or its fields."""

    tokenizer: Tokenizer | None = None
    """Where the server counts tokens, for `get_num_tokens`; a `Tokenizer` or its fields."""

    model: str | None = None
    """The name of the model: `{model}` in templates, and in traces. A call may name another."""

    params: dict[str, Any] = Field(default_factory=dict)
    """Values of the template's parameters for all calls; those of a call count before them."""

    body_params: list[str] = Field(default_factory=list)
    """Names of parameters that a call may give although the template does not name them.

    They are put into the body as they are.
    """

    def __init__(self, url: str, **fields: Any) -> None:
        super().__init__(**{"url": url, **fields})

    @classmethod
    def openai(cls, base_url: str, model: str | None = None, **fields: Any) -> Self:
        """Return an endpoint for an OpenAI-compatible server's `/completions`.

        vLLM, llama-server, SGLang, LM Studio and others; `base_url` ends in `/v1` with most.
        https://platform.openai.com/docs/api-reference/completions
        """
        preset = http_presets.openai(base_url)
        return cls(**http_presets.combined(preset, {"model": model, **fields}))

    @classmethod
    def ollama(cls, base_url: str, model: str, **fields: Any) -> Self:
        """Return an endpoint for Ollama's `/api/generate`.

        https://github.com/ollama/ollama/blob/main/docs/api.md
        """
        preset = http_presets.ollama(base_url)
        return cls(**http_presets.combined(preset, {"model": model, **fields}))

    @classmethod
    def llama_server(cls, base_url: str, **fields: Any) -> Self:
        """Return an endpoint for llama.cpp's server, its own `/completion`.

        https://github.com/ggml-org/llama.cpp/tree/master/tools/server
        """
        return cls(**http_presets.combined(http_presets.llama_server(base_url), fields))

    @classmethod
    def tgi(cls, base_url: str, **fields: Any) -> Self:
        """Return an endpoint for Text Generation Inference: `/generate`, `/generate_stream`.

        https://huggingface.co/docs/text-generation-inference
        """
        return cls(**http_presets.combined(http_presets.tgi(base_url), fields))

    # --- calls ---

    @property
    def _llm_type(self) -> str:
        return "http-endpoint"

    @property
    def _takes_only_lists(self) -> bool:
        return self.texts is not None and "prompt" not in template.names(self.body)

    @property
    def _implemented(self) -> frozenset[str]:
        found = set()
        if self.stream_format is not None:
            found.add("_astream")
        if self.texts is not None and (self.max_batch_size or self._takes_only_lists):
            found.add("_abatch")
        if self.text is not None and not self._takes_only_lists:
            found.add("_acall")
        return frozenset(found)

    async def _acall(  # type: ignore[override]
        self, prompt: str, stop: list[str] | None = None, **params: Any
    ) -> Generation:
        values = _values(prompt, [prompt], stop)
        answer, peer = await self._answer(self._filled(self.body, params, values))
        found = find(self.text, answer)
        if not isinstance(found, str):
            raise peer.unexpected(f"no text at {self.text!r}", answer)
        facts = self._facts(found_facts(self.finish_reason, self.usage, answer), params)
        return Generation(text=found, generation_info=facts)

    async def _abatch(
        self, prompts: list[str], stop: list[str] | None = None, **params: Any
    ) -> list[Any]:
        if len(prompts) == 1 and "_acall" in self._implemented:
            return [await self._acall(prompts[0], stop, **params)]  # which tells the usage too
        values = _values(prompts, prompts, stop)
        answer, peer = await self._answer(self._filled(self.body, params, values))
        found = find(self.texts, answer)
        if not isinstance(found, list):
            raise peer.unexpected(f"no texts at {self.texts!r}", answer)
        if len(found) != len(prompts) or not all(isinstance(one, str) for one in found):
            texts = sum(isinstance(one, str) for one in found)
            what = f"{texts} texts at {self.texts!r} to {len(prompts)} prompts"
            error = peer.unexpected(what, answer)
            # Not again with all of them: one by one, so that only what has no text is lost.
            error.is_retryable = len(prompts) == 1
            raise error
        reasons = find(self.finish_reasons, answer)
        if not isinstance(reasons, list) or len(reasons) != len(found):
            reasons = [None] * len(found)
        facts = [{"finish_reason": reason} if reason else {} for reason in reasons]
        return [
            Generation(text=text, generation_info=self._facts(known, params))
            for text, known in zip(found, facts, strict=True)
        ]

    def _astream(  # type: ignore[override]
        self, prompt: str, stop: list[str] | None = None, **params: Any
    ) -> AsyncIterator[GenerationChunk]:
        return relayed(self._read_stream(prompt, stop, params))

    async def _read_stream(
        self, prompt: str, stop: list[str] | None, params: dict[str, Any]
    ) -> AsyncGenerator[GenerationChunk, None]:
        form = self.stream_format or StreamFormat()
        values = _values(prompt, [prompt], stop)
        body = self._filled(self._streaming_body, params, values)

        def read(value: Any, peer: Peer) -> GenerationChunk | None:
            return self._chunk(form, value, params, peer)

        outgoing = self._outgoing(form.url or self.url, body)
        async with aclosing(streamed(outgoing, form, self.max_answer_bytes, read)) as chunks:
            async for chunk in chunks:
                yield chunk

    def _chunk(
        self, form: StreamFormat, value: Any, params: Mapping[str, Any], peer: Peer
    ) -> GenerationChunk | None:
        """Return what the value of an event tells; None where that is nothing."""
        if form.format == "raw":
            return GenerationChunk(text=value)
        text = find(form.text, value)
        if text is not None and not isinstance(text, str):
            raise peer.unexpected(f"something else than text at {form.text!r}", value)
        facts = self._facts(found_facts(form.finish_reason, form.usage, value), params)
        return GenerationChunk(text=text or "", generation_info=facts) if text or facts else None

    async def _answer(self, body: bytes) -> tuple[Any, Peer]:
        outgoing = self._outgoing(self.url, body)
        return await completed(whole(outgoing, self.error, self.max_answer_bytes))

    def _facts(self, facts: dict[str, Any], params: Mapping[str, Any]) -> dict[str, Any] | None:
        model = params.get("model", self.model)
        return {**facts, "model_name": model} if facts and model else facts or None

    # --- chat ---

    @property
    def _chats_natively(self) -> bool:
        return self.chat is not None

    @property
    def _chat_does(self) -> frozenset[str]:
        """What the server does itself of `tools`, `tool_choice` and `json_schema`."""
        return frozenset() if self.chat is None else self.chat.does

    async def _chat(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        tools: list[dict[str, Any]] | None = None,
        tool_choice: str | None = None,
        json_schema: dict[str, Any] | None = None,
        **params: Any,
    ) -> AsyncGenerator[AIMessageChunk, None]:
        form = self._chat_format
        asked = Asked(turns(messages, form.takes), stop, tools, tool_choice, json_schema)
        streaming = form.streams or (form.streams is None and self.stream_format is not None)
        given = self._chat_parameters(form, params)
        body = http_parameters.body_of(
            form.template(streaming=streaming),
            given,
            form.values(asked, given),
            self.body_params,
        )
        outgoing = self._outgoing(form.url, body)
        answer = form.spoken.answer(asked, given.get("model"))
        if not streaming:
            told = await completed(whole(outgoing, self.error, self.max_answer_bytes))
            yield answer.whole(*told)
            return
        source = streamed(
            outgoing, form.spoken.STREAM, self.max_answer_bytes, answer.read, answer.end
        )
        async with aclosing(relayed(source)) as chunks:  # type: ignore[type-var]
            async for chunk in chunks:
                yield chunk

    @property
    def _chat_format(self) -> ChatFormat:
        if self.chat is None:
            raise NotImplementedError(
                "this endpoint has no chat of its own; declare one: "
                'chat={"dialect": "openai", "url": "http://host/v1/chat/completions"}'
            )
        return self.chat

    def _chat_parameters(self, form: ChatFormat, params: Mapping[str, Any]) -> dict[str, Any]:
        known = {} if self.model is None else {"model": self.model}
        declared = form.parameters(*self.body_params)
        http_parameters.check([*self.params, *params], declared, "the chat of HTTPEndpoint")
        return {**known, **form.renamed(self.params), **form.renamed(params)}

    # --- requests ---

    @property
    def _streaming_body(self) -> Any:
        more = self.stream_format and self.stream_format.body
        return template.merge(self.body, more) if more else self.body

    @property
    def _declared(self) -> frozenset[str]:
        """The names of the parameters that a call may give."""
        return (template.names(self._streaming_body) | {*self.body_params}) - _OURS

    def _filled(self, body: Any, params: Mapping[str, Any], values: Mapping[str, Any]) -> bytes:
        """Return a request's body.

        Raises:
            TypeError: A parameter of the call is neither in the template nor declared.
        """
        http_parameters.check(params, self._declared)
        known = {} if self.model is None else {"model": self.model}
        given = {**known, **self.params, **params}
        return http_parameters.body_of(body, given, values, self.body_params)

    # --- tokens ---

    @property
    def _has_tokenizer(self) -> bool:
        return self.tokenizer is not None

    def _tokenize(self, text: str) -> list[int]:
        if self.tokenizer is None:
            return super()._tokenize(text)
        values = {"text": text, **({} if self.model is None else {"model": self.model})}
        body = encoded(template.fill(self.tokenizer.body, values))
        outgoing = self._outgoing(self.tokenizer.url, body)
        answer = value_of(fetch(outgoing, self.max_answer_bytes), self.error, outgoing.peer)
        ids = find(self.tokenizer.ids, answer)
        if not isinstance(ids, list) or not all(isinstance(one, int) for one in ids):
            raise outgoing.peer.unexpected(f"no token ids at {self.tokenizer.ids!r}", answer)
        return ids

    # --- validation ---

    @model_validator(mode="after")
    def _check_template(self) -> Self:
        asked = template.names(self.body)
        if not asked & {"prompt", "prompts"}:
            raise ValueError("body: the template has no {prompt}, so the prompt would not be sent")
        if not self._implemented:
            raise ValueError("there is neither text= nor stream=, so no answer could be read")
        more = self.body_params or (self.stream_format and self.stream_format.body)
        if more and not isinstance(self.body, Mapping):
            raise ValueError("body_params, and the body of stream, need a body that is a mapping")
        if self.texts is not None and template.within_text(self.body, "prompt"):
            raise ValueError("texts: {prompt} stands within a longer text, where no list can be")
        for name in self.params:
            if name not in self._declared:
                raise ValueError(
                    f"params names {name!r}, which is neither in the template of the body nor in "
                    f"body_params.{did_you_mean(name, self._declared)}"
                )
        return self


def _values(prompt: str | list[str], prompts: list[str], stop: list[str] | None) -> dict[str, Any]:
    """Return what we ourselves put into templates; no stops are the same as no value."""
    return {"prompt": prompt, "prompts": prompts, **({"stop": stop} if stop else {})}
