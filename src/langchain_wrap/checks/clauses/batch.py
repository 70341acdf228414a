"""BATCH: batch and concurrent callers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from langchain_wrap.checks.clause import Area, Skipped
from langchain_wrap.checks.probes import inject
from langchain_wrap.checks.probes.crowd import Crowd, patience, references, several
from langchain_wrap.checks.probes.paths import code
from langchain_wrap.checks.probes.spy import Spy
from langchain_wrap.checks.probes.trace import Trace
from langchain_wrap.checks.subject import Subject, describe_error, first_then, shown

area = Area("BATCH", "Batch and concurrent callers")

ALONE = {"batch": "invoke", "abatch": "ainvoke"}


class Refused(RuntimeError):
    """What the checks let a model raise."""


def ask_batch(model: Subject, path: str, *prompts: str, **how: Any) -> Trace:
    seconds = patience(model, len(prompts))
    how = {name: value for name, value in how.items() if value}
    return model.answered(path, *prompts, seconds=seconds, **how)


def _first(model: Subject, path: str) -> list[str]:
    """Return the prompts of the batch that several clauses look at."""
    prompts = several(model)
    if not model.slow or path == "abatch":
        return prompts
    # Of a slow model, one batch tells of order, equal prompts and different lengths.
    return [prompts[0], _long(model) or prompts[1], prompts[0]]


def _long(model: Subject) -> str:
    """Return a long prompt, or nothing if the model refuses it."""
    long = " ".join(f"word{number}" for number in range(220))
    trace = model.call("invoke", long, edge=True)
    return long if trace.error is None else ""


def _check_list(model: Subject, path: str) -> None:
    model.text()
    prompts = _first(model, path)
    texts: Any = ask_batch(model, path, *prompts).texts
    model.expect(
        isinstance(texts, list) and len(texts) == len(prompts),
        f"{path} of {len(prompts)} prompts returned {shown(texts)}",
        f"got = {code(path, prompts)}",
        f"assert isinstance(got, list) and len(got) == {len(prompts)}, got",
    )
    model.expect(
        all(isinstance(text, str) for text in texts),
        f"{path} returned {shown(texts)}: not only str",
        f"got = {code(path, prompts)}",
        "assert all(isinstance(text, str) for text in got), got",
    )


def _check_same(
    model: Subject, path: str, prompts: list[str], config: dict[str, Any] | None = None
) -> str | None:
    """Check that a batch gives what its prompts get one by one."""
    alone = ALONE[path]
    wanted = references(model, prompts, alone)
    first = ask_batch(model, path, *prompts, config=config).texts
    given = {"config": config} if config else {}
    batch = code(path, prompts, **given)
    if not model.deterministic:
        model.expect(
            len(first) == len(prompts) and all(isinstance(text, str) for text in first),
            f"{path} of {len(prompts)} prompts returned {shown(first)}",
            f"got = {batch}",
            f"assert [type(text) for text in got] == [str] * {len(prompts)}, got",
        )
        return "the model's answers vary: only their number and type were looked at"
    model.expect_same(
        first_then(wanted, lambda: [model.call(alone, p, again=True).text for p in prompts]),
        first_then(
            first, lambda: ask_batch(model, path, *prompts, again=True, config=config).texts
        ),
        f"{path} and {alone} one by one differ",
        f"prompts = {prompts!r}",
        f"got = {batch.replace(repr(prompts), 'prompts')}",
        f"want = [{code(alone, ['*']).replace(repr('*'), 'prompt')} for prompt in prompts]",
        "assert got == want, (got, want)",
    )
    return None


_WHY_LIST = "Code that pairs prompts with answers gives people the wrong ones, or fails."

_FIX_LIST = (
    "Leave `batch` and `abatch` to the base class; if you write `_generate` or `_agenerate`, "
    "append one `[Generation(text=…)]` for each prompt."
)


@area.clause(
    1,
    "`batch` returns a list of `str`, one for each prompt.",
    level="contract",
    why=_WHY_LIST,
    source="langchain_core BaseLLM.batch: «-> list[str]»; LLMResult.generations holds one list "
    "for each prompt.",
    fix=_FIX_LIST,
)
def batch_gives_a_list(model: Subject) -> None:
    _check_list(model, "batch")


@area.clause(
    2,
    "`abatch` returns a list of `str`, one for each prompt.",
    level="contract",
    why=_WHY_LIST,
    source="langchain_core BaseLLM.abatch: «-> list[str]»",
    fix=_FIX_LIST,
)
def abatch_gives_a_list(model: Subject) -> None:
    _check_list(model, "abatch")


@area.clause(
    3,
    "`batch` gives what `invoke` gives one by one, in the order of the prompts.",
    level="contract",
    why="Answers land at the wrong questions, and nobody sees an error.",
    source="langchain_core Runnable.batch: «Default implementation runs invoke in parallel»",
    fix="Keep the order: write each result to the index of its prompt, not in order of arrival.",
)
def batch_agrees(model: Subject) -> str | None:
    return _check_same(model, "batch", _first(model, "batch"))


@area.clause(
    4,
    "`abatch` gives what `ainvoke` gives one by one, in the order of the prompts.",
    level="contract",
    why="Answers land at the wrong questions, and nobody sees an error.",
    source="langchain_core Runnable.abatch: «Default implementation runs `ainvoke` in parallel»",
    fix="Keep the order: `asyncio.gather` does, `asyncio.as_completed` does not.",
)
def abatch_agrees(model: Subject) -> str | None:
    return _check_same(model, "abatch", _first(model, "abatch"))


@area.clause(
    5,
    "Equal prompts in one batch each get their answer.",
    level="contract",
    why="A batch with a question that two users asked gives too few answers, or shifts them.",
    source="langchain_core BaseLLM.generate: «a list of candidate `Generations` for each input "
    "prompt»",
    fix="Do not key results by prompt; if equal prompts are to be asked once, copy the answer to "
    "each of their places.",
)
def equal_prompts(model: Subject) -> str | None:
    if model.slow:
        return _check_same(model, "batch", _first(model, "batch"))
    one, other = several(model)[:2]
    note = _check_same(model, "batch", [one, other, one])
    return _check_same(model, "abatch", [one, other, one]) or note


@area.clause(
    6,
    "Prompts of very different lengths in one batch get the answers that they get alone.",
    level="contract",
    why="A short prompt next to a long one gets another answer than alone: padding, or an order "
    "by length, has gone wrong.",
    source="langchain_core Runnable.batch: «Default implementation runs invoke in parallel»",
    fix="Mask the padding (pad on the left for generation), and put results back into the order "
    "of the prompts.",
)
def different_lengths(model: Subject) -> str | None:
    model.text()
    long = _long(model)
    if not long:
        raise Skipped("the model refuses a prompt of 2,000 characters")
    if model.slow:
        return _check_same(model, "batch", _first(model, "batch"))
    short = "a" if model.call("invoke", "a", edge=True).error is None else model.prompt
    prompts = [long, short, model.prompt]
    note = _check_same(model, "batch", prompts)
    return _check_same(model, "abatch", prompts) or note


@area.clause(
    7,
    "An empty batch gives an empty list.",
    level="contract",
    why="A pipeline whose filter leaves nothing over breaks.",
    source="langchain_core BaseLLM.batch: «if not inputs: return []»",
    fix="Return `[]` where there are no prompts.",
)
def emptyask_batch(model: Subject) -> None:
    for path in ("batch", "abatch"):
        call: Callable[[], Any] = {
            "batch": lambda: model.run(lambda: model.llm.batch([])),
            "abatch": lambda: model.run_async(lambda: model.llm.abatch([])),
        }[path]
        lines = (f"got = {code(path, [])}", "assert got == [], got")
        try:
            got = call()
        except Exception as error:
            model.expect(False, f"{path}([]) raised {describe_error(error)}", *lines)
        model.expect(got == [], f"{path}([]) returned {shown(got)}", *lines)


_FIX_CROWD = (
    "Keep nothing of a call on `self`: use local variables. Give each call its own connection or "
    "buffer, or guard the one there is with a lock."
)


@area.clause(
    8,
    "Many threads at once each get the answer to their own prompt.",
    level="contract",
    why="One user sees what another has asked.",
    source="langchain_core Runnable.batch and RunnableParallel call one object from the threads "
    "of a ContextThreadPoolExecutor.",
    fix=_FIX_CROWD,
)
def threads_at_once(model: Subject) -> str | None:
    model.text()
    return Crowd(model, asynchronous=False).check()


@area.clause(
    9,
    "Many tasks at once each get the answer to their own prompt.",
    level="contract",
    why="One user sees what another has asked.",
    source="langchain_core Runnable.abatch and RunnableParallel gather calls of one object in one "
    "event loop.",
    fix=_FIX_CROWD,
)
def tasks_at_once(model: Subject) -> str | None:
    model.text()
    return Crowd(model, asynchronous=True).check()


@area.clause(
    10,
    "The error of a prompt is raised by `batch` and `abatch`, with its own type.",
    level="contract",
    why="`except RateLimitError`, `with_retry` and `with_fallbacks` do not see what happened, or "
    "an error text is taken for an answer.",
    source="langchain_core Runnable.batch: «return_exceptions: Whether to return exceptions "
    "instead of raising them.»",
    fix="Let errors of the model pass; do not turn them into text or into another type.",
)
def errors_are_raised(model: Subject) -> None:
    model.text()
    prompts = several(model)[:3]
    bad = prompts[-1]
    slow = model.slow
    with model.spy(
        fail=lambda prompt: Refused("refused") if slow or prompt == bad else None
    ) as spy:
        for path in ("batch", "abatch"):
            trace = spied(model, spy, path, prompts)
            seen = "nothing" if trace.error is None else describe_error(trace.error)
            model.expect(
                isinstance(trace.error, Refused),
                f"the model raised Refused at one prompt; {path} raised {seen}"
                + (f" and returned {shown(trace.texts)}" if trace.error is None else ""),
                *inject.refusing(inject.visited(spy), bad),
                "try:",
                f"    got = {code(path, prompts)}",
                "except Refused:",
                "    pass",
                "else:",
                "    raise AssertionError(got)",
            )


@area.clause(
    11,
    "`max_concurrency` of the config is respected.",
    level="contract",
    why="A service that allows two calls at once answers the others with rate limit errors; a "
    "local model runs out of memory.",
    source="langchain_core RunnableConfig: «max_concurrency: Maximum number of parallel calls to "
    "make.»",
    fix="Leave `batch` and `abatch` to the base class, or take "
    "`config['max_concurrency']` as the bound of your own pool.",
)
def max_concurrency(model: Subject) -> str | None:
    model.text()
    slow = model.slow
    prompts = model.numbered(6) if model.seconds < 0.02 or slow else several(model)
    config = {"max_concurrency": 2}
    note = None
    for path in ("batch", "abatch"):
        if not slow:
            note = _check_same(model, path, prompts, config=config)
        with model.spy(delay=0.02, fail=lambda _: Refused("refused") if slow else None) as spy:
            spied(model, spy, path, prompts, config=config, return_exceptions=slow)
        model.expect(
            spy.peak <= 2,
            f"{path} with max_concurrency=2 had {spy.peak} prompts in the model at once",
            *inject.counting(inject.visited(spy), 0.02),
            code(path, prompts, config=config),
            "assert max(inside) <= 2, max(inside)",
        )
    return note


def spied(model: Subject, spy: Spy, path: str, prompts: list[str], **more: Any) -> Trace:
    """Make a batch that the spy must see."""
    before = len(spy.visits)
    more = {name: value for name, value in more.items() if value}
    seconds = patience(model, len(prompts)) + 8 * spy.delay
    trace = model.call(path, *prompts, again=True, seconds=seconds, **more)
    if len(spy.visits) == before:
        raise Skipped(f"{path} calls none of the methods of a custom LLM")
    return trace
