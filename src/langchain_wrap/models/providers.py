"""Providers: what stands before the colon in `init_llm("provider:model")`."""

from __future__ import annotations

import inspect
import os
import shlex
from collections.abc import Callable
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from langchain_core.language_models.llms import BaseLLM

from langchain_wrap import models

GROUP = "langchain_wrap.models"
"""The entry-point group in which an installed package names providers of its own.

An entry is a callable: `provider(model: str, **fields) -> BaseLLM`.
"""

Provider = Callable[..., BaseLLM]


def llama_cpp(model: str, **fields: Any) -> BaseLLM:
    """`llama-cpp:PATH`: a GGUF file, or `smollm2`."""
    return models.LlamaCpp(model_path=model, **fields)


def transformers(model: str, **fields: Any) -> BaseLLM:
    """`transformers:NAME`: a folder, a GGUF file, or a name on the Hugging Face Hub."""
    return models.Transformers(model=model, **fields)


def command(model: str, **fields: Any) -> BaseLLM:
    """`command:LINE`: a program and its arguments, split as a shell would."""
    return models.Command(shlex.split(model), **fields)


def http(model: str, **fields: Any) -> BaseLLM:
    """`http:URL`: an endpoint whose body and answer are declared in fields."""
    return models.HTTPEndpoint(model, **fields)


def http_openai(model: str, **fields: Any) -> BaseLLM:
    """`http+openai:BASE_URL#MODEL`: an OpenAI-compatible server."""
    url, name = _parted(model)
    return models.HTTPEndpoint.openai(url, **{"model": name, **fields})


def http_ollama(model: str, **fields: Any) -> BaseLLM:
    """`http+ollama:BASE_URL#MODEL`: an Ollama server."""
    url, name = _parted(model)
    if name is None and "model" not in fields:
        raise ValueError(f"{model!r} names no model: add it after #, as in {url}#llama3")
    return models.HTTPEndpoint.ollama(url, **{"model": name, **fields})


def http_llama_server(model: str, **fields: Any) -> BaseLLM:
    """`http+llama-server:BASE_URL`: llama.cpp's server."""
    return models.HTTPEndpoint.llama_server(model, **fields)


def http_tgi(model: str, **fields: Any) -> BaseLLM:
    """`http+tgi:BASE_URL`: Text Generation Inference."""
    return models.HTTPEndpoint.tgi(model, **fields)


def ollama(model: str, **fields: Any) -> BaseLLM:
    """`ollama:MODEL`: the Ollama server of this machine, or that in `OLLAMA_HOST`."""
    host = os.environ.get("OLLAMA_HOST") or "http://localhost:11434"
    return models.HTTPEndpoint.ollama(
        fields.pop("base_url", host if "://" in host else f"http://{host}"), model, **fields
    )


BUILT_IN: dict[str, Provider] = {
    "llama-cpp": llama_cpp,
    "transformers": transformers,
    "command": command,
    "http": http,
    "http+openai": http_openai,
    "http+ollama": http_ollama,
    "http+llama-server": http_llama_server,
    "http+tgi": http_tgi,
    "ollama": ollama,
}


@cache
def plugins() -> dict[str, EntryPoint]:
    """Return the providers of installed packages, by name; a built-in name is not replaced."""
    return {e.name: e for e in entry_points(group=GROUP) if e.name not in BUILT_IN}


def names() -> list[str]:
    """Return the names of all providers."""
    return [*BUILT_IN, *sorted(plugins())]


def find(name: str) -> Provider | None:
    """Return a provider by its name; None where there is none."""
    if name in BUILT_IN:
        return BUILT_IN[name]
    entry = plugins().get(name)
    return None if entry is None else entry.load()


def fields(name: str) -> Callable[[str], bool]:
    """Return what tells the fields of a provider's models from parameters of their calls."""
    homes = {"llama-cpp": "LlamaCpp", "transformers": "Transformers", "command": "Command"}
    if name in BUILT_IN:
        cls = getattr(models, homes.get(name, "HTTPEndpoint"))
        return set(cls.model_fields).__contains__
    provider = find(name)
    own = getattr(provider, "model_fields", None)
    if own is not None:
        return set(own).__contains__
    parameters = inspect.signature(provider).parameters if provider is not None else {}
    if any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values()):
        return lambda field: True
    return set(parameters).__contains__


def _parted(model: str) -> tuple[str, str | None]:
    url, _, name = model.partition("#")
    return url, name or None
