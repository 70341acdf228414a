from __future__ import annotations

import copy
import pickle
import time

import pytest
from langchain_core.exceptions import ModelTimeoutError

from langchain_wrap import Timeout
from langchain_wrap.pipeline.timeout import Patience


@pytest.mark.parametrize("name", ["total", "first_token", "idle"])
@pytest.mark.parametrize("wrong", [0, -1, -0.5, float("nan")])
def test_a_timeout_must_be_more_than_nothing(name, wrong):
    with pytest.raises(ValueError, match=f"{name} must be more than 0"):
        Timeout(**{name: wrong})


def test_a_number_is_the_total():
    assert Timeout.of(5) == Timeout(total=5)
    assert Timeout.of(0.5) == Timeout(total=0.5)
    assert Timeout.of(Timeout(idle=1)) == Timeout(idle=1)


@pytest.mark.parametrize("other", [None, True, "5", object()])
def test_what_is_no_timeout_of_ours_bounds_nothing(other):
    assert Timeout.of(other) == Timeout()
    assert not Patience(Timeout.of(other)).bounded


def test_timeouts_travel():
    timeout = Timeout(total=1, idle=2)
    assert pickle.loads(pickle.dumps(timeout)) == copy.deepcopy(timeout) == timeout


def test_without_bounds_there_is_no_deadline():
    patience = Patience(Timeout())
    patience.called()
    patience.waits()
    assert patience.deadline is patience.total is None
    assert not patience.is_over


def test_the_deadline_is_the_nearest():
    patience = Patience(Timeout(total=50, first_token=5))
    assert patience.deadline == patience.total
    patience.called()
    assert patience.deadline < patience.total
    assert "first_token timeout of 5 s" in str(patience.error("x"))
    patience = Patience(Timeout(total=5, first_token=50))
    patience.called()
    assert patience.deadline == patience.total
    assert "total timeout of 5 s" in str(patience.error("x"))


def test_the_error_names_what_was_waited_for_and_is_retryable():
    error = Patience(Timeout(total=1.5)).error("Model._call()")
    assert isinstance(error, ModelTimeoutError)
    assert error.is_retryable
    assert "1.5 s" in str(error)
    assert "Model._call()" in str(error)


def test_a_pause_never_outlasts_the_total():
    patience = Patience(Timeout(total=0.5))
    assert patience.pause(100) == patience.total
    now = time.monotonic()
    assert now < patience.pause(0.1) < patience.total
