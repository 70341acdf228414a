"""Whether a model changes what its caller passes: stops, parameters, config, messages, prompts."""

from __future__ import annotations

from typing import Any

from langchain_core.messages import HumanMessage

from langchain_wrap.checks.clause import Skipped
from langchain_wrap.checks.probes import paths
from langchain_wrap.checks.probes.deadline import NoAnswer
from langchain_wrap.checks.probes.parameters import UNKNOWN, settled
from langchain_wrap.checks.probes.paths import Expression, code
from langchain_wrap.checks.subject import Subject

# The most telling first: a slow model is called by one.
_PATHS = ("invoke", "stream", "abatch", "ainvoke", "astream", "batch")


def check_given(model: Subject) -> str | None:
    """Fail the clause if anything that is passed to the model is changed by the call."""
    model.text()
    unknown: dict[str, Any] = {UNKNOWN: 1}
    takes_parameters = model.call("invoke", **unknown).error is None
    looked = []
    for path in _PATHS[: model.affordable(len(_PATHS), least=1, seconds=2)]:
        if model.call(path).error is not None:
            continue  # reported elsewhere
        given = _given(model, path, takes_parameters)
        before = {name: settled_deep(value) for name, value in given.items()}
        if not _call(model, path, given):
            given.pop("stop")  # refused: the rest is looked at without
            _call(model, path, given)
        looked.append(path)
        for name, value in given.items():
            after = settled_deep(value)
            model.expect(
                after == before[name],
                f"{path} has changed the {_NAMES.get(name, name)} it was given, from "
                f"{before[name]} to {after}",
                *_script(model, path, name, takes_parameters),
            )
    if not looked:
        raise Skipped("no path works")
    return None if len(looked) == len(_PATHS) else f"only {', '.join(looked)} were called"


_NAMES = {"input": "prompt list", "config": "config", "stop": "stop list", UNKNOWN: "parameter"}


def _given(model: Subject, path: str, takes_parameters: bool) -> dict[str, Any]:
    """Return new objects to pass, by name."""
    given: dict[str, Any] = {
        "input": model.prompt,
        "config": {"tags": ["checks"], "metadata": {"checks": ["one"]}, "callbacks": []},
        "stop": [model.text()[1:3] or "stop", "never said"],
    }
    if path in paths.BATCHES:
        given["input"] = [model.prompt]
    if path == "invoke":
        given["input"] = [HumanMessage(model.prompt)]
    if takes_parameters:
        given[UNKNOWN] = {"one": [1, 2], "two": {"three": 3}}
    return given


def _call(model: Subject, path: str, given: dict[str, Any]) -> bool:
    """Call the model with these very objects; return whether it has answered.

    Raises:
        NoAnswer: It takes longer than a call may take.
    """
    kwargs = {name: value for name, value in given.items() if name not in ("input", "config")}
    inputs = given["input"] if path in paths.BATCHES else [given["input"]]
    model.calls += 1
    try:
        paths.call_as_given(
            model.llm,
            path,
            inputs,
            given["config"],
            kwargs,
            seconds=model.timeout,
            run_async=model.run_async,
        )
    except NoAnswer:
        raise
    except Exception:
        return False
    return True


def settled_deep(value: Any) -> str:
    """Return a value as text, messages by their content."""
    if isinstance(value, list) and any(isinstance(one, HumanMessage) for one in value):
        return repr(value)
    return settled(value)


def _script(model: Subject, path: str, name: str, takes_parameters: bool) -> list[str]:
    given = _given(model, path, takes_parameters)
    lines = [f"input = {given.pop('input')!r}"]
    if path == "invoke":
        message = f"HumanMessage({model.prompt!r})"
        lines = ["from langchain_core.messages import HumanMessage", "", f"input = [{message}]"]
    lines += [f"{other} = {value!r}" for other, value in given.items()]
    arguments = {other: Expression(other) for other in given}
    call = code(path, [Expression("input")], **arguments)
    if path in paths.BATCHES:
        call = call.replace("([input]", "(input")
    return [
        *lines, f"before = repr({name})", "try:", f"    {call}",
        "except Exception as error:", "    print(error)", f"after = repr({name})",
        "assert after == before, (before, after)",
    ]  # fmt: skip
