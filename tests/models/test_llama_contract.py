"""The real local model holds every clause of the contract."""

from __future__ import annotations

import pytest

from langchain_wrap.checks import check_llm

UNTOLD = {"SECRET-01", "SECRET-02", "SECRET-03", "SECRET-04", "SECRET-06", "DOCS-03"}
"""It has no field for a key or for headers, and no service stands behind it."""


@pytest.mark.timeout(900)
def test_smollm2_holds_every_clause(llm):
    report = check_llm(llm, timeout=60)  # a busy machine is not the model's fault
    assert report, str(report)
    assert {result.id for result in report if result.status == "skipped"} <= UNTOLD
