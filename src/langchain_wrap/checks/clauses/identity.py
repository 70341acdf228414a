"""IDENTITY: identity, cache, copies."""

from __future__ import annotations

import copy
import json
import pickle
from collections.abc import Callable, Mapping
from typing import Any

from langchain_core.language_models import BaseLanguageModel

from langchain_wrap.checks.clause import Area, Failed, Skipped
from langchain_wrap.checks.probes.fields import as_code, other_values, variant
from langchain_wrap.checks.probes.paths import code, script
from langchain_wrap.checks.probes.sameness import (
    differences,
    duplicate,
    identity,
    is_derived,
    lost_by_name,
    names_of,
    params_of,
    snapshot,
)
from langchain_wrap.checks.shared import Shared, describe_error, first_then, shown
from langchain_wrap.checks.subject import Subject

area = Area("IDENTITY", "Identity, cache, copies")


@area.clause(
    1,
    "`_llm_type` is a text that is not empty and never changes.",
    level="contract",
    why="Traces and the cache know the model by it: their entries fall apart, or into one.",
    source="langchain_core BaseLLM._llm_type: «Return type of llm.»; it is part of `asdict()`, of "
    "which the key of the cache is made",
    fix='Return a constant: `return "my-model"`.',
)
def type_is_constant(model: Shared) -> None:
    found = model.run(lambda: model.llm._llm_type)
    model.expect(
        isinstance(found, str) and found.strip(),
        f"_llm_type is {shown(found)}",
        "assert isinstance(llm._llm_type, str) and llm._llm_type.strip(), repr(llm._llm_type)",
    )
    model.text()
    for other, where in ((model.llm, "later on"), (variant(model), "in a copy")):
        again = model.run(lambda other=other: other._llm_type)  # type: ignore[misc]
        model.expect(
            again == found,
            f"_llm_type was {shown(found)} and is {shown(again)} {where}",
            "first = llm._llm_type",
            model.code("invoke", [model.prompt]),
            "for other in (llm, llm.model_copy()):",
            "    assert other._llm_type == first, (other._llm_type, first)",
        )


@area.clause(
    2,
    "`_identifying_params` is a dict that can be written as JSON.",
    level="contract",
    why="`print(llm)`, `llm.save()`, traces and the key of the cache are made of it.",
    source="langchain_core LLM: «`_identifying_params` property: Return a dictionary of the "
    "identifying parameters»; BaseLLM.save writes it as JSON or YAML",
    fix="Make it a `@property` that returns a dict of strings, numbers, booleans, lists and dicts; "
    "turn sets into sorted lists, and objects into their names.",
)
def params_are_json(model: Shared) -> None:
    lines = ("json.dumps(dict(llm._identifying_params))",)
    try:
        found = model.run(lambda: model.llm._identifying_params)
    except Exception as error:
        message = f"_identifying_params raised {describe_error(error)}"
        raise Failed(message, script(*lines)) from None
    model.expect(
        isinstance(found, Mapping),
        f"_identifying_params is no dict but a {type(found).__name__}",
        *lines,
    )
    for name, value in dict(found).items():
        # Values are never shown: one may be a key.
        model.expect(
            isinstance(name, str),
            f"_identifying_params has the key {shown(name)}, a {type(name).__name__}",
            "assert all(isinstance(name, str) for name in llm._identifying_params)",
        )
        try:
            json.dumps(value)
        except (TypeError, ValueError) as error:
            message = f"_identifying_params[{name!r}] is a {type(value).__name__}: {error}"
            raise Failed(message, script(*lines)) from None


@area.clause(
    3,
    "Calls do not change `_identifying_params`.",
    level="contract",
    why="The same question is asked and paid for again, because the key of the cache has changed; "
    "traces of one model look like those of many.",
    source="langchain_core LLM: «This is critical for caching and tracing purposes. Identifying "
    "parameters is a dict that identifies the LLM.»",
    fix="Leave out what changes: counters, times, ids of calls, objects whose text has an address.",
)
def params_are_constant(model: Shared) -> None:
    before = snapshot(model)
    model.call("invoke", again=True)
    if model.streams and model.affordable(2, least=1) > 1:
        model.call("stream", again=True)
    after = snapshot(model)
    changed = sorted(name for name in {*before, *after} if before.get(name) != after.get(name))
    model.expect(
        not changed,
        f"_identifying_params changed by a call: {', '.join(changed)}",
        "before = repr(dict(llm._identifying_params))",
        model.code("invoke", [model.prompt]),
        model.code("stream", [model.prompt]),
        "after = repr(dict(llm._identifying_params))",
        "assert before == after, 'changed by a call'",
    )


@area.clause(
    4,
    "`print(llm)`, `str(llm)` and `repr(llm)` work.",
    level="contract",
    why="Nobody can look at the model in a notebook, a log or a debugger, and callbacks, which are "
    "given its repr, fail with it.",
    source="langchain_core BaseLLM.__str__: «Return a string representation of the object for "
    "printing.»",
    fix="Do not need a loaded model or an open connection in `__repr__`, `__str__` and "
    "`_identifying_params`.",
)
def prints(model: Subject) -> None:
    for show in (str, repr):
        try:
            found = model.run(lambda show=show: show(model.llm))  # type: ignore[misc]
        except Exception as error:
            message = f"{show.__name__}(llm) raised {describe_error(error)}"
            raise Failed(message, script(f"{show.__name__}(llm)")) from None
        model.expect(
            found.strip(),
            f"{show.__name__}(llm) is empty",
            f"assert {show.__name__}(llm).strip()",
        )


@area.clause(
    5,
    "Traces are told the name of the model.",
    level="contract",
    why="Monitoring cannot tell models apart, and counts tokens and costs by the wrong rules.",
    source="langchain_core LLM: «It should mostly include a `model_name`»; BaseLLM._get_ls_params: "
    "`ls_model_name` is taken of the fields `model` and `model_name`",
    fix="Call the field `model` or `model_name` and put its value into `_identifying_params` as "
    "`model_name`; where it has another name, override `_get_ls_params`.",
)
def name_arrives(model: Subject) -> None:
    names = names_of(model.llm)
    if not names:
        raise Skipped("the model declares no field with the name of a model")
    start = next(iter(model.answered("invoke").of("start")), None)
    if start is None:
        raise Skipped("invoke tells callbacks of no start, as CALL and TOKEN report")
    metadata = start.details.get("metadata") or {}
    traced = {"ls_model_name": metadata.get("ls_model_name")}
    params = params_of(model)
    told = traced | {f"_identifying_params[{n!r}]": params.get(n) for n in _NAMES}
    given = {where: name for where, name in told.items() if isinstance(name, str) and name}
    wanted = ", ".join(f"{name}={value!r}" for name, value in names.items())
    lines = (
        f"name = llm.{next(iter(names))}",
        "traced = llm._get_ls_params().get('ls_model_name')",
        f"told = [traced, *(llm._identifying_params.get(n) for n in {_NAMES})]",
        "told = [''.join(filter(str.isalnum, one)).lower() for one in told if one]",
        "name = ''.join(filter(str.isalnum, name)).lower()",
        "assert told and all(one in name or name in one for one in told), (name, told)",
    )
    model.expect(given, f"the model has {wanted}, and traces are told no name", *lines)
    for where, name in given.items():
        model.expect(
            any(is_derived(name, own) for own in names.values()),
            f"the model has {wanted}, and {where} is {name!r}",
            *lines,
        )


_NAMES = ("model_name", "model", "model_id")


@area.clause(
    6,
    "Objects that answer differently are told apart by `asdict()`, and so by the cache.",
    level="production",
    why="Two models that are configured differently share the entries of a cache: one gives the "
    "answers of the other.",
    source="langchain_core LLM._identifying_params: «This is critical for caching and tracing "
    "purposes.» `asdict()` is made of it and of nothing else, the key of the cache and the "
    "parameters in traces of that; langchain-core's default is an empty dict",
    fix="Put every field that changes the answer into `_identifying_params`, or derive from "
    "`langchain_wrap.LLM`, which does.",
)
def params_tell_apart(model: Subject) -> str | None:
    base = identity(model)
    values = other_values(model.llm)
    if not values:
        raise Skipped("the model has no field with a switch, number or choice to vary")
    alike = [n for n, v in values.items() if identity(model, variant(model, **{n: v[0]})) == base]
    for name, found in differences(model, alike, values):
        if found.value is not None:
            other = as_code(name, found.value)
            model.expect(
                False,
                f"with {name}={other} the model says {shown(found.text)} instead of "
                f"{shown(model.text())}, and its asdict() is the same",
                f"other = llm.model_copy(update={{{name!r}: {other}}})",
                "if other.asdict() == llm.asdict():",
                f"    got = other.{code('invoke', [model.prompt])[4:]}",
                f"    want = {code('invoke', [model.prompt])}",
                "    assert got == want, (got, want)",
            )
    return f"left out, without a difference: {', '.join(alike)}" if alike else None


@area.clause(
    7,
    "A copy by `model_copy` answers the same, and changing it does not change the model.",
    level="contract",
    why="Programs keep one model and derive others with another setting of it; they all change.",
    source="pydantic BaseModel.model_copy, which every Runnable has: «Returns a copy of the "
    "model.»",
    fix="Keep what is made of the fields (clients, options) apart for each object, or make it in "
    "the call; in `__copy__`, do not return or share the object's own state.",
)
def copies(model: Shared) -> str | None:
    prompt = model.code("invoke", [model.prompt])[4:]
    copied = duplicate(model, "model_copy", _model_copy, "llm.model_copy()")
    note = _answers_alike(model, copied, "a copy", "other = llm.model_copy()")
    before = snapshot(model)
    changes = _change(copied)
    lines = ("other = llm.model_copy()", *(f"other.{n} = {v}" for n, v in changes.items()))
    model.expect(
        before == snapshot(model),
        f"changing {', '.join(changes)} of a copy changed the _identifying_params of the model",
        "before = repr(dict(llm._identifying_params))",
        *lines,
        "assert repr(dict(llm._identifying_params)) == before, 'the copy has changed the model'",
    )
    if changes and note is None:
        own = model.text()
        model.expect_same(
            lambda: own,
            lambda: model.call("invoke", again=True).text,
            f"after changing {', '.join(changes)} of a copy, the model itself answers otherwise",
            f"want = llm.{prompt}",
            *lines,
            f"got = llm.{prompt}",
            "assert got == want, (got, want)",
        )
    return note


def _model_copy(one: Any) -> Any:
    return one.model_copy() if isinstance(one, BaseLanguageModel) else one


def _change(llm: Any) -> dict[str, str]:
    """Set fields of a model to other values; return those that it took, as code."""
    done = {}
    for name, (value, *_) in other_values(llm).items():
        text = as_code(name, value)
        try:
            setattr(llm, name, value)
        except Exception as error:  # frozen, or refused by a validator
            del error
        else:
            done[name] = text
    return done


@area.clause(
    8,
    "`copy.deepcopy` works, and the copy stands on its own.",
    level="production",
    why="Frameworks that copy whole programs (optimisers, evaluations, servers with workers) fail.",
    source="this project's: langchain-core promises nothing, and a lock, client or thread in a "
    "field makes Python's own deepcopy fail",
    fix="Make clients, locks and engines on first use, in a private attribute that "
    "`__getstate__` leaves out, or derive from `langchain_wrap.LLM`.",
)
def deep_copies(model: Shared) -> str | None:
    made = "other = copy.deepcopy(llm)"
    copied = duplicate(model, "copy.deepcopy", copy.deepcopy, made)
    model.expect(
        copied is not model.llm,
        "copy.deepcopy returned the model itself",
        made,
        "assert other is not llm, 'deepcopy returned the model itself'",
    )
    note = _answers_alike(model, copied, "a deep copy", made)
    before = snapshot(model)
    changes = _change(copied)
    model.expect(
        before == snapshot(model),
        f"changing {', '.join(changes)} of a deep copy changed the model",
        "before = repr(dict(llm._identifying_params))",
        made,
        *(f"other.{n} = {v}" for n, v in changes.items()),
        "assert repr(dict(llm._identifying_params)) == before, 'the copy has changed the model'",
    )
    return note


@area.clause(
    9,
    "A pickled model answers the same.",
    level="production",
    why="The model cannot be sent to another process: multiprocessing, Ray, Dask and Celery fail.",
    source="this project's: langchain-core promises nothing, and a lock, client or thread in a "
    "field makes Python's own pickle fail",
    fix="Make clients, locks and engines on first use, in a private attribute that "
    "`__getstate__` leaves out, or derive from `langchain_wrap.LLM`.",
)
def pickles(model: Shared) -> str | None:
    reason = lost_by_name(model.llm)
    if reason:
        raise Skipped(reason)
    made = "other = pickle.loads(pickle.dumps(llm))"
    restored = duplicate(model, "pickle", lambda one: pickle.loads(pickle.dumps(one)), made)  # noqa: S301
    return _answers_alike(model, restored, "the model out of a pickle", made)


def _answers_alike(model: Shared, other: Any, what: str, made: str) -> str | None:
    """Fail unless another object answers as the model does; return a note if that varies."""
    prompt = model.code("invoke", [model.prompt])[4:]
    trace = model.call("invoke", llm=other)
    if trace.error is not None:
        message = f"{what} raised {describe_error(trace.error)} when called"
        model.expect(False, message, made, f"other.{prompt}")
    if not model.deterministic:
        model.expect(
            isinstance(trace.text, str),
            f"{what} returned {shown(trace.text)}",
            made,
            f"assert isinstance(other.{prompt}, str)",
        )
        return "the model's answers vary: only the type was compared"
    own = model.text()
    again: Callable[[], Any] = lambda: model.call("invoke", llm=other).text  # noqa: E731
    model.expect_same(
        lambda: own,
        first_then(trace.text, again),
        f"{what} answers otherwise",
        made,
        f"got = other.{prompt}",
        f"want = llm.{prompt}",
        "assert got == want, (got, want)",
    )
    return None
