"""`check_llm`."""

import pytest
from langchain_core.language_models.fake import FakeListLLM

from checks import few
from langchain_wrap.checks import ContractWarning, check_llm


@pytest.fixture(autouse=True)
def few_clauses(monkeypatch):
    monkeypatch.setattr("langchain_wrap.checks.session.CLAUSES", few.CLAUSES)


@pytest.fixture
def llm():
    return FakeListLLM(responses=["one two three"])


def test_reports_every_clause_in_order(llm):
    report = check_llm(llm)
    assert [r.id for r in report] == [c.id for c in few.CLAUSES]
    assert report.counts() == {"passed": 2, "failed": 3, "skipped": 1, "xfailed": 0, "xpassed": 0}
    assert not report
    assert report.seconds >= sum(r.seconds for r in report)


def test_says_what_was_checked(llm):
    report = check_llm(llm, level="contract")
    assert (report.model, report.level) == ("FakeListLLM", "contract")
    assert list(report.versions) == ["langchain-wrap", "langchain-core", "Python"]
    assert check_llm(FakeListLLM(responses=["a"], name="mine"), only="ONE").model == (
        "FakeListLLM mine"
    )


@pytest.mark.parametrize("kind", ["object", "function"])
def test_takes_a_model_or_what_makes_one(llm, kind):
    assert check_llm(llm if kind == "object" else lambda: llm, only="ONE-01")


def test_expected_failures(llm):
    assert check_llm(llm, only="ONE", expected_failures={"ONE-03": "known"})
    assert not check_llm(llm, only="ONE", expected_failures={"ONE-03": "known", "ONE-01": "no"})


def test_on_fail_raise(llm):
    with pytest.raises(AssertionError, match="ONE-03"):
        check_llm(llm, on_fail="raise")
    assert check_llm(llm, only="ONE-01", on_fail="raise")


def test_on_fail_warn(llm):
    with pytest.warns(ContractWarning, match="ONE-03") as warned:
        check_llm(llm, on_fail="warn")
    assert warned[0].filename == __file__
    assert check_llm(llm, only="ONE-01", on_fail="warn")


def test_on_fail_of_another_kind_is_an_error(llm):
    with pytest.raises(ValueError, match="on_fail='exit'"):
        check_llm(llm, on_fail="exit")


def test_whether_a_model_is_deterministic_can_be_declared(llm):
    assert check_llm(llm, only="ONE-01").notes == ()
    (note,) = check_llm(llm, only="ONE-01", deterministic=False).notes
    assert "vary" in note
