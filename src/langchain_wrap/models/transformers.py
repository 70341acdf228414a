"""`Transformers`: a model of Hugging Face's transformers, run inside this process."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Self

from langchain_core.outputs import Generation, GenerationChunk
from pydantic import Field, PrivateAttr, model_validator

from langchain_wrap import LLM, CancelToken
from langchain_wrap.errors import did_you_mean
from langchain_wrap.models import weights
from langchain_wrap.models.detokenizer import Detokenizer
from langchain_wrap.models.transformers_engine import Completion, Engine


class _Loaded:
    """The engine that an object uses; a pickle of the object loads its own."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.engine: Engine | None = None
        self.key: Any = None

    def __reduce__(self) -> tuple[type[_Loaded], tuple[()]]:
        return _Loaded, ()


class Transformers(LLM):
    """A model of Hugging Face's transformers: `pip install 'langchain-wrap[transformers]'`.

    Prompts that are there together are computed together, padded on the left, sorted by length;
    with temperature 0, and with a seed as well, a prompt gets the same text as alone (but for
    what depends on the last bits of probabilities). A stream is decoded token by token. A
    completion never contains the prompt. Calls stop at the next token when they are cancelled.

    Documentation of the parameters:
    https://huggingface.co/docs/transformers/main_classes/text_generation

    Example:
        ```python
        from langchain_wrap.models import Transformers

        llm = Transformers(model="HuggingFaceTB/SmolLM2-135M", temperature=0, max_new_tokens=12)
        llm.batch(["The capital of France is", "Water boils at"])
        ```

    Raises:
        MissingExtraError: transformers or torch is not installed.
        ContextOverflowError: A prompt is longer than the model's context.
    """

    model: Any = None
    """A name on the Hugging Face Hub, a folder, a `.gguf` file (it is dequantised), or a loaded
    `PreTrainedModel`."""

    tokenizer: Any = None
    """A name or folder, or a loaded tokenizer. None: the model's own."""

    pipeline: Any = None
    """An existing text-generation pipeline, in place of `model` and `tokenizer`."""

    device: str | None = None
    """Where the model is put: `cpu`, `cuda:0`, `mps`, … None: where it is, or the CPU."""

    dtype: str | None = None
    """The type of the weights, such as `bfloat16`. None: as they are stored."""

    revision: str | None = None
    """The branch, tag or commit on the Hub."""

    max_new_tokens: int = Field(default=256, ge=1)
    """Tokens of a completion at most."""

    temperature: float | None = Field(default=None, ge=0)
    """How freely to draw tokens; 0: always the likeliest. None: as the model's own generation
    config says."""

    top_p: float | None = Field(default=None, gt=0, le=1)
    """Draw only from the likeliest tokens that have this probability together."""

    top_k: int | None = Field(default=None, ge=0)
    """Draw only from so many of the likeliest tokens."""

    min_p: float | None = Field(default=None, ge=0, le=1)
    """Draw only from tokens at least this likely, relative to the likeliest."""

    repetition_penalty: float | None = Field(default=None, gt=0)
    """How much less likely tokens become that were there before; 1: not at all."""

    seed: int | None = None
    """Makes drawing repeatable. None: different each time."""

    generation: dict[str, Any] = Field(default_factory=dict)
    """More parameters of transformers' `GenerationConfig`, by their own names."""

    max_batch_size: int | None = Field(default=32, ge=1)
    """How many prompts are computed together at most."""

    max_batch_tokens: int = Field(default=16_384, ge=1)
    """How many tokens are computed together at most, padding and completions included."""

    _loaded: _Loaded = PrivateAttr(default_factory=_Loaded)

    @property
    def _llm_type(self) -> str:
        return "transformers"

    @property
    def _identifying_params(self) -> Mapping[str, Any]:
        return {**super()._identifying_params, "model_name": self._model_name}

    @property
    def _model_name(self) -> str:
        model = getattr(self.pipeline, "model", self.model)
        if isinstance(model, str):
            return model
        return str(getattr(model.config, "_name_or_path", "") or type(model).__name__)

    def _batch(
        self,
        prompts: list[str],
        stop: list[str] | None = None,
        cancel: CancelToken | None = None,
        **params: Any,
    ) -> list[Generation]:
        parameters = self._parameters(params)
        engine = self._engine()
        encoded = [engine.encode(prompt) for prompt in prompts]
        found: list[Generation | None] = [None] * len(prompts)
        for rows in _together(encoded, self.max_batch_tokens, parameters, engine.context):
            completions = engine.generate(
                [encoded[row] for row in rows],
                parameters,
                stop=stop or (),
                cancelled=lambda: cancel is not None and cancel.cancelled,
            )
            for row, completion in zip(rows, completions, strict=True):
                found[row] = Generation(
                    text=engine.decode(completion.tokens), generation_info=self._facts(completion)
                )
        return [generation for generation in found if generation is not None]

    def _stream(  # type: ignore[override]
        self, prompt: str, stop: list[str] | None = None, **params: Any
    ) -> Iterator[GenerationChunk]:
        # Stops are left to the pipeline, which closes this generator where one is complete.
        parameters = self._parameters(params)
        engine = self._engine()
        encoded = engine.encode(prompt)
        steps: queue.SimpleQueue[int | Completion | BaseException] = queue.SimpleQueue()
        left = threading.Event()

        def work() -> None:
            try:
                (completion,) = engine.generate(
                    [encoded],
                    parameters,
                    cancelled=left.is_set,
                    on_step=lambda tokens: steps.put(tokens[0]),
                )
                steps.put(completion)
            except BaseException as error:
                steps.put(error)

        thread = threading.Thread(target=work, name="transformers-generate", daemon=True)
        thread.start()
        detokenizer = Detokenizer(engine.decode)
        try:
            while isinstance(step := steps.get(), int):
                if piece := detokenizer.feed(step):
                    yield GenerationChunk(text=piece)
            if isinstance(step, BaseException):
                raise step
            yield GenerationChunk(text=detokenizer.finish(), generation_info=self._facts(step))
        finally:
            left.set()
            thread.join()

    def _tokenize(self, text: str) -> list[int]:
        return self._engine().tokenize(text)

    def _facts(self, completion: Completion) -> dict[str, Any]:
        return {
            "finish_reason": completion.finish_reason,
            "token_usage": completion.usage,
            "model_name": self._model_name,
        }

    def _parameters(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Return the parameters of a call.

        Raises:
            TypeError: transformers knows none of that name.
        """
        own = {name: getattr(self, name) for name in _SAMPLING}
        for name in params:
            if name not in _SAMPLING and name not in _known():
                raise TypeError(
                    f"Transformers takes no parameter {name!r}; it takes those of transformers' "
                    f"GenerationConfig.{did_you_mean(name, [*_SAMPLING, *_known()])}"
                )
        return {**own, **self.generation, **params}

    def _engine(self) -> Engine:
        """Return the engine, loaded now if it is the first use."""
        loaded = self._loaded
        key = (
            *(id(self.pipeline), self.model if isinstance(self.model, str) else id(self.model)),
            *(id(self.tokenizer), self.device, self.dtype, self.revision),
        )
        with loaded.lock:
            if loaded.engine is None or loaded.key != key:
                loaded.engine, loaded.key = self._load(), key
            return loaded.engine

    def _load(self) -> Engine:
        if self.pipeline is not None:
            return Engine(self.pipeline.model, self.pipeline.tokenizer)
        from transformers import AutoModelForCausalLM, AutoTokenizer

        model, tokenizer = self.model, self.tokenizer
        options: dict[str, Any] = {"revision": self.revision} if self.revision else {}
        if isinstance(model, str):
            where, more = _source(model)
            if tokenizer is None:
                tokenizer = AutoTokenizer.from_pretrained(where, **options, **more)
            more |= {"dtype": self.dtype} if self.dtype else {}
            model = AutoModelForCausalLM.from_pretrained(where, **options, **more)
        if isinstance(tokenizer, str):
            tokenizer = AutoTokenizer.from_pretrained(tokenizer, **options)
        if self.device:
            model = model.to(self.device)
        return Engine(model.eval(), tokenizer)

    @model_validator(mode="after")
    def _check_source(self) -> Self:
        if (self.pipeline is None) == (self.model is None):
            raise ValueError("give either model or pipeline, and just one of them")
        if self.pipeline is None and not isinstance(self.model, str) and self.tokenizer is None:
            raise ValueError("a loaded model needs its tokenizer: give tokenizer as well")
        for name in self.generation:
            if name not in _known():
                raise ValueError(
                    f"generation names {name!r}, which transformers' GenerationConfig does not "
                    f"have.{did_you_mean(name, _known())}"
                )
        return self


_SAMPLING = (
    "max_new_tokens",
    "temperature",
    "top_p",
    "top_k",
    "min_p",
    "repetition_penalty",
    "seed",
)


def _known() -> frozenset[str]:
    """Return the names of transformers' parameters."""
    from transformers import GenerationConfig

    return frozenset(name for name in vars(GenerationConfig()) if not name.startswith("_"))


def _source(model: str) -> tuple[str, dict[str, Any]]:
    """Return what transformers loads from, and how."""
    if model == weights.DEFAULT or model.endswith(".gguf"):
        path = weights.resolve(model)
        return str(path.parent), {"gguf_file": path.name}
    return str(Path(model).expanduser()) if Path(model).expanduser().exists() else model, {}


def _together(
    encoded: list[list[int]],
    most_tokens: int,
    parameters: Mapping[str, Any],
    context: int | None,
) -> Iterator[list[int]]:
    """Yield the rows that are computed together: of like length, within the bound of tokens."""
    room = int(parameters["max_new_tokens"])
    rows: list[int] = []
    for row in sorted(range(len(encoded)), key=lambda row: len(encoded[row])):
        width = len(encoded[row]) + room
        # Near the end of the context padding would cost a row tokens that it has alone.
        crowded = context is not None and width > context
        if rows and (crowded or width * (len(rows) + 1) > most_tokens):
            yield rows
            rows = []
        rows.append(row)
    if rows:
        yield rows
