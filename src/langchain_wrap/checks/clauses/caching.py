"""IDENTITY, its clauses about the cache: `cache=` and `set_llm_cache`."""

from __future__ import annotations

from typing import Any

from langchain_core.caches import InMemoryCache

from langchain_wrap.checks.clause import Skipped
from langchain_wrap.checks.clauses.identity import area
from langchain_wrap.checks.probes.fields import as_code, other_values, variant
from langchain_wrap.checks.probes.paths import Expression, code
from langchain_wrap.checks.probes.sameness import differences
from langchain_wrap.checks.probes.stand_in import answering, ask, takes
from langchain_wrap.checks.subject import Subject, shown

_NOTING = (
    "from langchain_core.caches import InMemoryCache",
    "",
    "keys = []",
    "",
    "class Noting(InMemoryCache):",
    "    def lookup(self, prompt, llm_string):",
    "        keys.append(llm_string)",
    "        return super().lookup(prompt, llm_string)",
    "",
    'llm = llm.model_copy(update={"cache": Noting()})',
)
"""Lines that give the model a cache which notes the keys it is asked for."""


@area.clause(
    10,
    "With a cache, an equal call is answered without the model.",
    level="contract",
    why="Users who set a cache pay and wait for every call all the same.",
    source="langchain_core BaseLanguageModel.cache: «Whether to cache the response.»; "
    "BaseLLM.generate does it",
    fix="Write `_call` or `_generate`, and leave `generate` and `invoke` to langchain-core; let "
    "`_identifying_params`, `_llm_type` and `asdict` be constant.",
)
def caches(model: Subject) -> None:
    llm = variant(model, cache=InMemoryCache())
    with answering(model, llm, "an answer") as spy:
        first = ask(model, llm)
        once = len(spy.visits)
        second = ask(model, llm)
    if not once:
        raise Skipped("invoke does not come to the author's methods")
    lines = [code("invoke", [model.prompt])] * 2
    model.expect(
        len(spy.visits) == once,
        "the model was called again by an equal call, though it has a cache",
        *_NOTING,
        lines[0],
        "first, keys[:] = list(keys), []",
        lines[1],
        "assert keys and keys == first, 'the cache was asked for something else, or not at all'",
    )
    model.expect(
        second.text == first.text,
        f"the second of two equal calls gave {shown(second.text)} instead of {shown(first.text)}",
        *_NOTING,
        f"first, second = {lines[0]}, {lines[1]}",
        "assert first == second, (first, second)",
    )


@area.clause(
    11,
    "The cache tells calls with a stop from calls without.",
    level="contract",
    why="An agent gets the text past its stop, or a reader one that is cut off.",
    source="langchain_core BaseLLM.generate: the key of the cache holds `stop`",
    fix="Leave the cache to langchain-core's `generate`, or put the stops into your own key.",
)
def cache_knows_stops(model: Subject) -> None:
    llm = variant(model, cache=InMemoryCache())
    with answering(model, llm, "one END two") as spy:
        first = ask(model, llm)
        once = len(spy.visits)
        second = ask(model, llm, stop=["END"])
    if not once:
        raise Skipped("invoke does not come to the author's methods")
    model.expect(
        len(spy.visits) > once or second.text != first.text,
        "a call with a stop was given the cached answer of a call without",
        *_NOTING,
        code("invoke", [model.prompt]),
        "first, keys[:] = set(keys), []",
        code("invoke", [model.prompt], stop=["END"]),
        "assert set(keys) - first, 'one key with a stop and without'",
    )


@area.clause(
    12,
    "The cache gives no object the answer of one that is configured differently.",
    level="production",
    why="A model with another setting gives the answers of the old one, and nobody sees why.",
    source="this project's: langchain-core makes the key of `_identifying_params`, which is an "
    "empty dict unless the author writes it",
    fix="Put every field that changes the answer into `_identifying_params`, or derive from "
    "`langchain_wrap.LLM`, whose key holds all fields.",
)
def cache_knows_fields(model: Subject) -> str | None:
    values = other_values(model.llm)
    if not values:
        raise Skipped("the model has no field with a switch, number or choice to vary")
    alike = [name for name, others in values.items() if _shares_entry(model, name, others[0])]
    for name, found in differences(model, alike, values):
        if found.value is not None and _shares_entry(model, name, found.value):
            _fail_of_field(model, name, as_code(name, found.value), found.text)
    return f"shared, without a difference: {', '.join(alike)}" if alike else None


def _shares_entry(model: Subject, name: str, value: Any) -> bool:
    """Whether a copy with another value in a field is given what another has been answered."""
    cache = InMemoryCache()
    one, other = variant(model, cache=cache), variant(model, cache=cache, **{name: value})
    with answering(model, one, "one"):
        ask(model, one)
    with answering(model, other, "other") as spy:
        trace = ask(model, other)
    return not spy.visits and trace.text == "one"


def _fail_of_field(model: Subject, name: str, other: str, answer: str) -> None:
    call = code("invoke", [model.prompt])[4:]
    fields = f"{{{name!r}: {other}, 'cache': "
    model.expect(
        False,
        f"with {name}={other} the cache gave {shown(model.text())}, the answer of a model with "
        f"{name}={shown(getattr(model.llm, name))}, instead of {shown(answer)}",
        "from langchain_core.caches import InMemoryCache",
        "",
        "cache = InMemoryCache()",
        f"llm.model_copy(update={{'cache': cache}}).{call}",
        f"got = llm.model_copy(update={fields}cache}}).{call}",
        f"want = llm.model_copy(update={fields}False}}).{call}",
        "assert got == want, (got, want)",
    )


@area.clause(
    13,
    "The cache tells calls with different parameters apart.",
    level="production",
    why="`invoke(prompt, temperature=1)` gives the answer that was cached for `temperature=0`.",
    source="this project's: langchain-core leaves the parameters of a call out of the key "
    "(langchain-ai/langchain#40403)",
    fix="Derive from `langchain_wrap.LLM`, whose key holds them; with langchain-core's class, tell "
    "users to set parameters on the object.",
)
def cache_knows_parameters(model: Subject) -> None:
    named, any_ = takes(model.llm)
    if not (named or any_):
        raise Skipped("calls of the model take no parameters")
    name = "temperature" if any_ or "temperature" in named else min(named)
    llm = variant(model, cache=InMemoryCache())
    with answering(model, llm, lambda prompt, kwargs: f"with {kwargs.get(name)}"):
        texts = [ask(model, llm, **{name: value}).text for value in _VALUES]
    model.expect(
        texts[0] != texts[1],
        f"a call with {name}={_VALUES[1]} was given the cached answer of one with "
        f"{name}={_VALUES[0]}",
        *_NOTING,
        code("invoke", [model.prompt], **{name: _VALUES[0]}),
        "first, keys[:] = set(keys), []",
        code("invoke", [model.prompt], **{name: _VALUES[1]}),
        f"assert set(keys) - first, 'one key for two values of {name}'",
    )


_VALUES = (0.0, 1.0)


@area.clause(
    14,
    "Callbacks are told of an answer out of the cache.",
    level="production",
    why="Calls that were answered by the cache are missing in traces and in counts.",
    source="this project's: langchain-core calls no callback on a hit "
    "(langchain-ai/langchain#9537)",
    fix="Derive from `langchain_wrap.LLM`, which starts and ends a run on a hit too.",
)
def hits_are_told(model: Subject) -> None:
    llm = variant(model, cache=InMemoryCache())
    with answering(model, llm, "an answer") as spy:
        ask(model, llm)
        once = len(spy.visits)
        trace = ask(model, llm)
    if len(spy.visits) > once or not once:
        raise Skipped("equal calls are not answered out of the cache, as IDENTITY-10 reports")
    told = [kind for kind in trace.kinds if kind != "token"]
    model.expect(
        told == ["start", "end"],
        f"callbacks were told {', '.join(told) or 'nothing'} of an answer out of the cache",
        "from langchain_core.caches import InMemoryCache",
        "from langchain_core.tracers.run_collector import RunCollectorCallbackHandler",
        "",
        "runs = RunCollectorCallbackHandler()",
        'llm = llm.model_copy(update={"cache": InMemoryCache()})',
        code("invoke", [model.prompt]),
        code("invoke", [model.prompt], config=Expression("{'callbacks': [runs]}")),
        "assert len(runs.traced_runs) == 1, 'the hit was not traced'",
    )
