"""A stand-in for an author's methods: what LangChain makes of a call can be seen without the model.

It costs nothing, so a slow model is checked as fast as any other; and it takes every parameter.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from langchain_core.language_models.llms import BaseLLM

from langchain_wrap.checks.clause import Skipped
from langchain_wrap.checks.probes import paths
from langchain_wrap.checks.probes.spy import Spy, authored, saying
from langchain_wrap.checks.probes.trace import Trace
from langchain_wrap.checks.subject import Subject, describe_error
from langchain_wrap.contract import Contract

Answer = Callable[[str, dict[str, Any]], str]
"""Says what to answer to a prompt, given the parameters of the call."""


@contextmanager
def answering(model: Subject, llm: BaseLLM, answer: Answer | str, **options: Any) -> Iterator[Spy]:
    """Have `answer` stand in the place of the model for the time of the body.

    Raises:
        Skipped: There is no method in whose place it could stand.
    """
    say: Answer = (lambda prompt, kwargs: answer) if isinstance(answer, str) else answer
    with model.spy(llm, around=lambda name, _: saying(name, say), **options) as spy:
        yield spy


def reach(model: Subject, llm: BaseLLM, path: str = "invoke", /, **kwargs: Any) -> Trace:
    """Call a model whose methods are stood in for; it does not count as a call of the model.

    Raises:
        NoAnswer: It takes too long.
    """
    return paths.call(llm, path, [model.prompt], seconds=model.timeout, **kwargs)


def ask(model: Subject, llm: BaseLLM, path: str = "invoke", /, **kwargs: Any) -> Trace:
    """Do the same where nothing may go wrong.

    Raises:
        NoAnswer: It takes too long.
        Skipped: It fails, which is not the model's doing.
    """
    trace = reach(model, llm, path, **kwargs)
    if trace.error is not None:
        raise Skipped(f"{path} fails before it comes to the model: {describe_error(trace.error)}")
    return trace


def takes(llm: BaseLLM) -> tuple[frozenset[str], bool]:
    """Return which call parameters all methods of the author name, and whether all take any."""
    names: list[set[str]] = []
    open_: list[bool] = []
    for name in authored(llm):
        method = llm._method(name) if isinstance(llm, Contract) else getattr(llm, name)
        found = list(inspect.signature(method).parameters.values())[1:]
        by_name = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
        names.append({p.name for p in found if p.kind in by_name} - _GIVEN)
        open_.append(any(p.kind == inspect.Parameter.VAR_KEYWORD for p in found))
    if not names:
        return frozenset(), False
    return frozenset(set.intersection(*names)), all(open_)


_GIVEN = {"stop", "run_manager", "cancel"}
