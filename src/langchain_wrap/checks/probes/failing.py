"""How a model fails on each of the six paths: by errors of its own, and by one of a spy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NoReturn

from langchain_wrap.checks.clause import Skipped
from langchain_wrap.checks.probes.edges import EDGES, at_edge
from langchain_wrap.checks.probes.paths import PATHS, Expression, code
from langchain_wrap.checks.probes.snippets import LISTENER, LISTENING, broken
from langchain_wrap.checks.probes.trace import Trace
from langchain_wrap.checks.subject import Subject, describe_error, shown


class BrokenModel(Exception):
    """What the spy raises in the place of the model; no library knows the type."""


def breaking(name: str, method: Any) -> Any:
    """Return what a spy is to put around a method, so that it fails without being called."""

    def fail(*args: Any, **kwargs: Any) -> NoReturn:
        raise BrokenModel("the model is broken")

    return fail


@dataclass(frozen=True)
class Failing:
    """A call during which the model has raised an error."""

    path: str
    what: str
    """What made it raise, in a sentence."""
    raised: type[BaseException]
    """What the model has raised."""
    trace: Trace
    setup: tuple[str, ...]
    """Lines of a script before the call."""
    code: str
    """The call in Python."""
    listened: str
    """The same with a `listener`."""
    reference: str = ""
    """The call in Python that raised the error first; "": it was raised by the spy."""


def failing(model: Subject) -> list[Failing]:
    """Return failing calls of all six paths, made once for all checks.

    Raises:
        Skipped: No call can be made to fail.
    """
    model.text()
    found = model.once("failing", lambda: [*_injected(model), *_natural(model)])
    if not found:
        raise Skipped("no call goes through the methods of a custom LLM, so none can be failed")
    return found


def _injected(model: Subject) -> list[Failing]:
    found = []
    prompt = f"{model.prompt} (error)"
    for path in PATHS:
        llm = model.fresh()
        with model.spy(llm, around=breaking) as spy:
            trace = model.call(path, prompt, llm=llm)
        if spy.visits:
            what = "the model raised an error"
            found.append(_of(path, what, BrokenModel, trace, (broken(model.llm),), repr(prompt)))
    return found


def _natural(model: Subject) -> list[Failing]:
    found = []
    for edge in EDGES:
        try:
            first = at_edge(model, edge)
        except Skipped:
            continue
        if first.error is None:
            continue
        raised = type(first.error)
        again = [model.call(edge.path, edge.prompt, again=True, edge=True) for _ in range(2)]
        if any(type(trace.error) is not raised for trace in again):
            continue  # it comes and goes, so nothing can be told by it
        setup = (f"prompt = {edge.code}",)
        reference = code(edge.path, [Expression("prompt")])
        for path in PATHS:
            trace = model.call(path, edge.prompt, again=True, edge=True)
            what = f"{edge.path} of {edge.name} raises {raised.__name__}"
            found.append(_of(path, what, raised, trace, setup, "prompt", reference))
        if model.affordable(6) < 6:
            break
    return found


def _of(
    path: str,
    what: str,
    raised: type[BaseException],
    trace: Trace,
    setup: tuple[str, ...],
    prompt: str,
    reference: str = "",
) -> Failing:
    given = [Expression(prompt)]
    listened = code(path, given, config=Expression(LISTENING))
    return Failing(path, what, raised, trace, setup, code(path, given), listened, reference)


def check_types(model: Subject) -> None:
    """Fail the clause unless each error comes out of each path as it was raised."""
    for one in failing(model):
        error = one.trace.error
        if type(error) is one.raised:
            continue
        got = f"gave {shown(one.trace.texts)}"
        if error is not None:
            got = f"raised {describe_error(error)}"
        if one.reference:
            lines = [
                "def outcome(call):",
                "    try:",
                "        return call()",
                "    except Exception as error:",
                "        return type(error)",
                "",
                "",
                *one.setup,
                f"want = outcome(lambda: {one.reference})",
                f"got = outcome(lambda: {one.code})",
                "assert not isinstance(want, type) or got is want, (got, want)",
            ]
        else:
            lines = [
                *one.setup,
                "try:",
                f"    got = {one.code}",
                "except Broken:",
                "    got = None",
                "assert got is None, f'no error, but {got!r}'",
            ]
        model.expect(False, f"{one.what}, and {one.path} {got}", *lines)


def check_reports(model: Subject) -> None:
    """Fail the clause unless each error is reported once, on the run that has started."""
    looked = 0
    for one in failing(model):
        kinds = [kind for kind in one.trace.kinds if kind not in ("chunk", "token")]
        if one.trace.error is None or (one.reference and "start" not in kinds):
            continue  # CALL-10 reports it; or the call was refused before its run began
        looked += 1
        runs = {mark.run_id for mark in one.trace.marks if mark.kind != "chunk"}
        called = ", ".join(f"on_llm_{kind}" for kind in kinds) or "nothing"
        model.expect(
            kinds == ["start", "error"] and len(runs) == 1,
            f"{one.what}; {one.path} called {called} on {len(runs)} run(s)",
            LISTENER,
            *one.setup,
            "names = ['start', 'error']",
            "try:",
            f"    {one.listened}",
            "except Exception:",
            "    names = [name for name, *_ in listener.seen if name != 'token']",
            "assert names == ['start', 'error'], names",
            "assert len({run_id for _, run_id, _ in listener.seen}) == 1, listener.seen",
        )
    if not looked:
        raise Skipped("no error comes out of the model, as CALL-10 reports")
