"""The kit for chat finds every mutant, says so of no other clause, and its scripts show it."""

from __future__ import annotations

import functools

import pytest
from looks import failed, raised, runs, seen

from checks_chat import mutants_of_calls, mutants_of_facts
from checks_chat.mutant import LOOKED, MUTANTS
from langchain_wrap.checks import check_chat
from langchain_wrap.checks.clauses.chat import CLAUSES

assert mutants_of_calls
assert mutants_of_facts


@functools.cache
def of_the_right_one(right, level):
    return frozenset(failed(check_chat(right, level=level)))


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda m: f"{m.clause}-{m.name}")
def test_a_mutant_fails_its_clause_and_only_it(mutant):
    level = level_of(mutant.clause)
    known = of_the_right_one(mutant.right, level)

    def look():
        found = failed(check_chat(mutant.wrong, level=level))
        return {id_: result for id_, result in found.items() if id_ not in known}

    LOOKED[mutant] = 0
    found, LOOKED[mutant] = seen(look, mutant.owed)
    repro = found[mutant.clause].repro
    raised(repro, mutant.wrong)
    runs(repro, mutant.right)


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda m: f"{m.clause}-{m.name}")
def test_its_right_counterpart_passes(mutant):
    assert mutant.clause not in of_the_right_one(mutant.right, level_of(mutant.clause))
    (result,) = check_chat(mutant.right, only=mutant.clause)
    assert result.status == "passed", result.message


def test_every_clause_has_a_mutant():
    assert {clause.id for clause in CLAUSES} == {mutant.clause for mutant in MUTANTS}


def level_of(clause: str) -> str:
    return next(known.level for known in CLAUSES if known.id == clause)
