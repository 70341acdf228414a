"""The models that need no weights hold every clause of the contract."""

from __future__ import annotations

import pytest
from built_in import built_in
from checks_chat import openai_server

from langchain_wrap.checks import check_chat, check_llm
from langchain_wrap.models import HTTPEndpoint

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


@pytest.mark.timeout(600)
def test_the_chat_of_an_endpoint_holds_every_clause_of_chat():
    with openai_server.serving() as url:
        report = check_chat(
            lambda: HTTPEndpoint.openai(url, "m", api_key="sk-0123456789").as_chat(), timeout=30
        )
    assert report, str(report)
