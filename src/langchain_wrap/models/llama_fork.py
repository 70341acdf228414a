"""Forking: how a process that has loaded llama.cpp can have children that live and exit.

llama.cpp keeps two threads for as long as the process lives, one that writes its log and one that
tidies up HTTP streams, and waits for both when the process exits. A forked child has neither, so
its exit would hang, or abort. They are therefore stopped while a fork takes place; the parent
starts them again, the child does so if it loads a model itself.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
from typing import Any

_LOG = "_Z15common_log_mainv"
_PAUSE, _RESUME = "_Z16common_log_pauseP10common_log", "_Z17common_log_resumeP10common_log"
_START = "_Z35server_stream_session_manager_startv"
_STOP = "_Z34server_stream_session_manager_stopv"

_threads: _Threads | None = None


class _Threads:
    """The two threads, by the C++ functions that stop and start them."""

    def __init__(self, path: str) -> None:
        library = ctypes.PyDLL(path)  # keeps the GIL: nothing else happens meanwhile
        log: Any = library[_LOG]
        log.restype = ctypes.c_void_p
        self._log = ctypes.c_void_p(log())
        self._pause, self._resume = library[_PAUSE], library[_RESUME]
        self._start_tidying, self._stop_tidying = library[_START], library[_STOP]

    def start_log(self) -> None:
        self._resume(self._log)

    def start(self) -> None:
        self._resume(self._log)
        self._start_tidying()

    def stop(self) -> None:
        self._pause(self._log)
        self._stop_tidying()


def prepare(path: str) -> None:
    """Take note of the engine's shared library: from now on forks need care."""
    global _threads
    if _threads is None and hasattr(os, "register_at_fork"):
        # Another version may have other names: then a child must leave by os._exit.
        with contextlib.suppress(AttributeError):
            _threads = _Threads(path)
    if _threads is not None:
        _threads.start_log()


def _before() -> None:
    if _threads is not None:
        _threads.stop()


def _after_in_parent() -> None:
    if _threads is not None:
        _threads.start()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before, after_in_parent=_after_in_parent)
