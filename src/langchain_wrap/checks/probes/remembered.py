"""Whether a model remembers what a call was given: its fields, its identity, its next answer."""

from __future__ import annotations

from typing import Any

from langchain_core.language_models.llms import BaseLLM

from langchain_wrap.checks.clause import Skipped
from langchain_wrap.checks.probes.parameters import accepted, candidates, state
from langchain_wrap.checks.probes.paths import code
from langchain_wrap.checks.subject import Subject, first_then, shown, shown_text

_OTHERS = ("stream", "ainvoke", "astream")


def check_remembered(model: Subject) -> str | None:
    """Fail the clause if a model is another one after calls with a stop and parameters."""
    model.text()
    llm = model.fresh()
    before = state(llm)
    calls = _calls(model, llm)
    after = state(llm)
    changed = {name for name in after if after[name] != before.get(name)}
    if changed:
        changed -= _changed_by_any_call(model)
    for name in sorted(changed):
        it = "llm._identifying_params" if name == "_identifying_params" else f"llm.{name}"
        model.expect(
            False,
            f"after calls with {_given(calls)}, {it} is {shown_text(after[name])} and was "
            f"{shown_text(before[name])}",
            f"before = repr({it})",
            *_made(calls),
            f"after = repr({it})",
            "assert after == before, (before, after)",
        )
    if not model.deterministic:
        return "the model's answers vary: only fields and identifying parameters were compared"
    model.expect_same(
        first_then(model.text(), lambda: model.call("invoke", again=True).text),
        lambda: model.call("invoke", llm=llm).text,
        f"after calls with {_given(calls)}, the answer to a plain call is another one",
        f"want = {code('invoke', [model.prompt])}",
        *_made(calls),
        f"got = {code('invoke', [model.prompt])}",
        "assert got == want, (want, got)",
    )
    return f"called with {_given(calls)}"


def _calls(model: Subject, llm: BaseLLM) -> list[tuple[str, dict[str, Any]]]:
    """Call with a stop and parameters; return the calls that went through, as code and kwargs."""
    stop: dict[str, Any] = {"stop": [model.text()[1:3] or "stop"]}
    parameters = candidates(llm)
    done = []
    if model.call("invoke", llm=llm, **stop, **parameters).error is None:
        done.append(("invoke", {**stop, **parameters}))
    elif parameters := accepted(model, llm):
        done.append(("invoke", parameters))
    elif model.call("invoke", llm=llm, **stop).error is None:
        done.append(("invoke", stop))
    for path in _OTHERS[: model.affordable(len(_OTHERS), least=0, seconds=1) if done else None]:
        for given in ({**stop, **parameters}, stop, parameters):
            if given and model.call(path, llm=llm, **given).error is None:
                done.append((path, given))
                break
    if not done:
        raise Skipped("no call with a stop or a parameter is accepted")
    return [(code(path, [model.prompt], **given), given) for path, given in done]


def _changed_by_any_call(model: Subject) -> set[str]:
    """Return what a call without stop and parameters changes as well, such as a counter."""
    llm = model.fresh()
    before = state(llm)
    model.call("invoke", llm=llm)
    after = state(llm)
    return {name for name in after if after[name] != before.get(name)}


def _made(calls: list[tuple[str, dict[str, Any]]]) -> list[str]:
    return [call for call, _ in calls]


def _given(calls: list[tuple[str, dict[str, Any]]]) -> str:
    names = {name: value for _, given in calls for name, value in given.items()}
    return ", ".join(f"{name}={shown(value, 40)}" for name, value in names.items())
