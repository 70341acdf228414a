"""BATCH, its clauses about what langchain-core's base class does not give."""

from __future__ import annotations

import time

from langchain_wrap.checks.clause import Skipped
from langchain_wrap.checks.clauses.batch import ALONE, Refused, area, ask_batch, spied
from langchain_wrap.checks.probes import inject
from langchain_wrap.checks.probes.crowd import references, several
from langchain_wrap.checks.probes.paths import code
from langchain_wrap.checks.subject import Subject, shown
from langchain_wrap.contract import Contract


@area.clause(
    12,
    "One failing prompt does not lose the answers to the others: with `return_exceptions=True` "
    "its error stands in its place, in `batch` and `abatch`.",
    level="production",
    why="One refused prompt of a thousand throws away 999 answers that were paid for.",
    source="this project; langchain_core BaseLLM.batch puts the one error in the place of every "
    "prompt: «[e for _ in inputs]»",
    fix="Take langchain_wrap.LLM as the base class, or override `batch` and `abatch` so that each "
    "prompt has its own try.",
)
def failures_are_isolated(model: Subject) -> str | None:
    model.text()
    one, other = several(model)[:2]
    bad = model.numbered(10)[-1]
    prompts = [one, bad] if model.slow else [one, bad, other]
    with model.spy(fail=lambda prompt: Refused("refused") if prompt == bad else None) as spy:
        for path in ("batch", "abatch"):
            wanted = dict(
                zip((one, other), references(model, [one, other], ALONE[path]), strict=True)
            )
            trace = spied(model, spy, path, prompts, return_exceptions=True)
            got = trace.texts if trace.error is None else [trace.error] * len(prompts)
            right = len(got) == len(prompts) and all(
                isinstance(text, Refused)
                if prompt == bad
                else text == wanted[prompt] or (isinstance(text, str) and not model.deterministic)
                for prompt, text in zip(prompts, got, strict=True)
            )
            model.expect(
                right,
                f"the model raised Refused at prompt 2 of {len(prompts)}; {path} with "
                f"return_exceptions=True gave {shown(got)}",
                *inject.refusing(inject.visited(spy, bad), bad),
                f"got = {code(path, prompts, return_exceptions=True)}",
                "assert [type(one).__name__ for one in got] == "
                f"{['Refused' if prompt == bad else 'str' for prompt in prompts]}, got",
            )
    return None if model.deterministic else "the model's answers vary: only types were looked at"


_AT_ONCE = 6
_DELAY = 0.06


def _check_parallel(model: Subject, path: str) -> str | None:
    model.text()
    limit = model.llm.concurrency if isinstance(model.llm, Contract) else None
    if limit is not None and limit <= 3:
        raise Skipped(f"the model declares concurrency={limit}")
    prompts = model.numbered(_AT_ONCE)
    slow = model.seconds > 0.05
    took: list[float] = []
    for _ in range(2):
        # A slow model is not asked at all: what counts is how many calls wait at once.
        with model.spy(delay=_DELAY, fail=lambda _: Refused("refused") if slow else None) as spy:
            trace = spied(model, spy, path, prompts, return_exceptions=slow)
        if any(len(visit.prompts) > 1 for visit in spy.visits):
            return _check_parallel_lists(model, path)
        if spy.visits and all(visit.method in ("_batch", "_abatch") for visit in spy.visits):
            # A batch method is given one list at a time; here, of one prompt.
            raise Skipped("the model's batch method declares max_batch_size=1")
        if spy.peak >= 3 or (not slow and trace.seconds < 0.6 * _AT_ONCE * _DELAY):
            return None
        took.append(trace.seconds)
    model.expect(
        False,
        f"{path} calls the model {'for one prompt' if spy.peak < 2 else 'for two prompts'} at a "
        "time"
        + ("" if slow else f": {_AT_ONCE} prompts of {_DELAY} s each took {min(took):.1f} s"),
        *_timed(path, prompts, inject.sleeping(inject.visited(spy), _DELAY)),
    )
    return None


def _timed(path: str, prompts: list[str], head: list[str]) -> list[str]:
    return [
        *head,
        "began = time.perf_counter()",
        code(path, prompts[:1]),
        "alone = time.perf_counter() - began",
        code(path, prompts),
        "together = time.perf_counter() - began - alone",
        f"assert together < {0.7 * len(prompts):.1f} * alone, (together, alone)",
    ]


def _check_parallel_lists(model: Subject, path: str) -> str | None:
    """Check by its own time that a model which takes a list is faster than one by one."""
    if model.seconds < 0.03:
        raise Skipped("the model is given the whole list, and is too fast for its time to tell")
    prompts = several(model)
    ratios: list[float] = []
    for _ in range(1 if model.seconds > 1 else 3):
        began, computed = time.perf_counter(), time.process_time()
        alone = ask_batch(model, path, prompts[0], again=True).seconds
        together = ask_batch(model, path, *prompts, again=True).seconds
        ratios.append(together / (len(prompts) * alone))
        if ratios[-1] < 0.7:
            return f"a list of {len(prompts)} took {ratios[-1]:.0%} of the time of single calls"
        if time.process_time() - computed > 0.5 * (time.perf_counter() - began):
            raise Skipped("the model computes on this machine: side by side is not faster")
    model.expect(
        False,
        f"{path} of {len(prompts)} prompts took {min(ratios):.0%} of the time of single calls",
        *_timed(path, prompts, []),
    )
    return None


_WHY_PARALLEL = "A hundred prompts to a service of one second take 100 seconds, and not two."

_SOURCE_PARALLEL = (
    "this project; langchain_core LLM._generate: «for prompt in prompts: text = self._call(…)»"
)


@area.clause(
    13,
    "`batch` runs prompts side by side.",
    level="production",
    why=_WHY_PARALLEL,
    source=_SOURCE_PARALLEL,
    fix="Take langchain_wrap.LLM as the base class, or call `_call` from a thread pool in "
    "`_generate`.",
)
def batch_is_parallel(model: Subject) -> str | None:
    return _check_parallel(model, "batch")


@area.clause(
    14,
    "`abatch` runs prompts side by side.",
    level="production",
    why=_WHY_PARALLEL,
    source="this project; langchain_core LLM._agenerate: «for prompt in prompts: text = await "
    "self._acall(…)»",
    fix="Take langchain_wrap.LLM as the base class, or gather the calls of `_acall` in "
    "`_agenerate`.",
)
def abatch_is_parallel(model: Subject) -> str | None:
    return _check_parallel(model, "abatch")
