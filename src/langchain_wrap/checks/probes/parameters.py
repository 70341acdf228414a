"""Call parameters: which a model may take, and what of it they must not change."""

from __future__ import annotations

import inspect
from typing import Any

from langchain_core.language_models.llms import BaseLLM

from langchain_wrap.checks.probes.fields import declared
from langchain_wrap.checks.probes.paths import PATHS, code
from langchain_wrap.checks.probes.spy import authored
from langchain_wrap.checks.shared import _OURS as _OWN
from langchain_wrap.checks.subject import Subject, describe_error
from langchain_wrap.contract import Contract

UNKNOWN = "checks_unknown_parameter"
"""A parameter that no model knows."""

_COMMON: dict[str, Any] = {"temperature": 0.3, "max_tokens": 7, "top_p": 0.9}
_NOT_OURS = frozenset({"self", "prompt", "prompts", "stop", "run_manager", "cancel", *_OWN})


def candidates(llm: BaseLLM) -> dict[str, Any]:
    """Return parameters that the model may take, with values that are not its defaults."""
    found = dict(_COMMON)
    for name in authored(llm):
        method = llm._method(name) if isinstance(llm, Contract) else getattr(llm, name)
        for parameter in list(inspect.signature(method).parameters.values())[1:]:
            if parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
                found[parameter.name] = _other(parameter.default)
    for name in declared(llm):
        value = getattr(llm, name, None)
        if isinstance(value, int | float):
            found[name] = _other(value)
    return {n: v for n, v in sorted(found.items()) if n not in _NOT_OURS and v is not None}


def _other(value: Any) -> Any:
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + 1
    if isinstance(value, float):
        return value / 2 or 0.5
    return 1 if value in (None, inspect.Parameter.empty) else None


def accepted(model: Subject, llm: BaseLLM) -> dict[str, Any]:
    """Return those of the candidates that a call takes, by calling."""
    wanted = candidates(llm)
    if model.call("invoke", llm=llm, **wanted).error is None:
        return wanted
    few = list(wanted.items())[: model.affordable(len(wanted), least=3)]
    return {n: v for n, v in few if model.call("invoke", llm=llm, **{n: v}).error is None}


def state(llm: BaseLLM) -> dict[str, str]:
    """Return the fields and identifying parameters of a model, as text that can be compared."""
    names = [*type(llm).model_fields, *(llm.__pydantic_extra__ or {})]
    fields = {name: settled(getattr(llm, name, None)) for name in names}
    return {**fields, "_identifying_params": settled(dict(llm._identifying_params))}


def settled(value: Any) -> str:
    """Return a value as text that changes when it changes; objects only count as themselves."""
    if isinstance(value, dict):
        inner = ", ".join(f"{settled(k)}: {settled(v)}" for k, v in value.items())
        return f"{{{inner}}}"
    if isinstance(value, list | tuple):
        inner = ", ".join(settled(one) for one in value)
        return f"[{inner}]" if isinstance(value, list) else f"({inner})"
    if value is None or isinstance(value, str | bytes | int | float | set | frozenset):
        return repr(value)
    return f"<{type(value).__name__} {id(value):x}>"


def check_unknown(model: Subject) -> str:
    """Fail the clause unless all paths take an unknown parameter, or all refuse it by name."""
    model.text()
    given: dict[str, Any] = {UNKNOWN: 1}
    paths = ("invoke", "astream") if model.slow else PATHS
    refused: dict[str, BaseException | None] = {}
    for path in paths:
        if model.call(path).error is not None:
            continue  # reported elsewhere
        error = model.call(path, **given).error
        if error is not None and UNKNOWN not in str(error):  # it may come and go
            error = model.call(path, again=True, **given).error
        call = code(path, [model.prompt], **given)
        if error is not None:
            model.expect(
                UNKNOWN in str(error),
                f"{path} with {UNKNOWN}=1 raised {describe_error(error)}, which does not name it",
                "try:", f"    {call}", "except Exception as error:",
                f"    assert {UNKNOWN!r} in str(error), error",
            )  # fmt: skip
        refused[path] = error
    taken = [path for path in refused if refused[path] is None]
    others = [path for path in refused if refused[path] is not None]
    if taken and others:
        one, other = taken[0], others[0]
        model.expect(
            False,
            f"{UNKNOWN}=1 is accepted by {', '.join(taken)}, and refused by {', '.join(others)}: "
            f"{refused[other]}",
            "def outcome(call):",
            "    try:",
            "        call()",
            "    except Exception:",
            "        return 'refused'",
            "    return 'accepted'",
            "",
            "",
            f"one = outcome(lambda: {code(one, [model.prompt], **given)})",
            f"other = outcome(lambda: {code(other, [model.prompt], **given)})",
            "assert one == other, (one, other)",
        )
    note = "it is refused" if others else "it is accepted"
    return note if paths is PATHS else f"{note}; only {', '.join(paths)} were called: it is slow"
