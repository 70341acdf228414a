"""What the tests of the local engine share."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from typing import Any

ENGINE: dict[str, Any] = {"n_ctx": 1024, "n_parallel": 4, "n_threads": 1}
"""One thread: two of them on busy cores wait for each other."""

Run = Callable[..., subprocess.CompletedProcess[str]]


def eventually(condition: Callable[[], object], patience: float = 30) -> bool:
    """Wait for something that must come about, with a bound for liveness only."""
    deadline = time.monotonic() + patience
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True
