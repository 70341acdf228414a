"""On a busy machine the kit has nothing against right models: a short `make soak`."""

from __future__ import annotations

import pytest
from family import CORES, OURS, member
from mutants.right import Core
from soak import REFERENCES, Right, check, load, of_run

SHORT = range(1000, 1002)
"""Seeds of the family that are checked with every run of the tests."""


@pytest.fixture(scope="module", autouse=True)
def _busy():
    with load():
        yield


@pytest.mark.parametrize("right", REFERENCES, ids=lambda right: right.name)
def test_a_reference_model_raises_no_alarm(right):
    assert check(right, 0).alarms == []


@pytest.mark.parametrize("seed", SHORT)
@pytest.mark.parametrize(("kinds", "level"), [(CORES, "contract"), (OURS, "production")])
def test_a_model_of_the_family_raises_no_alarm(kinds, level, seed):
    right = Right(f"family {seed}", member(seed, kinds), level)
    assert check(right, seed).alarms == []


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
