"""`HTTPEndpoint`: a model behind an HTTP API that is declared, not programmed."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import lru_cache
from typing import Any, Literal, Self

import httpx
import jmespath
from jmespath.exceptions import JMESPathError
from langchain_core.exceptions import ModelAPIError, ModelAuthenticationError, ModelError
from langchain_core.outputs import Generation, GenerationChunk
from pydantic import (
    AliasChoices,
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    field_validator,
    model_validator,
)

from langchain_wrap import LLM
from langchain_wrap.errors import did_you_mean
from langchain_wrap.models import (
    http_client,
    http_errors,
    http_events,
    http_presets,
    template,
)

Path = str
"""A JMESPath expression (https://jmespath.org) that finds a value in an answer."""

_OURS = frozenset({"prompt", "prompts", "stop", "model"})


class StreamFormat(BaseModel):
    """How an endpoint streams."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: Literal["sse", "ndjson", "raw"] = "sse"
    """Server-sent events, a JSON value a line, or the text itself."""

    text: Path = "text"
    """Where an event has its piece of text; an event without it has none. Not used by `raw`."""

    done: str | None = None
    """The data of the event that ends the stream, such as `[DONE]`. A stream may also just end."""

    finish_reason: Path | None = None
    """Where an event has the finish reason."""

    usage: Path | None = None
    """Where an event has the counts of tokens."""

    error: Path = "error"
    """Where an event has an error; what is found there ends the stream as an error."""

    url: str | None = None
    """The URL that streams, if it is another one."""

    body: Any = None
    """What is added to the body of the request, such as `{"stream": True}`."""


class Tokenizer(BaseModel):
    """Where an endpoint counts tokens."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    url: str
    """The URL, such as `http://host/tokenize`."""

    body: Any
    """The body, a template in which `{text}` stands for the text."""

    ids: Path = "tokens"
    """Where the answer has the list of token ids."""


class HTTPEndpoint(LLM):
    """A model behind an HTTP API, declared: `pip install 'langchain-wrap[http]'`.

    The body of a request is a template: JSON values in which `{prompt}`, `{stop}`, `{model}` and
    the names of any parameters stand for values. The answer is read by JMESPath expressions. For
    OpenAI-compatible servers, Ollama, llama-server and TGI see `HTTPEndpoint.openai`, `.ollama`,
    `.llama_server` and `.tgi`.

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
        ModelError: One of langchain-core's, by the status code of an answer, with the server's
            own words; `retry_after` is what the server asked for. Where a stream breaks off, the
            error's `partial_text` is the text until then.
        MissingExtraError: httpx, httpx-sse or jmespath is not installed.
    """

    url: str
    """The URL of a whole answer, and of a stream unless `stream` has its own."""

    body: Any = {"prompt": "{prompt}"}  # noqa: RUF012  (pydantic copies defaults)
    """The request's body: a template of JSON values.

    A string that is one name alone, such as `"{temperature}"`, becomes the value itself; an entry
    whose name has no value in a call is left out. Other braces stay as they are; `{{name}}` stands for `{name}`.
    """

    text: Path = "text"
    """Where a whole answer has its text."""

    texts: Path | None = None
    """Where the answer to a list of prompts (`{prompts}`, or `{prompt}` as a list) has its texts.

    With it and `max_batch_size`, a batch goes out as lists of at most so many prompts.
    """

    finish_reason: Path | None = None
    """Where a whole answer has the finish reason."""

    usage: Path | None = None
    """Where a whole answer has the counts of tokens."""

    error: Path = "error"
    """Where an answer with a good status code has an error all the same."""

    stream_format: StreamFormat | None = Field(
        default=None, validation_alias=AliasChoices("stream", "stream_format")
    )
    """How the endpoint streams; given as `stream=`, a `StreamFormat` or its fields. None: not."""

    tokenizer: Tokenizer | None = None
    """Where the server counts tokens, for `get_num_tokens`."""

    model: str | None = None
    """The name of the model: `{model}` in templates, and in traces."""

    params: dict[str, Any] = Field(default_factory=dict)
    """Values of the template's parameters for all calls; those of a call count before them."""

    body_params: list[str] = Field(default_factory=list)
    """Names of parameters that a call may give although the template does not name them.

    They are put into the body as they are.
    """

    headers: dict[str, str] = Field(default_factory=dict)
    """Headers of every request. What is in them is held for secret."""

    api_key: SecretStr | None = None
    """The key. Where it is None and `api_key_env` is given, the key is read from there."""

    api_key_env: str | None = None
    """The environment variable that holds the key, read at each call."""

    auth: str = "bearer"
    """How the key is sent: `bearer` (`Authorization: Bearer …`), or the name of a header."""

    connect_timeout: float | None = Field(default=10.0, gt=0)
    """Seconds for a connection to be made."""

    read_timeout: float | None = Field(default=600.0, gt=0)
    """Seconds of silence after which a request is given up; `timeout` bounds the call itself."""

    verify: bool | str = True
    """Whether certificates are checked; or the file of the CA to check them with."""

    proxy: str | None = None
    """The URL of a proxy. None: as the environment says (`HTTPS_PROXY`, …)."""

    trust_env: bool = True
    """Whether the environment's proxies and `.netrc` are used."""

    max_answer_bytes: int = Field(default=64 * 2**20, ge=1)
    """How large an answer, or one event of a stream, may be after decompression."""

    def __init__(self, url: str, **fields: Any) -> None:
        super().__init__(**{"url": url, **fields})

    @classmethod
    def openai(cls, base_url: str, model: str | None = None, **fields: Any) -> Self:
        """Return an endpoint for an OpenAI-compatible server's `/completions`.

        vLLM, llama-server, SGLang, LM Studio and others; `base_url` ends in `/v1` with most.
        https://platform.openai.com/docs/api-reference/completions
        """
        return cls(**{**http_presets.openai(base_url), "model": model, **fields})

    @classmethod
    def ollama(cls, base_url: str, model: str, **fields: Any) -> Self:
        """Return an endpoint for Ollama's `/api/generate`.

        https://github.com/ollama/ollama/blob/main/docs/api.md
        """
        return cls(**{**http_presets.ollama(base_url), "model": model, **fields})

    @classmethod
    def llama_server(cls, base_url: str, **fields: Any) -> Self:
        """Return an endpoint for llama.cpp's server, its own `/completion`.

        https://github.com/ggml-org/llama.cpp/tree/master/tools/server
        """
        return cls(**{**http_presets.llama_server(base_url), **fields})

    @classmethod
    def tgi(cls, base_url: str, **fields: Any) -> Self:
        """Return an endpoint for Text Generation Inference: `/generate`, `/generate_stream`.

        https://huggingface.co/docs/text-generation-inference
        """
        return cls(**{**http_presets.tgi(base_url), **fields})

    # --- calls ---

    @property
    def _llm_type(self) -> str:
        return "http-endpoint"

    @property
    def _implemented(self) -> frozenset[str]:
        streamed = {"_astream"} if self.stream_format is not None else set()
        listed = {"_abatch"} if self.texts and self.max_batch_size else set()
        return frozenset({"_acall", *streamed, *listed})

    async def _acall(  # type: ignore[override]
        self, prompt: str, stop: list[str] | None = None, **params: Any
    ) -> Generation:
        answer = await self._answer(self._request(self.body, params, prompt=prompt, stop=stop))
        found = _search(self.text, answer)
        if not isinstance(found, str):
            shown = http_errors.shown_url(self.url)
            raise http_errors.unexpected(f"without a text at {self.text!r}", shown, answer)
        return Generation(text=found, generation_info=self._facts(self, answer))

    async def _abatch(
        self, prompts: list[str], stop: list[str] | None = None, **params: Any
    ) -> list[str]:
        values = {"prompt": prompts, "prompts": prompts}
        answer = await self._answer(self._request(self.body, params, stop=stop, **values))
        found = _search(self.texts or "", answer)
        if not isinstance(found, list) or not all(isinstance(one, str) for one in found):
            shown = http_errors.shown_url(self.url)
            raise http_errors.unexpected(f"without texts at {self.texts!r}", shown, answer)
        return found

    async def _astream(  # type: ignore[override]
        self, prompt: str, stop: list[str] | None = None, **params: Any
    ) -> AsyncIterator[GenerationChunk]:
        form = self.stream_format or StreamFormat()
        url = form.url or self.url
        body = self._request(_joined(self.body, form.body), params, prompt=prompt, stop=stop)
        partial: list[str] = []
        try:
            async with self._response(url, body) as response:
                async for chunk in self._chunks(form, response):
                    partial.append(chunk.text)
                    yield chunk
        except ModelError as error:
            text = "".join(partial)
            error.partial_text = text  # type: ignore[attr-defined]
            if text:
                error.args = (f"{error} (after {len(text)} characters)",)
            raise

    async def _chunks(
        self, form: StreamFormat, response: httpx.Response
    ) -> AsyncIterator[GenerationChunk]:
        url = http_errors.shown_url(str(response.url))
        if form.format == "raw":
            async for text in http_events.text(response, self.max_answer_bytes):
                yield GenerationChunk(text=text)
            return
        read = http_events.sse if form.format == "sse" else http_events.lines
        async for data in read(response, self.max_answer_bytes):
            if data == form.done:
                return
            try:
                event = http_events.parsed(data)
            except ValueError:
                raise http_errors.unexpected("with an event that is no JSON", url, data) from None
            failure = _search(form.error, event)
            if failure:
                raise http_errors.in_stream(failure, url)
            text = _search(form.text, event)
            if text is not None and not isinstance(text, str):
                raise http_errors.unexpected(f"with no text at {form.text!r}", url, event)
            info = self._facts(form, event)
            if text or info:
                yield GenerationChunk(text=text or "", generation_info=info)

    async def _answer(self, body: Any) -> Any:
        url = http_errors.shown_url(self.url)
        async with self._response(self.url, body) as response:
            data = await http_events.whole(response, self.max_answer_bytes)
        try:
            answer = http_events.parsed(data.decode("utf-8", "replace"))
        except ValueError:
            shown = data.decode("utf-8", "replace")
            raise http_errors.unexpected("with what is no JSON", url, shown) from None
        failure = _search(self.error, answer)
        if failure:
            raise http_errors.in_stream(failure, url)
        return answer

    @asynccontextmanager
    async def _response(self, url: str, body: Any) -> AsyncIterator[httpx.Response]:
        """Make a request; its errors become langchain-core's, and its end closes the response."""
        shown = http_errors.shown_url(url)
        client = await http_client.client(self._settings())
        try:
            async with client.stream("POST", url, json=body, headers=self._headers()) as response:
                if not response.is_success:
                    words = await http_events.whole(response, self.max_answer_bytes)
                    raise http_errors.of_status(response, words, shown)
                yield response
        except httpx.TransportError as error:
            raise http_errors.of_transport(error, shown) from error
        except httpx.HTTPError as error:
            raise ModelAPIError(f"{shown}: {error}") from error
        except http_events.TooLarge as error:
            raise http_errors.unexpected(
                f"with {error}; allow more by max_answer_bytes", shown, "not read to its end"
            ) from None

    def _request(self, body: Any, params: Mapping[str, Any], **values: Any) -> Any:
        """Return a request's body.

        Raises:
            TypeError: A parameter of the call is neither in the template nor declared.
        """
        known = template.names(body) - _OURS
        declared = {*known, *self.body_params}
        for name in params:
            if name not in declared:
                raise TypeError(
                    f"HTTPEndpoint takes no parameter {name!r}: it is neither in the template of "
                    f"the body nor in body_params.{did_you_mean(name, declared)} "
                    f"It takes: {', '.join(sorted(declared)) or 'none'}"
                )
        given = {**self.params, **params}
        filled = template.fill(body, _given(model=self.model, **{**given, **values}))
        more = {
            name: given[name] for name in self.body_params if name in given and name not in known
        }
        return {**filled, **more} if more else filled

    def _headers(self) -> dict[str, str]:
        key = self._key()
        if not key:
            return self.headers
        name, value = (
            ("Authorization", f"Bearer {key}") if self.auth == "bearer" else (self.auth, key)
        )
        return {**self.headers, name: value}

    def _key(self) -> str:
        if self.api_key is not None:
            return self.api_key.get_secret_value()
        if self.api_key_env is None:
            return ""
        key = os.environ.get(self.api_key_env)
        if not key:
            raise ModelAuthenticationError(
                f"the environment variable {self.api_key_env} has no key; set it, or pass api_key="
            )
        return key

    def _facts(self, paths: HTTPEndpoint | StreamFormat, answer: Any) -> dict[str, Any] | None:
        found = {
            "finish_reason": _search(paths.finish_reason, answer),
            "token_usage": _search(paths.usage, answer),
        }
        known = {name: value for name, value in found.items() if value}
        if known and self.model is not None:
            known["model_name"] = self.model
        return known or None

    def _settings(self) -> http_client.Settings:
        return http_client.Settings(
            verify=self.verify,
            proxy=self.proxy,
            connect=self.connect_timeout,
            read=self.read_timeout,
            trust_env=self.trust_env,
        )

    # --- tokens ---

    def _tokenize(self, text: str) -> list[int]:
        if self.tokenizer is None:
            return super()._tokenize(text)
        url = self.tokenizer.url
        body = template.fill(self.tokenizer.body, _given(text=text, model=self.model))
        shown = http_errors.shown_url(url)
        try:
            with httpx.Client(**http_client.options(self._settings())) as client:
                response = client.post(url, json=body, headers=self._headers())
        except httpx.TransportError as error:
            raise http_errors.of_transport(error, shown) from error
        if not response.is_success:
            raise http_errors.of_status(response, response.content, shown)
        ids = _search(self.tokenizer.ids, response.json())
        if not isinstance(ids, list):
            raise http_errors.unexpected(f"without ids at {self.tokenizer.ids!r}", shown, ids)
        return ids

    # --- validation ---

    @field_validator("text", "texts", "finish_reason", "usage", "error")
    @classmethod
    def _check_path(cls, value: str | None) -> str | None:
        if value is not None:
            _compiled(value)
        return value

    @field_validator("url")
    @classmethod
    def _check_url(cls, value: str) -> str:
        parsed = httpx.URL(value)
        if parsed.scheme not in ("http", "https") or not parsed.host:
            raise ValueError("url must begin with http:// or https:// and name a host")
        return value

    @model_validator(mode="after")
    def _check_template(self) -> Self:
        asked = template.names(self.body)
        if not asked & {"prompt", "prompts"}:
            raise ValueError("body: the template has no {prompt}, so the prompt would not be sent")
        declared = {*asked, *self.body_params}
        for name in self.params:
            if name not in declared:
                raise ValueError(
                    f"params names {name!r}, which is neither in the template of the body nor in "
                    f"body_params.{did_you_mean(name, declared)}"
                )
        return self


def _given(**values: Any) -> dict[str, Any]:
    """Return the values that there are; no stops are the same as no value."""
    return {k: v for k, v in values.items() if v is not None and not (k == "stop" and not v)}


def _joined(body: Any, more: Any) -> Any:
    return {**body, **more} if isinstance(body, Mapping) and isinstance(more, Mapping) else body


def _search(path: str | None, answer: Any) -> Any:
    """Return what a path finds; None where the answer has another form than it speaks of."""
    if path is None:
        return None
    try:
        return _compiled(path).search(answer)
    except JMESPathError:
        return None


@lru_cache(maxsize=256)
def _compiled(path: str) -> Any:
    try:
        return jmespath.compile(path)
    except JMESPathError as error:
        raise ValueError(f"{path!r} is no JMESPath expression: {error}") from None
