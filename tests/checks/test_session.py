"""A session: which clauses are checked, and what becomes of what their checks say."""

import pytest
from langchain_core.language_models.fake import FakeListLLM

from checks import few
from langchain_wrap.checks.session import Session, expected, select
from langchain_wrap.checks.subject import Subject


@pytest.fixture(autouse=True)
def few_clauses(monkeypatch):
    monkeypatch.setattr("langchain_wrap.checks.session.CLAUSES", few.CLAUSES)


def llm():
    return FakeListLLM(responses=["one two three"])


def ids(clauses):
    return [clause.id for clause in clauses]


def outcome(id_, **options):
    session = Session(llm, only=id_, **options)
    (result,) = session.run()
    return result.status, result.message


class TestSelect:
    def test_production_contains_contract(self):
        assert ids(select("production")) == ids(few.CLAUSES)
        assert ids(select("contract")) == ids(few.CLAUSES[:4])

    @pytest.mark.parametrize("only", ["TWO", ["TWO"], {"TWO-01", "TWO-02", "TWO-03"}])
    def test_only_names_clauses_and_areas(self, only):
        assert ids(select("production", only)) == ["TWO-01", "TWO-02", "TWO-03"]

    def test_only_and_level_together(self):
        assert ids(select("contract", "TWO")) == ["TWO-01"]
        with pytest.raises(ValueError, match="only='TWO-02' names no clause of the level 'contra"):
            select("contract", "TWO-02")
        with pytest.raises(ValueError, match="names no clause"):
            select("contract", [])

    @pytest.mark.parametrize(
        ("name", "nearest"), [("ONE-04", "ONE-0"), ("one-01", "'ONE-01'"), ("TOW", "'TWO'")]
    )
    def test_an_unknown_name_is_an_error_with_the_nearest(self, name, nearest):
        with pytest.raises(ValueError, match=f"only names '{name}'.*Did you mean.*{nearest}"):
            select("production", name)

    def test_an_unknown_name_that_is_near_to_nothing(self):
        with pytest.raises(ValueError, match="`langchain-wrap check --list` shows them all"):
            select("production", "something")

    def test_an_unknown_level_is_an_error(self):
        with pytest.raises(ValueError, match="level='strict' does not exist; it is one of contr"):
            select("strict")


class TestExpected:
    def test_none_are(self):
        assert expected(None) == {}

    def test_an_unknown_id_is_an_error(self):
        with pytest.raises(ValueError, match=r"names 'ONE-1', .*Did you mean 'ONE-01'\?"):
            expected({"ONE-1": "reason"})

    def test_an_area_is_no_id(self):
        with pytest.raises(ValueError, match="names 'ONE'"):
            expected({"ONE": "reason"})

    @pytest.mark.parametrize("reason", ["", " ", None])
    def test_a_reason_is_needed(self, reason):
        with pytest.raises(ValueError, match="needs a reason"):
            expected({"ONE-01": reason})


class TestCheck:
    @pytest.mark.parametrize(
        ("id_", "status", "message"),
        [
            ("ONE-01", "passed", ""),
            ("ONE-02", "passed", "a note"),
            ("ONE-03", "failed", "seen: something"),
            ("TWO-01", "skipped", "no way to tell"),
            ("TWO-02", "failed", "KeyError: 'of the model'"),
            ("TWO-03", "failed", "CancelledError: "),
        ],
    )
    def test_outcome(self, id_, status, message):
        assert outcome(id_) == (status, message)

    @pytest.mark.parametrize(
        ("id_", "status", "message"),
        [
            ("ONE-03", "xfailed", "seen: something (expected: known)"),
            ("ONE-02", "xpassed", "passed, though expected to fail: known"),
            ("TWO-01", "skipped", "no way to tell"),
        ],
    )
    def test_expected_failures(self, id_, status, message):
        assert outcome(id_, expected_failures={id_: "known"}) == (status, message)

    def test_a_result_has_what_its_clause_says(self):
        (result,) = Session(llm, only="ONE-03").run()
        assert (result.id, result.area, result.title) == ("ONE-03", "ONE", "Does not hold.")
        assert (result.level, result.why, result.fix, result.source) == (
            "contract", "why", "fix", "source",
        )  # fmt: skip
        assert result.repro == "raise RuntimeError\n"
        assert result.seconds > 0

    def test_a_result_has_the_calls_and_the_stream_of_its_own(self):
        first, second, third, *rest = Session(llm).run()
        assert (first.calls, second.calls, third.calls) == (1, 0, 1)
        assert [moment.kind for moment in third.timeline] == ["start", "end", "chunk"]
        assert not any(result.timeline for result in (first, second, *rest))

    def test_a_hung_model_fails_with_the_time(self, monkeypatch):
        session = Session(llm, only="ONE-01", timeout=0.1)
        monkeypatch.setattr(session.subject, "llm", Hung(responses=[]))
        (result,) = session.run()
        assert (result.status, result.message) == ("failed", "invoke: no answer in 0.1 s")


class Hung(FakeListLLM):
    def _call(self, *args, **kwargs):
        import time

        time.sleep(60)


class TestModel:
    def test_is_made_at_the_first_use(self):
        made = []
        session = Session(lambda: made.append(1) or llm())
        assert made == []
        session.check(few.CLAUSES[0])
        session.check(few.CLAUSES[1])
        assert made == [1]
        assert isinstance(session.subject, Subject)

    def test_that_cannot_be_made_is_not_tried_again(self):
        tries = []

        def broken():
            tries.append(1)
            raise RuntimeError("no key")

        session = Session(broken)
        for _ in range(2):
            with pytest.raises(RuntimeError, match="no key"):
                session.check(few.CLAUSES[0])
        assert tries == [1]

    @pytest.mark.parametrize("target", [5, lambda: "text", str])
    def test_that_is_none_is_said_so(self, target):
        with pytest.raises(TypeError, match="make"):
            _ = Session(target).subject

    @pytest.mark.parametrize("timeout", [0, -1, float("nan")])
    def test_timeout_is_above_0(self, timeout):
        with pytest.raises(ValueError, match="above 0"):
            Session(llm, timeout=timeout)


def test_langsmith_is_told_nothing(monkeypatch):
    from langsmith import utils
    from mutants.right import Core

    from langchain_wrap.checks.clauses import CLAUSES

    monkeypatch.setattr("langchain_wrap.checks.session.CLAUSES", CLAUSES)
    told = []

    class Noting(Core):
        def _call(self, prompt, stop=None, run_manager=None, **kwargs):
            told.append(utils.tracing_is_enabled())
            return self.text(prompt, stop)

    monkeypatch.setenv("LANGSMITH_TRACING", "true")
    utils.get_env_var.cache_clear()
    try:
        assert utils.tracing_is_enabled()
        assert all(result.status == "passed" for result in Session(Noting, only="BATCH-08").run())
    finally:
        monkeypatch.delenv("LANGSMITH_TRACING")
        utils.get_env_var.cache_clear()
    assert told
    assert not any(told)
