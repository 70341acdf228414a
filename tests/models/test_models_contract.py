"""The models that need no weights hold every clause of the contract."""

from __future__ import annotations

import pytest
from built_in import built_in

from langchain_wrap.checks import check_llm

NAMES = (
    "HTTPEndpoint.openai",
    "HTTPEndpoint.ollama",
    "HTTPEndpoint",
    "Command",
    "Command(persistent=True)",
)


@pytest.fixture(scope="module")
def makers():
    with built_in() as found:
        assert set(found) == set(NAMES)
        yield found


@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", NAMES)
def test_it_holds_every_clause(makers, name):
    report = check_llm(makers[name], timeout=30)
    assert report, str(report)
