"""Providers: what stands before the colon in `init_llm("provider:model")`."""

from __future__ import annotations

import inspect
import os
import shlex
from collections.abc import Callable
from importlib.metadata import EntryPoint, entry_points
from typing import Any
from urllib.parse import urlsplit

from langchain_core.language_models.llms import BaseLLM
from pydantic import AliasChoices, BaseModel

from langchain_wrap import models
from langchain_wrap.spec import url_shown

GROUP = "langchain_wrap.models"
"""The entry-point group in which an installed package names providers of its own.

An entry is what is called as `provider(model=..., **fields)` and returns an LLM: a function, or a
class of LLMs that has a field `model`.
"""

Provider = Callable[..., BaseLLM]


def llama_cpp(model: str, **fields: Any) -> BaseLLM:
    """`llama-cpp:PATH`: a GGUF file, or `smollm2`."""
    return models.LlamaCpp(model_path=model, **fields)


def transformers(model: str, **fields: Any) -> BaseLLM:
    """`transformers:NAME`: a folder, a GGUF file, or a name on the Hugging Face Hub."""
    return models.Transformers(model=model, **fields)


def command(model: str, **fields: Any) -> BaseLLM:
    """`command:LINE`: a program and its arguments, split as a POSIX shell would."""
    try:
        arguments = shlex.split(model)
    except ValueError as error:
        raise ValueError(f"{model!r} cannot be split into arguments: {error}") from None
    return models.Command(arguments, **fields)


def http(model: str, **fields: Any) -> BaseLLM:
    """`http:URL#MODEL`: an endpoint whose body and answer are declared in fields."""
    url, name = _parted(model)
    return models.HTTPEndpoint(url, model=name, **fields)


def http_openai(model: str, **fields: Any) -> BaseLLM:
    """`http+openai:BASE_URL#MODEL`: an OpenAI-compatible server."""
    url, name = _parted(model)
    return models.HTTPEndpoint.openai(url, name, **fields)


def http_ollama(model: str, **fields: Any) -> BaseLLM:
    """`http+ollama:BASE_URL#MODEL`: an Ollama server."""
    url, name = _parted(model)
    if name is None:
        shown = url_shown(url)
        raise ValueError(f"{shown!r} names no model: add it after #, as in {shown}#llama3")
    return models.HTTPEndpoint.ollama(url, name, **fields)


def http_llama_server(model: str, **fields: Any) -> BaseLLM:
    """`http+llama-server:BASE_URL`: llama.cpp's server."""
    return models.HTTPEndpoint.llama_server(model, **fields)


def http_tgi(model: str, **fields: Any) -> BaseLLM:
    """`http+tgi:BASE_URL`: Text Generation Inference."""
    return models.HTTPEndpoint.tgi(model, **fields)


def ollama(model: str, *, base_url: str | None = None, **fields: Any) -> BaseLLM:
    """`ollama:MODEL`: the Ollama server at `base_url`, else in `OLLAMA_HOST`, else here."""
    return models.HTTPEndpoint.ollama(base_url or _ollama_host(), model, **fields)


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
_CLASSES = {"llama-cpp": "LlamaCpp", "transformers": "Transformers", "command": "Command"}


def names() -> list[str]:
    """Return the names of all providers: the built-in ones, then those of installed packages."""
    return [*BUILT_IN, *sorted({e.name for e in entry_points(group=GROUP)} - set(BUILT_IN))]


def find(name: str) -> Provider | None:
    """Return a provider by its name; None where there is none.

    A built-in name is not replaced by a package's.

    Raises:
        ImportError: A package names the provider, and it cannot be imported.
        ValueError: Several packages name it.
    """
    if name in BUILT_IN:
        return BUILT_IN[name]
    found = {entry.value: entry for entry in entry_points(group=GROUP, name=name)}
    if not found:
        return None
    if len(found) > 1:
        described = ", ".join(map(_described, found.values()))
        raise ValueError(f"several packages have a provider {name!r}: {described}")
    return _loaded(*found.values())


def make(name: str, provider: Provider, model: str, fields: dict[str, Any]) -> BaseLLM:
    """Return a provider's model.

    Raises:
        TypeError: It gives no LLM.
    """
    llm = provider(model=model, **fields)
    if not isinstance(llm, BaseLLM):
        raise TypeError(f"the provider {name!r} gave a {type(llm).__name__}, which is no LLM")
    return llm


def fields(name: str, provider: Provider) -> Callable[[str], bool]:
    """Return what tells the fields of a provider's models from parameters of their calls.

    For a package's function with `**fields` these are the fields of the class that it says it
    returns; where it says nothing, everything is held for a field. `model` is none: it is what
    stands after the colon.
    """
    parameters = inspect.signature(provider).parameters.values()
    own = {p.name for p in parameters if p.kind is not p.VAR_KEYWORD}
    made: Any = provider
    if name in BUILT_IN:
        made = getattr(models, _CLASSES.get(name, "HTTPEndpoint"))
    elif not isinstance(provider, type):
        if len(own) == len(parameters):
            return (own - {"model"}).__contains__
        made = _returned(provider)
    if not (isinstance(made, type) and issubclass(made, BaseModel)):
        return "model".__ne__
    return ((own | _names_of_fields(made)) - {"model"}).__contains__


def _returned(provider: Provider) -> Any:
    """Return what a function says that it returns; None where it does not."""
    try:
        return inspect.get_annotations(provider, eval_str=True).get("return")
    except (NameError, TypeError):  # a name that only type checkers know, or no function
        return None


def _names_of_fields(cls: type[BaseModel]) -> set[str]:
    aliases = [field.validation_alias for field in cls.model_fields.values()]
    choices = (alias.choices for alias in aliases if isinstance(alias, AliasChoices))
    return {*cls.model_fields, *(str(one) for several in choices for one in several)}


def _loaded(entry: EntryPoint) -> Provider:
    try:
        provider: Provider = entry.load()
    except (ImportError, AttributeError) as error:
        raise ImportError(
            f"the provider {entry.name!r} cannot be imported from {_described(entry)}: {error}",
            name=getattr(error, "name", None),
        ) from error
    return provider


def _described(entry: EntryPoint) -> str:
    package = f" of the package {entry.dist.name}" if entry.dist is not None else ""
    return f"{entry.value}{package}"


def _parted(model: str) -> tuple[str, str | None]:
    """Return the URL and, where it is named, the model."""
    url, _, name = model.partition("#")
    return url, name or None


def _ollama_host() -> str:
    """Return the base URL that `OLLAMA_HOST` stands for, as Ollama's own clients read it."""
    given = os.environ.get("OLLAMA_HOST", "").strip().rstrip("/")
    whole = given if "://" in given else f"http://{given}"
    try:
        parts = urlsplit(whole)
        port = parts.port
    except ValueError:
        raise ValueError(
            "OLLAMA_HOST is not the host, or host:port, of a server; an IPv6 address is written in "
            "brackets"
        ) from None
    user, at, host = parts.netloc.rpartition("@")
    name = host.removesuffix(f":{port}").rstrip(":") or "127.0.0.1"
    if port is None and "://" not in given:
        port = 11434
    return f"{parts.scheme}://{user}{at}{name}{'' if port is None else f':{port}'}{parts.path}"
