from __future__ import annotations

import pytest
from langchain_core.exceptions import (
    ContextOverflowError,
    ModelAuthenticationError,
    ModelRateLimitError,
    ModelTimeoutError,
)

from langchain_wrap.pipeline.retry import WAIT, Retries, is_retryable


class Says(Exception):
    def __init__(self, verdict):
        self.is_retryable = verdict


@pytest.mark.parametrize(
    ("error", "verdict"),
    [
        (ModelRateLimitError("x"), True),
        (ModelTimeoutError("x"), True),
        (ModelAuthenticationError("x"), False),
        (ContextOverflowError("x"), False),
        (ConnectionError(), True),
        (ConnectionResetError(), True),
        (TimeoutError(), True),
        (OSError(), False),
        (ValueError(), False),
        (Says(True), True),
        (Says(False), False),
        (Says("perhaps"), False),
        (KeyboardInterrupt(), False),
    ],
)
def test_what_may_succeed_when_tried_again(error, verdict):
    assert is_retryable(error) is verdict


def test_there_are_as_many_tries_as_were_asked_for():
    retries = Retries(3)
    waits = 0
    while retries.next_wait(ConnectionError()) is not None:
        retries.again()
        waits += 1
    assert waits == 3


def test_without_retries_there_is_no_wait():
    assert Retries(0).next_wait(ConnectionError()) is None
    assert Retries(5).next_wait(ValueError()) is None


def test_waits_grow_with_jitter_up_to_a_bound():
    longest = [0.0] * 8
    for _ in range(300):
        retries = Retries(8)
        for attempt in range(8):
            longest[attempt] = max(longest[attempt], retries.next_wait(ConnectionError()))
            retries.again()
    assert all(most <= 0.5 * 2**i + 1e-9 for i, most in enumerate(longest[:4]))
    assert max(longest) <= 8
    assert longest[0] < longest[2] < longest[4]
    assert len({WAIT(retries.state) for _ in range(20)}) > 1


def test_retry_after_is_waited_for_at_least():
    error = ConnectionError()
    error.retry_after = 77
    assert Retries(1).next_wait(error) == 77
    error.retry_after = "soon"
    assert Retries(1).next_wait(error) <= 0.5


def test_the_state_tells_of_the_error():
    retries = Retries(2)
    error = ConnectionError("down")
    retries.next_wait(error)
    assert retries.state.outcome.exception() is error
    assert retries.state.attempt_number == 1
    retries.again()
    assert retries.state.attempt_number == 2
