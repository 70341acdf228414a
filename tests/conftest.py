"""What every test can count on: no global cache, and Ctrl-C in the programs that it starts."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest
from langchain_core.globals import set_llm_cache

if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    # A shell ignores it for what it starts with `&`, and what a test starts would inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def no_global_cache() -> Iterator[None]:
    set_llm_cache(None)
    yield
    set_llm_cache(None)
