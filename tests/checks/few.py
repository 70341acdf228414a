"""A contract of a few clauses, to test the frame of the kit without the real ones."""

from __future__ import annotations

import asyncio

from langchain_wrap.checks.clause import Area, Failed, Skipped

_MORE = {"why": "why", "source": "source", "fix": "fix"}
_CONTRACT = {"level": "contract", **_MORE}

one = Area("ONE", "The first")
two = Area("TWO", "The second")


@one.clause(1, "Holds.", **_CONTRACT)
def holds(model):
    model.answered("invoke")


@one.clause(2, "Holds, with a note.", **_CONTRACT)
def notes(model):
    return "a note"


@one.clause(3, "Does not hold.", **_CONTRACT)
def fails(model):
    model.answered("stream")
    raise Failed("seen: something", "raise RuntimeError\n")


@two.clause(1, "Cannot be told.", **_CONTRACT)
def skips(model):
    raise Skipped("no way to tell")


@two.clause(2, "The check meets an error.", level="production", **_MORE)
def errs(model):
    raise KeyError("of the model")


@two.clause(3, "The check is cancelled.", level="production", **_MORE)
def cancelled(model):
    raise asyncio.CancelledError


CLAUSES = (*one.clauses, *two.clauses)
