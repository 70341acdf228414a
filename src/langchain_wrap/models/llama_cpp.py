"""`LlamaCpp`: a GGUF model, run by llama.cpp inside this process."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Self

from langchain_core.outputs import GenerationChunk
from pydantic import Field, PrivateAttr, field_validator, model_validator

from langchain_wrap import LLM, CancelToken
from langchain_wrap.models import weights
from langchain_wrap.models.held import Held, hold
from langchain_wrap.models.llama_engine import Engine, Settings, available_cores, engine_for
from langchain_wrap.models.llama_generation import generate
from langchain_wrap.models.llama_gguf import read_gguf
from langchain_wrap.models.llama_sampling import (
    Sampling,
    as_body,
    check_tokens,
    effective,
    honoured,
    probe,
)

_N_CTX = 2048
_ONE_LINE = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}
"""For the engine's schemas (llguidance): where line breaks may stand in an empty object, a small
model goes on to write them until its tokens are used up."""


class LlamaCpp(Sampling, LLM):
    """A local model in a GGUF file, run by llama.cpp: `pip install 'langchain-wrap[llama-cpp]'`.

    Calls run side by side in `n_parallel` slots; more of them wait their turn. Prompts with a long
    common beginning compute it once. The weights are loaded on first use (which holds up other
    Python threads for the time of loading), once per process for all objects with the same file
    and settings, and freed with the last of these. No network port is opened; the CPU must have
    AVX2. `_tokenize` and `get_num_tokens` use the model's own tokenizer.

    llama.cpp's documentation: https://github.com/ggml-org/llama.cpp/tree/master/tools/server

    Example:
        ```python
        from langchain_wrap.models import LlamaCpp

        llm = LlamaCpp(temperature=0, max_tokens=12)  # fetches a 93 MB model on first use
        print(llm.invoke("The capital of France is"))
        for token in llm.stream("Once upon a time", stop=["."]):
            print(token, end="")
        ```

    The engine's log is silent. With `logging.getLogger("langchain_wrap.llama_cpp")` at INFO or
    DEBUG before the weights are loaded, our own records appear there, and the engine writes its
    log to stderr (it has no other place to write to, as it does where a GBNF grammar is wrong).

    Raises:
        FileNotFoundError, ValueError: `model_path` is no whole GGUF file.
        MissingExtraError: On first use, where `xllamacpp` is not installed.
        ContextOverflowError: A prompt is longer than `n_ctx`.
    """

    model_path: str = weights.DEFAULT
    """The model: a `.gguf` file, `org/repo/file.gguf` on Hugging Face, or "smollm2".

    "smollm2" is SmolLM2-135M-Instruct (Apache-2.0): small enough to try things, not to rely on.
    It is fetched once, into the folder `LANGCHAIN_WRAP_CACHE` or the user's cache folder.
    """

    n_ctx: int | None = Field(default=None, ge=1)
    """Tokens that one prompt and its completion may use, in steps of 256.

    None: 2048, or what the model was trained with if that is less. Memory grows with
    `n_ctx * n_parallel`.
    """

    n_parallel: int = Field(default=4, ge=1, le=256)
    """How many completions run at once."""

    n_threads: int | None = Field(default=None, ge=1)
    """Threads of the engine. None: the physical cores that this process may use."""

    n_batch: int = Field(default=128, ge=32)
    """Tokens of prompts that are computed in one step; cancelling takes effect between two."""

    n_gpu_layers: int | None = Field(default=None, ge=-1)
    """Layers to keep on a GPU, where the engine was built for one; -1: all. None: what fits."""

    cache_prompt: bool = True
    """Whether prompts reuse what others with the same beginning computed, before or at once.

    A beginning counts from about 200 tokens on. The text stays the same but for what depends on
    the last bits of probabilities, which also depend on how many prompts run at once.
    """

    _held: Held[Engine] = PrivateAttr(default_factory=Held)

    @field_validator("model_path", mode="before")
    @classmethod
    def _check_path_type(cls, value: Any) -> Any:
        return os.fspath(value) if isinstance(value, os.PathLike) else value

    @model_validator(mode="after")
    def _check_file_and_constraint(self) -> Self:
        weights.check(self.model_path)
        if self.grammar is not None and self.json_schema is not None:
            raise ValueError("grammar and json_schema exclude each other; give one of them")
        self._hold()
        return self

    def _stream(  # type: ignore[override]
        self,
        prompt: str,
        stop: list[str] | None = None,
        cancel: CancelToken | None = None,
        **params: Any,
    ) -> Iterator[GenerationChunk]:
        # Stops are left to the pipeline: it says which one fired, and closing this generator frees
        # the slot one token later, which costs nothing that can be measured.
        parameters = effective(self, params)
        _check_text(prompt)
        engine = self._engine()
        check_tokens(parameters, read_gguf(Path(engine.settings.path)).vocabulary)
        self._prove(engine, parameters, cancel)
        prompt = self._without_bos(engine, prompt)
        body = {**as_body(parameters), "prompt": prompt, "cache_prompt": self.cache_prompt}
        for message in generate(engine, body, reuse=self.cache_prompt, cancel=cancel):
            if "prompt_progress" not in message:
                yield self._chunk(message)

    def _tokenize(self, text: str) -> list[int]:
        _check_text(text)
        engine = self._engine()
        return engine.tokenize(self._without_bos(engine, text))

    def _chat_template(self) -> str | None:
        return read_gguf(weights.resolve(self.model_path)).chat_template

    def _special_tokens(self) -> Mapping[str, str]:
        return read_gguf(weights.resolve(self.model_path)).special_tokens

    def _schema_parameters(self, schema: dict[str, Any]) -> dict[str, Any]:
        return {"json_schema": {**schema, "x-guidance": _ONE_LINE}}

    def _without_bos(self, engine: Engine, prompt: str) -> str:
        """Return a prompt without the BOS token that the engine will put before it.

        Chat templates write it themselves; a model was never trained on two of them.
        """
        bos = read_gguf(Path(engine.settings.path)).special_tokens.get("bos_token")
        if not bos or not prompt.startswith(bos):
            return prompt
        return prompt.removeprefix(bos) if engine.begins_with(bos) else prompt

    @property
    def _llm_type(self) -> str:
        return "llama-cpp"

    @property
    def _identifying_params(self) -> Mapping[str, Any]:
        return {
            **super()._identifying_params,
            "model_name": weights.model_name(self.model_path),
            "model_file": weights.fingerprint(self.model_path),
        }

    def _chunk(self, message: dict[str, Any]) -> GenerationChunk:
        """Return one of the engine's messages as a chunk, with what is known so far."""
        choice, timings = message["choices"][0], message["timings"]
        prompt_tokens = timings["cache_n"] + timings["prompt_n"]
        usage = message.get("usage") or {
            "prompt_tokens": prompt_tokens,
            "completion_tokens": timings["predicted_n"],
            "total_tokens": prompt_tokens + timings["predicted_n"],
            "prompt_tokens_details": {"cached_tokens": timings["cache_n"]},
        }
        info: dict[str, Any] = {
            "model_name": weights.model_name(self.model_path),
            "token_usage": usage,
            "timings": timings,
        }
        if choice["finish_reason"] is not None:
            info["finish_reason"] = choice["finish_reason"]
        if choice["logprobs"] is not None:
            info["logprobs"] = choice["logprobs"]
        return GenerationChunk(text=choice["text"], generation_info=info)

    def _engine(self) -> Engine:
        """Return the engine, loaded now if it is the first use in this process."""
        held = self._hold()
        if held.engine is None or not held.engine.usable:
            held.engine = engine_for(self._settings())
        return held.engine

    def _hold(self) -> Held[Engine]:
        """Take part in what is loaded for the fields as they are now."""
        named = (
            *(self.model_path, self.n_ctx, self.n_parallel),
            *(self.n_threads, self.n_batch, self.n_gpu_layers),
        )
        if self._held.named != named:
            key = (LlamaCpp, named, weights.stamp(self.model_path))
            self._held = hold(key, named)
        return self._held

    def _settings(self) -> Settings:
        path = weights.resolve(self.model_path)
        trained = read_gguf(path).context_length
        if self.n_ctx is not None and trained is not None and self.n_ctx > trained:
            raise ValueError(
                f"n_ctx={self.n_ctx} is more than the {trained} tokens that the model "
                f"{str(path)!r} was trained with; the engine would use no more than these"
            )
        return Settings(
            path=str(path),
            stamp=weights.stamp(str(path)),
            n_ctx=self.n_ctx or min(_N_CTX, trained or _N_CTX),
            n_parallel=self.n_parallel,
            n_threads=self.n_threads or available_cores(),
            n_batch=self.n_batch,
            n_gpu_layers=self.n_gpu_layers,
        )

    @staticmethod
    def _prove(engine: Engine, parameters: Mapping[str, Any], cancel: CancelToken | None) -> None:
        """Make sure, once for each, that the engine honours a schema: bad ones it drops."""
        request = probe(parameters)
        if request is None or request["grammar"] in engine.proven:
            return
        text = "".join(
            message["choices"][0]["text"]
            for message in generate(
                engine, {**request, "cache_prompt": False}, reuse=False, cancel=cancel
            )
            if "prompt_progress" not in message
        )
        if cancel is not None and cancel.cancelled:
            return
        if not honoured(text):
            name = "json_schema" if "json_schema" in parameters else "grammar"
            raise ValueError(
                f"{name}={parameters[name]!r}: llama.cpp cannot enforce this and would ignore it; "
                "something in it is wrong or not supported"
            )
        engine.proven.add(request["grammar"])


def _check_text(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError(
            f"the prompt has a lone surrogate at position {error.start}, which is no character"
        ) from None
