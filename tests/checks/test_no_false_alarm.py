"""On a busy machine the kit has nothing against right models: a short `make soak`."""

from __future__ import annotations

import multiprocessing
from concurrent.futures import ProcessPoolExecutor

import pytest
from mutants.right import Core
from soak import REFERENCES, Outcome, Right, check, load, of_run

SEED = 1000
"""Another seed makes other models of the family."""

COUNT = 10
"""Core, Ours, the six kinds, and two of the family; `make soak` checks more."""


def models() -> list[Right]:
    return [*REFERENCES[:8], *of_run(SEED)[-2:]]


def check_one(index: int) -> Outcome:
    return check(models()[index], SEED)


@pytest.fixture(scope="module")
def outcomes() -> list[Outcome]:
    spawn = multiprocessing.get_context("spawn")
    with load(), ProcessPoolExecutor(4, mp_context=spawn) as pool:
        return list(pool.map(check_one, range(COUNT)))


@pytest.mark.parametrize("index", range(COUNT), ids=[right.name for right in models()])
def test_a_right_model_raises_no_alarm(outcomes, index):
    assert outcomes[index].alarms == []
    assert len(outcomes[index].skipped) < outcomes[index].clauses / 2


def test_a_wrong_model_does():
    class Wrong(Core):
        async def _acall(self, prompt, stop=None, run_manager=None, **kwargs):
            return "something else"

    (alarm,) = check(Right("wrong", Wrong, "contract"), 0, only="CALL-02").alarms
    assert alarm.startswith("CALL-02")


def test_a_run_has_the_reference_models_and_the_family():
    names = [right.name for right in of_run(7)]
    assert names[:2] == ["Core", "Ours"]
    assert len(names) == 6
    assert {name for seed in range(6) for name in [r.name for r in of_run(seed)][:4]} == {
        right.name for right in REFERENCES
    }
    assert len(of_run(7, whole=True)) == len(REFERENCES) + 2
