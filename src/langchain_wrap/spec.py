"""SPEC: how the command line names a model, and how that becomes an object."""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel
    from langchain_core.language_models.llms import BaseLLM

FORMS = (
    "give provider:model, such as llama-cpp:smollm2, ollama:llama3 or command:./main, or "
    "pkg.module:object"
)


class SpecError(Exception):
    """SPEC does not lead to a model; the message says why and what to do."""


def split_spec(spec: str) -> tuple[str, str]:
    """Return what stands before and after the colon.

    Raises:
        ValueError: `spec` has no colon, or nothing on one side of it, or is a mere URL.
    """
    kind, _, target = spec.partition(":")
    if not kind or not target:
        raise ValueError(f"{spec!r} names no model; {FORMS}")
    if kind in ("http", "https") and target.startswith("//"):
        url = url_shown(spec)
        raise ValueError(
            f"{url!r} is a URL: say before it what is there, such as http+openai:{url}, "
            "http+llama-server:, http+tgi:, http+ollama: or http:"
        )
    return kind, target


def url_shown(url: str) -> str:
    """Return what may be shown of a URL, also of one that is none: no user, password or query."""
    scheme, _, rest = url.partition("://")
    place = rest.rpartition("@")[2]
    return f"{scheme}://{re.split('[?#]', place)[0]}"


def load(
    kind: str, target: str, parameters: Mapping[str, Any], *, chat: bool = False
) -> tuple[Any, dict[str, Any]]:
    """Return the model that SPEC names, and the parameters that remain for the call.

    A provider's model and a class are made here, so parameters that are fields are set on the
    object.

    Args:
        kind: What stands before the colon of SPEC.
        target: What stands behind it.
        parameters: Fields of the model, and parameters of the call.
        chat: Whether a chat model will do as well as an LLM.

    Raises:
        SpecError: SPEC leads to nothing that is a model.
    """
    from langchain_wrap.models import providers

    provider = providers.find(kind)
    if provider is not None:
        is_field = providers.fields(kind, provider)
        fields = {name: value for name, value in parameters.items() if is_field(name)}
        rest = {name: value for name, value in parameters.items() if name not in fields}
        return providers.make(kind, provider, target, fields), rest
    if "" not in sys.path:
        sys.path.insert(0, "")  # the current directory, as `python -m` has it
    thing = imported(kind, target)
    from langchain_core.language_models import BaseChatModel
    from langchain_core.language_models.llms import BaseLLM
    from langchain_core.runnables import Runnable

    kinds = (BaseLLM, BaseChatModel) if chat else (BaseLLM,)
    if isinstance(thing, type) and issubclass(thing, kinds):
        return _instance(thing, parameters)
    if isinstance(thing, kinds):
        return thing, dict(parameters)
    if isinstance(thing, Runnable):
        raise SpecError(
            f"{kind}:{target} is a {type(thing).__name__}, which is no LLM; name the LLM itself"
        )
    from langchain_wrap import wrap

    try:
        return wrap(thing), dict(parameters)
    except TypeError as error:
        raise SpecError(f"{kind}:{target} is no model: {error}") from error


def _instance(
    cls: type[BaseLLM] | type[BaseChatModel], parameters: Mapping[str, Any]
) -> tuple[Any, dict[str, Any]]:
    fields = {name: value for name, value in parameters.items() if name in cls.model_fields}
    rest = {name: value for name, value in parameters.items() if name not in fields}
    return cls(**fields), rest


def imported(module_name: str, path: str) -> Any:
    """Return what `pkg.module:object` names.

    Raises:
        SpecError: There is none, or it cannot be imported.
    """
    try:
        thing: Any = importlib.import_module(module_name)
    except ImportError as error:
        if error.name and (module_name == error.name or module_name.startswith(error.name + ".")):
            raise SpecError(_no_module(module_name, error.name)) from error
        raise SpecError(f"importing {module_name} failed: {one_line(error)}") from error
    except (Exception, SystemExit) as error:  # a script that runs when it is imported may exit
        raise SpecError(f"importing {module_name} failed: {one_line(error)}") from error
    where = f"module {module_name}"
    for name in path.split("."):
        if not hasattr(thing, name):
            from langchain_wrap.errors import did_you_mean

            names = [known for known in dir(thing) if not known.startswith("_")]
            raise SpecError(f"{where} has no {name!r}.{did_you_mean(name, names)}")
        thing = getattr(thing, name)
        where = f"{where}:{name}" if ":" not in where else f"{where}.{name}"
    return thing


def _no_module(module_name: str, missing: str) -> str:
    if "." in module_name:
        return f"there is no module {missing!r}; {FORMS}"
    from langchain_wrap.errors import did_you_mean
    from langchain_wrap.models import providers

    names = providers.names()
    return (
        f"there is no provider and no module {missing!r}.{did_you_mean(missing, names)} "
        f"Providers: {', '.join(names)}; or give pkg.module:object"
    )


def one_line(error: BaseException) -> str:
    """Return what an error says, in one line."""
    if isinstance(error, SpecError | ImportError):
        return " ".join(str(error).split())
    texts = [str(error)]
    if type(error).__name__ == "ValidationError" and hasattr(error, "errors"):
        details = error.errors()  # pydantic's own text has a line for each and a link
        texts = [f"{'.'.join(map(str, one['loc'])) or 'model'}: {one['msg']}" for one in details]
    return " ".join(f"{type(error).__name__}: {'; '.join(texts)}".split())
