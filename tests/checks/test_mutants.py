"""The kit finds every mutant, says so of no other clause, and its snippets show the failure."""

from __future__ import annotations

import importlib
import pkgutil

import pytest

import tests.mutants
from langchain_wrap.checks import check_llm
from langchain_wrap.checks.clauses import CLAUSES
from tests.mutants.mutant import Mutant

MUTANTS: list[Mutant] = [
    mutant
    for module in pkgutil.iter_modules(tests.mutants.__path__)
    for mutant in getattr(importlib.import_module(f"tests.mutants.{module.name}"), "MUTANTS", ())
]


def failed(report):
    return {result.id: result for result in report if result.status == "failed"}


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda m: f"{m.clause}-{m.name}")
def test_a_mutant_fails_its_clause_and_only_it(mutant):
    found = failed(check_llm(mutant.wrong, level=level_of(mutant.clause)))
    assert set(found) == {mutant.clause} | mutant.also
    with pytest.raises(Exception, match=""):
        exec(found[mutant.clause].repro, {"llm": mutant.wrong()})


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda m: f"{m.clause}-{m.name}")
def test_its_right_counterpart_passes(mutant):
    (result,) = check_llm(mutant.right, only=mutant.clause)
    assert result.status == "passed", result.message


def test_every_clause_has_a_mutant():
    assert {clause.id for clause in CLAUSES} == {mutant.clause for mutant in MUTANTS}


def level_of(clause: str) -> str:
    return next(known.level for known in CLAUSES if known.id == clause)
