"""`Transformers`: a model of Hugging Face's transformers, run inside this process."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Self

from langchain_core.language_models.base import LangSmithParams
from langchain_core.outputs import Generation, GenerationChunk
from pydantic import Field, PrivateAttr, field_validator, model_validator

from langchain_wrap import LLM, CancelToken
from langchain_wrap.errors import did_you_mean
from langchain_wrap.models import weights
from langchain_wrap.models.held import Held, hold
from langchain_wrap.models.transformers_batch import complete
from langchain_wrap.models.transformers_loading import (
    DTYPES,
    Recipe,
    check,
    check_loaded,
    engine_for,
    is_gguf,
    require,
)
from langchain_wrap.models.transformers_sampling import PARAMETERS, Sampling, effective
from langchain_wrap.models.transformers_stream import stream

if TYPE_CHECKING:
    from langchain_wrap.models.transformers_completion import Completion
    from langchain_wrap.models.transformers_engine import Engine


class Transformers(Sampling, LLM):
    """A model of Hugging Face's transformers: `pip install 'langchain-wrap[transformers]'`.

    Prompts that are there together are computed together, padded on the left, sorted by length;
    with temperature 0, and with a seed as well, a prompt gets the same text as alone (but for
    what depends on the last bits of probabilities). A stream is decoded token by token. A
    completion never contains the prompt. Calls stop at the next token when they are cancelled.
    The weights are loaded on first use, once per process for all objects with the same model and
    settings, and freed with the last of these.

    Documentation of the parameters:
    https://huggingface.co/docs/transformers/main_classes/text_generation

    Example:
        ```python
        from langchain_wrap.models import Transformers

        llm = Transformers(model="HuggingFaceTB/SmolLM2-135M", temperature=0, max_new_tokens=12)
        llm.batch(["The capital of France is", "Water boils at"])
        ```

    Raises:
        MissingExtraError: transformers or torch is not installed, or gguf for a GGUF file.
        FileNotFoundError, ValueError: `model` is none that can complete text.
        ContextOverflowError: A prompt is longer than the model's context.
    """

    model: Any = None
    """A folder, a `.gguf` file (it is dequantised), "smollm2", a name on the Hugging Face Hub, or
    a loaded `PreTrainedModel`."""

    tokenizer: Any = None
    """A name or folder, or a loaded tokenizer. None: the model's own."""

    pipeline: Any = None
    """An existing text-generation pipeline, in place of `model` and `tokenizer`."""

    device: str | None = None
    """Where the model is put: `cpu`, `cuda:0`, `mps`, …; `auto`: spread over what there is.

    None: where it is, or the CPU.
    """

    dtype: str | None = None
    """The type of the weights, such as `bfloat16`. None: as they are stored."""

    revision: str | None = None
    """The branch, tag or commit on the Hub."""

    max_batch_size: int | None = Field(default=32, ge=1)
    """How many prompts are computed together at most."""

    max_batch_tokens: int = Field(default=16_384, ge=1)
    """How many tokens are computed together at most, padding and completions included."""

    _held: Held[Engine] = PrivateAttr(default_factory=Held)

    def _batch(
        self,
        prompts: list[str],
        stop: list[str] | None = None,
        cancel: CancelToken | None = None,
        **params: Any,
    ) -> list[Generation]:
        parameters = effective(self, params)
        engine = self._engine()
        completions = complete(
            engine,
            [engine.encode(prompt) for prompt in prompts],
            parameters,
            stop=stop or (),
            most_tokens=self.max_batch_tokens,
            cancelled=lambda: cancel is not None and cancel.cancelled,
        )
        return [Generation(text=one.text, generation_info=self._facts(one)) for one in completions]

    def _stream(  # type: ignore[override]
        self, prompt: str, stop: list[str] | None = None, **params: Any
    ) -> Iterator[GenerationChunk]:
        # Stops are left to the pipeline, which closes this generator where one is complete.
        parameters = effective(self, params)
        engine = self._engine()
        completion = engine.begin(engine.encode(prompt))
        for step in stream(engine, completion, parameters):
            if step.text:
                info = {"model_name": self._model_name, "token_usage": step.usage}
                yield GenerationChunk(text=step.text, generation_info=info)
        yield GenerationChunk(text="", generation_info=self._facts(completion))

    def _tokenize(self, text: str) -> list[int]:
        return self._engine().tokenize(text)

    def _chat_template(self) -> str | None:
        """Return the tokenizer's own chat template, in Jinja; None if it has none."""
        found = getattr(self._engine().tokenizer, "chat_template", None)
        if isinstance(found, dict):  # several by name
            found = found.get("default")
        return found or None

    def _special_tokens(self) -> dict[str, str]:
        """Return the texts of `bos_token`, `eos_token` and others that the tokenizer has."""
        found = self._engine().tokenizer.special_tokens_map
        return {name: str(text) for name, text in found.items() if not isinstance(text, list)}

    @property
    def _llm_type(self) -> str:
        return "transformers"

    @property
    def _identifying_params(self) -> Mapping[str, Any]:
        params = {**super()._identifying_params, "model_name": self._model_name}
        if isinstance(self.model, str) and is_gguf(self.model):
            params["model_file"] = weights.fingerprint(self.model)
        elif isinstance(self.model, str) and (files := weights.stamp(self.model)) is not None:
            params["model_file"] = str(files)
        return params

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> LangSmithParams:
        # langchain-core takes the name of the field `model`, which may be a loaded model.
        told = super()._get_ls_params(stop=stop, **kwargs)
        return LangSmithParams(**{**told, "ls_model_name": self._model_name})

    @property
    def _model_name(self) -> str:
        model = self._recipe().model
        if not isinstance(model, str):
            return str(getattr(model.config, "_name_or_path", "") or type(model).__name__)
        return weights.model_name(model) if model == weights.DEFAULT else model

    def _facts(self, completion: Completion) -> dict[str, Any]:
        return {
            "finish_reason": completion.finish_reason,
            "token_usage": completion.usage,
            "model_name": self._model_name,
        }

    def _recipe(self) -> Recipe:
        if self.pipeline is not None:
            return Recipe(self.pipeline.model, self.pipeline.tokenizer)
        return Recipe(self.model, self.tokenizer, self.device, self.dtype, self.revision)

    def _engine(self) -> Engine:
        """Return the engine, loaded now if it is the first use in this process."""
        held = self._hold()
        if held.engine is None:
            held.engine = engine_for(held.named)
        return held.engine

    def _hold(self) -> Held[Engine]:
        """Take part in what is loaded for the fields as they are now."""
        recipe = self._recipe()
        if self._held.named is None or not self._held.named.same(recipe):
            self._held = hold((Transformers, recipe.key), recipe)
        return self._held

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> Self:
        memo = {} if memo is None else memo
        for loaded in (self.model, self.tokenizer, self.pipeline):
            memo[id(loaded)] = loaded  # gigabytes, which are only read
        return super().__deepcopy__(memo)

    @field_validator("model", "tokenizer", mode="before")
    @classmethod
    def _check_path_type(cls, value: Any) -> Any:
        return os.fspath(value) if isinstance(value, os.PathLike) else value

    @field_validator("device", "dtype", mode="before")
    @classmethod
    def _check_torch_type(cls, value: Any) -> Any:
        if (
            type(value).__module__.partition(".")[0] == "torch"
        ):  # torch.bfloat16, torch.device("cpu")
            return str(value)
        return value

    @field_validator("dtype")
    @classmethod
    def _check_dtype(cls, value: str | None) -> str | None:
        name = value if value is None else value.removeprefix("torch.")
        if name is not None and name not in DTYPES:
            raise ValueError(
                f"there is no dtype {value!r} to load weights as.{did_you_mean(name, DTYPES)} "
                f"There is: {', '.join(DTYPES)}"
            )
        return name

    @model_validator(mode="after")
    def _check_source(self) -> Self:
        require(self.model)
        if (self.pipeline is None) == (self.model is None):
            raise ValueError("give either model or pipeline, and just one of them")
        if self.pipeline is not None:
            self._check_pipeline()
        elif isinstance(self.model, str):
            check(self.model)
            if self.revision and is_gguf(self.model):
                raise ValueError("revision does not apply to a GGUF file")
        else:
            self._check_model()
        self._hold()
        return self

    def _check_pipeline(self) -> None:
        for name in ("tokenizer", "device", "dtype", "revision"):
            if getattr(self, name) is not None:
                raise ValueError(f"{name} is the pipeline's own: leave it out, or give a model")
        if getattr(self.pipeline, "tokenizer", None) is None:
            raise ValueError(
                "pipeline must be a text-generation pipeline with a tokenizer: "
                "transformers.pipeline('text-generation', ...)"
            )
        check_loaded(self.pipeline.model)
        told = getattr(self.pipeline, "_generate_kwargs", {})
        told = {**told, **getattr(self.pipeline, "_forward_params", {})}
        for name in told:
            if name in PARAMETERS and name not in self.model_fields_set:
                raise ValueError(
                    f"the pipeline was made with {name}={told[name]!r}, which holds for calls of "
                    f"the pipeline itself: give it here as well, Transformers(pipeline=..., "
                    f"{name}=...)"
                )

    def _check_model(self) -> None:
        if self.tokenizer is None:
            raise ValueError("a loaded model needs its tokenizer: give tokenizer as well")
        for name in ("dtype", "revision"):
            if getattr(self, name) is not None:
                raise ValueError(f"{name} says how to load a model, and this one is loaded")
        check_loaded(self.model)
