"""Timeouts: how long a caller waits for a model."""

from __future__ import annotations

import time
from dataclasses import dataclass, fields

from langchain_core.exceptions import ModelTimeoutError


class Expired(Exception):
    """Inside the pipeline: a wait has reached its deadline."""


@dataclass(frozen=True, slots=True)
class Timeout:
    """How long to wait, in seconds; None means for ever.

    A timeout that has passed raises `langchain_core.exceptions.ModelTimeoutError` and cancels the
    model. A model that cannot be stopped (a blocking call) runs on in its thread and keeps its
    place under `concurrency`; the caller is free all the same.

    Args:
        total: For the whole call, waiting for a free place and retries included.
        first_token: From the moment the model is called until its first chunk.
        idle: Between two chunks.
    """

    total: float | None = None
    first_token: float | None = None
    idle: float | None = None

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if value is not None and not value > 0:
                raise ValueError(f"timeout: {field.name} must be more than 0 s, not {value!r}")

    @classmethod
    def of(cls, value: object) -> Timeout:
        """Return `value` as a Timeout; a number means the total.

        A class may declare a field `timeout` of its own with another meaning (`httpx.Timeout`,
        say); what is neither None, a number nor a Timeout is such a one, and bounds nothing here.
        """
        if isinstance(value, cls):
            return value
        if isinstance(value, int | float) and not isinstance(value, bool):
            return cls(total=value)
        return UNBOUNDED


UNBOUNDED = Timeout()


class Patience:
    """The clock of one call: says until when to wait next, and which timeout that is."""

    def __init__(self, timeout: Timeout) -> None:
        self._timeout = timeout
        self._total = None if timeout.total is None else time.monotonic() + timeout.total
        self._next: float | None = None
        self._next_name = ""

    @property
    def bounded(self) -> bool:
        """Whether anything is bounded at all."""
        return self._timeout is not UNBOUNDED

    @property
    def total(self) -> float | None:
        """Monotonic time at which the whole call ends."""
        return self._total

    def called(self) -> None:
        """Note that the model is being called now."""
        self._mark("first_token")

    def waits(self) -> None:
        """Note that the reader waits for another chunk now."""
        if self._timeout.idle is not None or self._next is not None:
            self._mark("idle")

    def pause(self, seconds: float) -> float:
        """Return the monotonic time at which a pause of so many seconds ends."""
        end = time.monotonic() + seconds
        return end if self._total is None else min(end, self._total)

    @property
    def deadline(self) -> float | None:
        """Monotonic time until which to wait for the next chunk."""
        if self._next is None:
            return self._total
        return self._next if self._total is None else min(self._next, self._total)

    def error(self, waiting_for: str) -> ModelTimeoutError:
        """Return the error for the timeout that has passed."""
        name = self._next_name
        if self._next is None or (self._total is not None and self._total <= self._next):
            name = "total"
        seconds = getattr(self._timeout, name)
        return ModelTimeoutError(
            f"no answer in time: {name} timeout of {seconds:g} s has passed, waiting for "
            f"{waiting_for}"
        )

    @property
    def is_over(self) -> bool:
        """Whether the whole call's time is over, so that a retry is of no use."""
        return self._total is not None and time.monotonic() >= self._total

    def _mark(self, name: str) -> None:
        seconds = getattr(self._timeout, name)
        self._next_name = name
        self._next = None if seconds is None else time.monotonic() + seconds
