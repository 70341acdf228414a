"""CHAT-IDENTITY: identity, cache, copies."""

from __future__ import annotations

from typing import Any, NoReturn

from langchain_core.caches import RETURN_VAL_TYPE, BaseCache

from langchain_wrap.checks.chat.subject import ChatSubject
from langchain_wrap.checks.clause import Area, Skipped
from langchain_wrap.checks.clauses import identity as of_llms
from langchain_wrap.checks.probes.fields import as_code, other_values, variant
from langchain_wrap.checks.probes.sameness import differences
from langchain_wrap.checks.shared import describe_error, shown

area = Area("CHAT-IDENTITY", "Identity, cache, copies")

area.clause(
    1,
    "`_llm_type` is a text that is not empty and never changes.",
    level="contract",
    why="Traces and the cache know the model by it: their entries fall apart, or into one.",
    source="langchain_core BaseChatModel._llm_type: «Return type of chat model.»",
    fix='Return a constant: `return "my-chat-model"`.',
)(of_llms.type_is_constant)

area.clause(
    2,
    "`_identifying_params` is a dict that can be written as JSON.",
    level="contract",
    why="Traces and the key of the cache are made of it.",
    source="langchain_core BaseLanguageModel._identifying_params: «Get the identifying "
    "parameters.»",
    fix="Make it a `@property` that returns a dict of strings, numbers, booleans, lists and dicts.",
)(of_llms.params_are_json)

area.clause(
    3,
    "Calls do not change `_identifying_params`.",
    level="contract",
    why="The same question is asked and paid for again, because the key of the cache has changed.",
    source="langchain_core BaseChatModel._get_llm_string: the key of the cache is made of it",
    fix="Leave out what changes: counters, times, ids of calls, objects whose text has an address.",
)(of_llms.params_are_constant)

area.clause(
    4,
    "A copy by `model_copy` answers the same, and changing it does not change the model.",
    level="contract",
    why="Programs keep one model and derive others with another setting of it; they all change.",
    source="pydantic BaseModel.model_copy, which every Runnable has: «Returns a copy of the "
    "model.»",
    fix="Keep what is made of the fields (clients, options) apart for each object, or make it in "
    "the call.",
)(of_llms.copies)

area.clause(
    5,
    "`copy.deepcopy` works, and the copy stands on its own.",
    level="production",
    why="Frameworks that copy whole programs (optimisers, evaluations, servers with workers) fail.",
    source="this project's: langchain-core promises nothing, and a lock, client or thread in a "
    "field makes Python's own deepcopy fail",
    fix="Make clients, locks and engines on first use, in a private attribute that "
    "`__getstate__` leaves out, or derive from `langchain_wrap.ChatModel`.",
)(of_llms.deep_copies)

area.clause(
    6,
    "A pickled model answers the same.",
    level="production",
    why="The model cannot be sent to another process: multiprocessing, Ray, Dask and Celery fail.",
    source="this project's: langchain-core promises nothing, and a lock, client or thread in a "
    "field makes Python's own pickle fail",
    fix="Make clients, locks and engines on first use, in a private attribute that "
    "`__getstate__` leaves out, or derive from `langchain_wrap.ChatModel`.",
)(of_llms.pickles)


class _Asked(Exception):
    """The cache was asked, by a key; no call comes to the model."""


class _Noting(BaseCache):
    """A cache that is asked once."""

    def lookup(self, prompt: str, llm_string: str) -> RETURN_VAL_TYPE | None:
        """Tell the key."""
        self._tell(prompt, llm_string)

    async def alookup(self, prompt: str, llm_string: str) -> RETURN_VAL_TYPE | None:
        """Tell the key."""
        self._tell(prompt, llm_string)

    def _tell(self, prompt: str, llm_string: str) -> NoReturn:
        raise _Asked(prompt, llm_string)

    def update(self, prompt: str, llm_string: str, return_val: RETURN_VAL_TYPE) -> None:
        """Keep nothing."""

    def clear(self, **kwargs: Any) -> None:
        """Keep nothing."""


def key_of(model: ChatSubject, llm: Any, path: str = "invoke", **kwargs: Any) -> tuple[str, str]:
    """Return the key by which a cache is asked for the answer to a call.

    Raises:
        Skipped: It is not asked.
    """
    cached = llm.model_copy(update={"cache": _Noting()})
    cached.__dict__.pop("_serialized", None)
    trace = model.called(cached, path, [model.prompt], seconds=model.timeout, **kwargs)
    if isinstance(trace.error, _Asked):
        return trace.error.args[0], trace.error.args[1]
    if trace.error is not None:
        raise Skipped(f"{path} fails before the cache is asked: {describe_error(trace.error)}")
    raise Skipped(f"{path} does not ask the cache")


_KEYS = (
    "from langchain_wrap.checks.clauses.chat.identity import _Asked, _Noting",
    "",
    "def key(llm, **kwargs):",
    "    cached = llm.model_copy(update={'cache': _Noting()})",
    "    cached.__dict__.pop('_serialized', None)",
    "    try:",
    "        cached.invoke('x', **kwargs)",
    "    except _Asked as asked:",
    "        return asked.args",
    "",
)


@area.clause(
    7,
    "Equal calls have one key in the cache, and calls with other stops another.",
    level="contract",
    why="Users who set a cache pay for every call all the same, or get the text past a stop.",
    source="langchain_core BaseChatModel._get_llm_string(stop, **kwargs)",
    fix="Leave `_get_llm_string` and `_generate_with_cache` to langchain-core; let "
    "`_identifying_params` be constant.",
)
def keys(model: ChatSubject) -> None:
    first = key_of(model, model.llm)
    model.attempt("invoke", again=True)
    for path in ("invoke", "ainvoke"):
        model.expect(
            key_of(model, model.llm, path) == first,
            f"the key of a call by {path} is another each time",
            *_KEYS,
            "first = key(llm)",
            model.code("invoke", [model.prompt]),
            "assert key(llm) == first, (key(llm), first)",
        )
    model.expect(
        key_of(model, model.llm, stop=["END"]) != first,
        "a call with a stop and one without have one key in the cache",
        *_KEYS,
        "assert key(llm, stop=['END']) != key(llm), key(llm)",
    )


@area.clause(
    8,
    "The cache tells calls with different parameters and tools apart.",
    level="contract",
    why="`invoke(messages, temperature=1)` gives the answer that was cached for `temperature=0`; "
    "an agent gets an answer that was made without its tools.",
    source="langchain_core BaseChatModel._get_llm_string(stop, **kwargs): the parameters of the "
    "call are in the key",
    fix="Leave `_get_llm_string` to langchain-core, or put all of `kwargs` into your own.",
)
def keyed_by_parameters(model: ChatSubject) -> None:
    given: tuple[dict[str, Any], ...] = (
        {"temperature": 0.0},
        {"temperature": 1.0},
        {"tools": [{"type": "function", "function": {"name": "f"}}]},
    )
    seen: dict[tuple[str, str], Any] = {key_of(model, model.llm): {}}
    for parameters in given:
        key = key_of(model, model.llm, **parameters)
        model.expect(
            key not in seen,
            f"a call with {parameters} has the key of one with {seen.get(key) or 'nothing'}",
            *_KEYS,
            f"found = [key(llm), *(key(llm, **one) for one in {given!r})]",
            "assert len(set(found)) == len(found), found",
        )
        seen[key] = parameters


@area.clause(
    9,
    "The cache gives no model the answer of one that is configured differently.",
    level="production",
    why="A model with another setting gives the answers of the old one, and nobody sees why.",
    source="this project's: langchain-core makes the key of `_identifying_params`, which is an "
    "empty dict unless the author writes it",
    fix="Put every field that changes the answer into `_identifying_params`, or derive from "
    "`langchain_wrap.ChatModel`, whose key holds all fields.",
)
def keyed_by_fields(model: ChatSubject) -> str | None:
    values = other_values(model.llm)
    if not values:
        raise Skipped("the model has no field with a switch, number or choice to vary")
    own = key_of(model, model.llm)

    def shares(name: str, value: Any) -> bool:
        return key_of(model, variant(model, **{name: value})) == own

    alike = [name for name, others in values.items() if shares(name, others[0])]
    for name, found in differences(model, alike, values):
        if found.value is not None and shares(name, found.value):
            other = as_code(name, found.value)
            model.expect(
                False,
                f"with {name}={other} the model says {shown(found.text)} instead of "
                f"{shown(model.text())}, and its key in the cache is the same",
                *_KEYS,
                f"other = llm.model_copy(update={{{name!r}: {other}}})",
                "assert key(other) != key(llm), key(llm)",
            )
    return f"shared, without a difference: {', '.join(alike)}" if alike else None
