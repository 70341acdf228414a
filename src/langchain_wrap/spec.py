"""SPEC: how the command line names a model, and how that becomes an object."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from langchain_core.language_models.llms import BaseLLM

FORMS = "give llama-cpp:PATH (a .gguf file, or smollm2), or pkg.module:object"


class SpecError(Exception):
    """SPEC does not lead to a model; the message says why and what to do."""


def split_spec(spec: str) -> tuple[str, str]:
    """Return what stands before and after the colon.

    Raises:
        ValueError: `spec` has no colon, or nothing on one side of it.
    """
    kind, _, target = spec.partition(":")
    if not kind or not target:
        raise ValueError(f"{spec!r} names no model; {FORMS}")
    return kind, target


def load(kind: str, target: str, parameters: Mapping[str, Any]) -> tuple[BaseLLM, dict[str, Any]]:
    """Return the model that SPEC names, and the parameters that remain for the call.

    A class is instantiated here, so parameters that are fields of it are set on the object.

    Raises:
        SpecError: SPEC leads to nothing that is a model.
    """
    if kind == "llama-cpp":
        from langchain_wrap.models import LlamaCpp

        return _instance(LlamaCpp, {"model_path": target}, parameters)
    thing = _imported(kind, target)
    from langchain_core.language_models.llms import BaseLLM
    from langchain_core.runnables import Runnable

    if isinstance(thing, type) and issubclass(thing, BaseLLM):
        return _instance(thing, {}, parameters)
    if isinstance(thing, BaseLLM):
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
    cls: type[BaseLLM], fixed: dict[str, Any], parameters: Mapping[str, Any]
) -> tuple[BaseLLM, dict[str, Any]]:
    fields = {name: value for name, value in parameters.items() if name in cls.model_fields}
    rest = {name: value for name, value in parameters.items() if name not in fields}
    return cls(**fixed, **fields), rest


def _imported(module_name: str, path: str) -> Any:
    if "" not in sys.path:
        sys.path.insert(0, "")  # the current directory, as `python -m` has it
    try:
        thing: Any = importlib.import_module(module_name)
    except ImportError as error:
        if error.name and (module_name == error.name or module_name.startswith(error.name + ".")):
            raise SpecError(
                f"there is no module {error.name!r}, neither in the current directory nor "
                f"installed; {FORMS}"
            ) from error
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


def one_line(error: BaseException) -> str:
    """Return what an error says, in one line."""
    if isinstance(error, SpecError | ImportError):
        return " ".join(str(error).split())
    texts = [str(error)]
    if type(error).__name__ == "ValidationError" and hasattr(error, "errors"):
        details = error.errors()  # pydantic's own text has a line for each and a link
        texts = [f"{'.'.join(map(str, one['loc'])) or 'model'}: {one['msg']}" for one in details]
    return " ".join(f"{type(error).__name__}: {'; '.join(texts)}".split())
