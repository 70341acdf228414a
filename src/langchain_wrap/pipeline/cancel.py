"""Cancelling: one token, shared by the caller, the pipeline and the model."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

logger = logging.getLogger("langchain_wrap")


class Cancelled(Exception):
    """Inside the pipeline: the token of this call has been cancelled."""


class CancelToken:
    """Says that nobody wants the result any more; safe to use from any thread.

    A model's method that has a parameter `cancel` is given the token of its call. It can look at
    `cancelled` between two steps, `wait` instead of sleeping, or have a function called.
    """

    __slots__ = ("_callbacks", "_cancelled", "_lock")

    def __init__(self) -> None:
        self._lock = threading.RLock()  # a garbage collection inside may come here again
        self._cancelled = False
        self._callbacks: list[Callable[[], object]] = []

    @property
    def cancelled(self) -> bool:
        """Whether the call has been cancelled; it never goes back to False."""
        return self._cancelled

    def cancel(self) -> None:
        """Cancel the call; only the first time has an effect."""
        with self._lock:
            if self._cancelled:
                return
            self._cancelled = True
            callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            try:
                callback()
            except Exception:
                # One that fails must not keep the others from being called.
                logger.warning("a callback of a CancelToken has failed", exc_info=True)

    def wait(self, timeout: float | None = None) -> bool:
        """Block for at most `timeout` seconds; return whether the call was cancelled."""
        event = threading.Event()
        self.add_callback(event.set)
        try:
            return event.wait(timeout)
        finally:
            self.remove_callback(event.set)

    def add_callback(self, callback: Callable[[], object]) -> None:
        """Have `callback` called once, by the thread that cancels; at once if that was before."""
        with self._lock:
            if not self._cancelled:
                self._callbacks.append(callback)
                return
        callback()

    def remove_callback(self, callback: Callable[[], object]) -> None:
        """Forget `callback`; no error where it is not known."""
        with self._lock:
            if callback in self._callbacks:
                self._callbacks.remove(callback)
