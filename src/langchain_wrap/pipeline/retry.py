"""Retries: whether a failed attempt is tried again, and after how long."""

from __future__ import annotations

from tenacity import RetryCallState, Retrying, wait_random_exponential

WAIT = wait_random_exponential(multiplier=0.5, max=8.0)
"""Exponential with full jitter: at random up to 0.5, 1, 2, 4, then 8 seconds."""


def is_retryable(error: BaseException) -> bool:
    """Whether the same call may succeed when it is made again.

    An error that has `is_retryable` (as langchain-core's model errors) says so itself; of the
    others, only failures of the connection count.
    """
    verdict = getattr(error, "is_retryable", None)
    if isinstance(verdict, bool):
        return verdict
    return isinstance(error, ConnectionError | TimeoutError)


class Retries:
    """The attempts of one call.

    Args:
        most: How many times to try again after the first attempt.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._state: RetryCallState | None = None

    @property
    def state(self) -> RetryCallState:
        """What the `on_retry` callback is given, as langchain-core does."""
        if self._state is None:
            self._state = RetryCallState(Retrying(), None, (), {})
        return self._state

    def next_wait(self, error: BaseException) -> float | None:
        """Return the seconds to wait before the next attempt; None where there is none.

        An error with a number `retry_after` (seconds) is waited for at least so long.
        """
        if not self._most or self.state.attempt_number > self._most or not is_retryable(error):
            return None
        self.state.set_exception((type(error), error, error.__traceback__))
        seconds = float(WAIT(self.state))
        retry_after = getattr(error, "retry_after", None)
        if isinstance(retry_after, int | float):
            seconds = max(seconds, retry_after)
        return seconds

    def again(self) -> None:
        """Note that the next attempt begins."""
        self.state.prepare_for_next_attempt()
