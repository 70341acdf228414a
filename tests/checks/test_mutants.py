"""The kit finds every mutant, says so of no other clause, and its snippets show the failure."""

from __future__ import annotations

import importlib
import pkgutil

import mutants
import pytest
from looks import failed, raised, runs, seen
from mutants.mutant import LOOKED, Mutant

from langchain_wrap.checks import check_llm
from langchain_wrap.checks.clauses import CLAUSES

MUTANTS: list[Mutant] = [
    mutant
    for module in pkgutil.iter_modules(mutants.__path__)
    for mutant in getattr(importlib.import_module(f"mutants.{module.name}"), "MUTANTS", ())
]


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda m: f"{m.clause}-{m.name}")
def test_a_mutant_fails_its_clause_and_only_it(mutant):
    level = level_of(mutant.clause)
    LOOKED[mutant] = 0
    found, LOOKED[mutant] = seen(lambda: failed(check_llm(mutant.wrong, level=level)), mutant.owed)
    repro = found[mutant.clause].repro
    raised(repro, mutant.wrong)
    runs(repro, mutant.right)


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda m: f"{m.clause}-{m.name}")
def test_its_right_counterpart_passes(mutant):
    (result,) = check_llm(mutant.right, only=mutant.clause)
    assert result.status == "passed", result.message


def test_every_clause_has_a_mutant():
    assert {clause.id for clause in CLAUSES} == {mutant.clause for mutant in MUTANTS}


def level_of(clause: str) -> str:
    return next(known.level for known in CLAUSES if known.id == clause)
