"""The local model's server, and what the plug-ins of langchain-tests want to be told."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from chat_scripted import KEY
from llama_server import llama_server

from langchain_wrap.models import weights


@pytest.fixture(scope="module")
def smollm2_server() -> Iterator[str]:
    """The base URL of llama.cpp's own server with SmolLM2; its key is `KEY`."""
    server = llama_server(weights.resolve(weights.DEFAULT), KEY)
    yield f"{server.listening_address}/v1"
    del server


@pytest.fixture(scope="session")
def vcr_config() -> dict[str, Any]:
    """Cassettes are neither written nor played: the servers are on this machine."""
    return {"record_mode": "none", "ignore_localhost": True}


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: Any, call: Any) -> Any:
    """A skip that its class does not name in `may_skip` is a failure."""
    report = yield
    allowed = getattr(item.cls, "may_skip", None)
    if report.skipped and allowed is not None and item.originalname not in allowed:
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid} was skipped, and no table says why: {report.longrepr}"
    return report
