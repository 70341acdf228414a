"""The rate limiter: waited for like anything else, so that timeouts and cancelling hold."""

from __future__ import annotations

import time

from langchain_core.rate_limiters import BaseRateLimiter

from langchain_wrap.pipeline.cancel import Cancelled, CancelToken
from langchain_wrap.pipeline.shell import Shell
from langchain_wrap.pipeline.waiter import Waiter

SHORTEST, LONGEST = 0.001, 0.05
"""Seconds between two questions to the limiter."""


async def pass_limiter(
    limiter: BaseRateLimiter,
    shell: Shell,
    waiter: Waiter,
    deadline: float | None,
    cancel: CancelToken,
) -> bool:
    """Wait until the limiter lets one more attempt pass; False at the monotonic `deadline`.

    Raises:
        Cancelled: `cancel` was cancelled.
    """
    pause = SHORTEST
    while not cancel.cancelled:
        if await shell.settle(shell.acquire(limiter)) is not False:
            return True
        now = time.monotonic()
        if deadline is not None and now >= deadline:
            return False
        end = now + pause if deadline is None else min(now + pause, deadline)
        await waiter.until(lambda: False, end, cancel)
        pause = min(2 * pause, LONGEST)
    raise Cancelled
