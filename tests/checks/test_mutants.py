"""The kit finds every mutant, says so of no other clause, and its snippets show the failure."""

from __future__ import annotations

import importlib
import pkgutil

import mutants
import pytest
from mutants.mutant import FAILED, Mutant

from langchain_wrap.checks import check_llm
from langchain_wrap.checks.clauses import CLAUSES

MUTANTS: list[Mutant] = [
    mutant
    for module in pkgutil.iter_modules(mutants.__path__)
    for mutant in getattr(importlib.import_module(f"mutants.{module.name}"), "MUTANTS", ())
]


def failed(report):
    return {result.id: result for result in report if result.status == "failed"}


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda m: f"{m.clause}-{m.name}")
def test_a_mutant_fails_its_clause_and_only_it(mutant):
    found = failed(check_llm(mutant.wrong, level=level_of(mutant.clause)))
    FAILED[mutant] = set(found)
    assert set(found) == mutant.owed
    script = compile(found[mutant.clause].repro, "repro", "exec")
    with pytest.raises(BaseException) as shown:  # noqa: PT011
        exec(script, {"llm": mutant.wrong()})
    assert not isinstance(shown.value, NameError | ImportError)  # a mistake in the script itself
    exec(script, {"llm": mutant.right()})


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda m: f"{m.clause}-{m.name}")
def test_its_right_counterpart_passes(mutant):
    (result,) = check_llm(mutant.right, only=mutant.clause)
    assert result.status == "passed", result.message


def test_every_clause_has_a_mutant():
    assert {clause.id for clause in CLAUSES} == {mutant.clause for mutant in MUTANTS}


def level_of(clause: str) -> str:
    return next(known.level for known in CLAUSES if known.id == clause)
