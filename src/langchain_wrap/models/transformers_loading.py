"""Loading: from what a user names as model and tokenizer to an engine, one copy per process."""

from __future__ import annotations

import importlib.util
import os
import re
import sys
import threading
import time
import traceback
import weakref
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from langchain_wrap.errors import MissingExtraError
from langchain_wrap.models import weights

if TYPE_CHECKING:
    from langchain_wrap.models.transformers_engine import Engine

DTYPES = ("auto", "float16", "bfloat16", "float32", "float64")
"""Types that weights can be loaded as; `auto`: as they are stored."""

_SAME = 1.0
"""Seconds for which a load that has failed is not tried again."""

_NAME = re.compile(r"[\w-][\w.-]*(/[\w-][\w.-]*)?")
"""A name on the Hugging Face Hub."""


@dataclass(frozen=True, slots=True, eq=False)
class Recipe:
    """What an engine is made from."""

    model: Any
    tokenizer: Any
    device: str | None = None
    dtype: str | None = None
    revision: str | None = None

    def same(self, other: Recipe) -> bool:
        """Whether the same things were named; whether their files have changed is not looked at."""
        return all(
            one is two or (isinstance(one, str) and one == two)
            for one, two in zip(self._parts, other._parts, strict=True)
        )

    @property
    def _parts(self) -> tuple[Any, ...]:
        return (self.model, self.tokenizer, self.device, self.dtype, self.revision)

    @property
    def key(self) -> tuple[Any, ...]:
        """Equal for recipes that give the same engine.

        A loaded object counts by its identity. Its engine holds it, so its id is not given to
        another while there is an engine under this key.
        """
        named = [one if isinstance(one, str) else id(one) for one in (self.model, self.tokenizer)]
        stamps = [
            weights.stamp(one) for one in (self.model, self.tokenizer) if isinstance(one, str)
        ]
        return (*named, *stamps, self.device, self.dtype, self.revision)


def require(model: object) -> None:
    """Say what is missing to run a model, without importing it.

    Raises:
        MissingExtraError: A package of the extra `transformers` is not installed.
    """
    needed = ["torch", "transformers"]
    if isinstance(model, str) and is_gguf(model):
        needed += ["gguf", "accelerate"]
    for package in needed:
        if not _is_there(package):
            raise MissingExtraError("Transformers", "transformers") from ModuleNotFoundError(
                f"No module named {package!r}", name=package
            )


def check(model: str) -> None:
    """Say what is wrong with a model's name as far as that is known without loading anything.

    Raises:
        FileNotFoundError: There is no such file or folder.
        ValueError: It is no GGUF file, or neither a path nor a name on the Hub.
    """
    if is_gguf(model):
        weights.check(model)
    elif not (model and Path(model).expanduser().exists()) and not _NAME.fullmatch(model):
        raise FileNotFoundError(
            f"model {model!r}: there is no such file or folder. Give a folder with a model, a "
            f".gguf file, {weights.DEFAULT!r} for a small one, or a name on the Hugging Face Hub: "
            "org/name"
        )


def check_loaded(model: Any) -> None:
    """Say why a loaded model cannot complete text.

    Raises:
        ValueError: It is an encoder-decoder model, or none that generates.
    """
    if getattr(getattr(model, "config", None), "is_encoder_decoder", False):
        raise ValueError(_encoder_decoder(type(model).__name__))
    if not hasattr(model, "generate") or not getattr(model, "can_generate", lambda: True)():
        raise ValueError(
            f"{type(model).__name__} does not generate text: give a model with a language "
            "modelling head, such as AutoModelForCausalLM.from_pretrained(...)"
        )


def engine_for(recipe: Recipe) -> Engine:
    """Return the engine of a recipe, loaded now if it is the first use in this process.

    Raises:
        MissingExtraError: A package of the extra `transformers` is not installed.
        ValueError: The device, the model or the tokenizer cannot be used.
    """
    key = recipe.key
    with _registry_lock:
        lock = _loading.setdefault(key, threading.Lock())
    with lock:
        engine = _engines.get(key)
        if engine is None:
            engine = _engines[key] = _tried(key, recipe)
        return engine


def _tried(key: tuple[Any, ...], recipe: Recipe) -> Engine:
    """Load; who asks again just after that has failed is told the same.

    It is asked again at once: by those who have waited meanwhile, and by the pipeline, which halves
    a list that fails to find the prompt that is to blame. Asking an absent Hub takes half a minute.
    """
    failed = _failed.get(key)
    if failed is not None and time.monotonic() < failed[0] + _SAME:
        raise failed[1].with_traceback(failed[2])
    try:
        engine = _load(recipe)
    except Exception as error:
        traceback.clear_frames(error.__traceback__)  # they hold what was loaded so far
        _failed[key] = time.monotonic(), error, error.__traceback__
        raise
    _failed.pop(key, None)
    return engine


def _load(recipe: Recipe) -> Engine:
    require(recipe.model)
    from langchain_wrap.models.transformers_engine import Engine

    device = recipe.device
    if device is not None and device != "auto":
        _check_device(device)
    model, tokenizer = recipe.model, recipe.tokenizer
    options = {"revision": recipe.revision} if recipe.revision else {}
    if isinstance(model, str):
        where, options = _source(model, options)
        if tokenizer is None:
            tokenizer = _tokenizer(model, where, options)
        model = _model(model, where, options, recipe)
    if isinstance(tokenizer, str):
        tokenizer = _tokenizer(tokenizer, str(Path(tokenizer).expanduser()), {})
    if device is not None and device != "auto" and str(model.device) != device:
        model = model.to(device)
    return Engine(model.eval(), tokenizer)


def _source(model: str, options: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """Return what transformers loads from, and how.

    Raises:
        ValueError: It is an encoder-decoder model.
    """
    if is_gguf(model):
        path = weights.resolve(model)
        return str(path.parent), {**options, "gguf_file": path.name}
    path = Path(model).expanduser()
    where = str(path) if path.exists() else model
    from transformers import AutoConfig

    try:
        config = AutoConfig.from_pretrained(where, **options)
    except OSError as error:
        raise OSError(f"the model {model!r} cannot be loaded: {error}") from error
    if getattr(config, "is_encoder_decoder", False):
        raise ValueError(_encoder_decoder(model))
    return where, options


def _model(name: str, where: str, options: Mapping[str, Any], recipe: Recipe) -> Any:
    from transformers import AutoModelForCausalLM

    more: dict[str, Any] = {"dtype": recipe.dtype} if recipe.dtype else {}
    if recipe.device == "auto":
        more["device_map"] = "auto"
    model = AutoModelForCausalLM.from_pretrained(where, **options, **more)
    check_loaded(model)
    return model


def _tokenizer(name: str, where: str, options: Mapping[str, Any]) -> Any:
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(where, **options)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{name!r}: no tokenizer can be loaded from there ({error}). Give one: "
            "Transformers(model=..., tokenizer=...), a name, a folder or a loaded tokenizer"
        ) from error


def _check_device(device: str) -> None:
    import torch

    try:
        if torch.device(device).type == "meta":
            raise RuntimeError("it holds no numbers")
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError, ImportError) as error:
        here = ["cpu", *(f"cuda:{number}" for number in range(torch.cuda.device_count()))]
        if torch.backends.mps.is_available():
            here.append("mps")
        reason = str(error).splitlines()[0]
        raise ValueError(
            f"device={device!r} cannot be used ({reason}). There is here: {', '.join(here)}; "
            "'auto' spreads a model over what there is"
        ) from error


def _encoder_decoder(name: str) -> str:
    return (
        f"{name} is an encoder-decoder model, which answers a text and does not continue it; "
        "Transformers takes decoder-only ones. Put it behind wrap: "
        "wrap(lambda prompts: [...], batch=True)"
    )


def is_gguf(model: str) -> bool:
    """Whether a model is named by its GGUF file."""
    return model == weights.DEFAULT or model.lower().endswith(".gguf")


def _is_there(package: str) -> bool:
    try:
        return package in sys.modules or importlib.util.find_spec(package) is not None
    except (ImportError, ValueError):
        return False


_engines: weakref.WeakValueDictionary[tuple[Any, ...], Engine] = weakref.WeakValueDictionary()
_loading: dict[tuple[Any, ...], threading.Lock] = {}
_failed: dict[tuple[Any, ...], tuple[float, Exception, TracebackType | None]] = {}
_registry_lock = threading.Lock()


def _after_fork() -> None:
    global _registry_lock
    _registry_lock = threading.Lock()
    _loading.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
