"""The contract in pytest: real runs of small test files."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from mutants.call import AnswersOtherwiseInAsync
from mutants.right import Core

from checks import few
from langchain_wrap.checks import LLMStandardTests, parametrize_with_checks
from langchain_wrap.checks.clauses import CLAUSES

TESTS = Path(__file__).parents[1]
HEAD = """
import pytest
from mutants.call import AnswersOtherwiseInAsync as Bad
from mutants.right import Core
from langchain_wrap.checks import LLMStandardTests, parametrize_with_checks

ONLY = ["CALL-01", "CALL-02"]
"""
OUTCOME = re.compile(r"^test_it\.py::(\S+) (PASSED|FAILED|SKIPPED|XFAIL|XPASS|ERROR)", re.MULTILINE)


@pytest.fixture
def run(tmp_path):
    """Run pytest on a file of tests, with every warning an error; return outcomes and output."""

    def run(code, *options, mode="auto"):
        (tmp_path / "test_it.py").write_text(HEAD + code)
        (tmp_path / "pytest.ini").write_text(
            f"[pytest]\nasyncio_mode = {mode}\nasyncio_default_fixture_loop_scope = function\n"
        )
        path = os.pathsep.join([str(TESTS.parent / "src"), str(TESTS)])
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-W", "error", "-v", "-ra", *options],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": path, "COLUMNS": "200"},
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
        assert "Warning" not in done.stdout
        return dict(OUTCOME.findall(done.stdout)), done.stdout

    return run


class TestParametrize:
    def test_one_model(self, run):
        code = """
@parametrize_with_checks([Bad], only=ONLY)
def test_contract(check):
    check()
"""
        outcomes, output = run(code)
        assert outcomes == {"test_contract[CALL-01]": "PASSED", "test_contract[CALL-02]": "FAILED"}
        for said in (
            "AssertionError: ainvoke and invoke differ: ",
            r"CALL-02 \(contract\): `ainvoke`",
            "Why: ",
            "Fix: ",
            "assert got == want",
        ):
            assert re.search(f"^E +{said}", output, re.MULTILINE)
        assert "langchain_wrap" not in output  # no frame of the kit
        assert "check = <check of CALL-02>" in output

    def test_several_models_and_expected_failures(self, run):
        code = """
def make():
    return Core()

known = {"CALL-02": "not yet"}

@parametrize_with_checks([Bad(), make, Core], only="CALL-02", expected_failures=known)
def test_contract(check):
    check()
"""
        outcomes, output = run(code)
        assert outcomes == {
            "test_contract[AnswersOtherwiseInAsync-CALL-02]": "XFAIL",
            "test_contract[make-CALL-02]": "FAILED",
            "test_contract[Core-CALL-02]": "FAILED",
        }
        assert "[XPASS(strict)] not yet" in output

    def test_a_model_that_cannot_be_made_fails_the_tests_not_the_collection(self, run):
        code = """
tries = []

def broken():
    tries.append(1)
    raise RuntimeError("no key")

@parametrize_with_checks([broken], only=ONLY, expected_failures={"CALL-01": "not yet"})
def test_contract(check):
    check()

def test_only_tried_once():
    assert tries == [1]
"""
        outcomes, output = run(code)
        assert outcomes == {
            "test_contract[CALL-01]": "FAILED",
            "test_contract[CALL-02]": "FAILED",
            "test_only_tried_once": "PASSED",
        }
        assert output.count("RuntimeError: no key") >= 2

    def test_collecting_makes_no_model(self, run):
        code = """
def make():
    raise SystemExit("made")

@parametrize_with_checks([make], only=ONLY)
def test_contract(check):
    check()
"""
        _, output = run(code, "--collect-only", "-q")
        assert "2 tests collected" in output

    def test_equal_names_are_numbered(self):
        mark = parametrize_with_checks([Core(), Core, AnswersOtherwiseInAsync], only="CALL-01")
        assert mark.name == "parametrize"
        ids = [parameter.id for parameter in mark.args[1]]
        assert ids == ["Core1-CALL-01", "Core2-CALL-01", "AnswersOtherwiseInAsync-CALL-01"]

    def test_ids_are_those_of_the_level(self):
        mark = parametrize_with_checks([Core], level="contract")
        assert [p.id for p in mark.args[1]] == [c.id for c in CLAUSES if c.level == "contract"]

    @pytest.mark.parametrize("llms", [Core, Core(), None])
    def test_a_list_is_needed(self, llms):
        with pytest.raises(TypeError, match="takes a list of models"):
            parametrize_with_checks(llms)

    def test_mistakes_are_errors(self):
        with pytest.raises(ValueError, match="only names 'CALL-XX'"):
            parametrize_with_checks([Core], only="CALL-XX")
        with pytest.raises(ValueError, match="expected_failures names"):
            parametrize_with_checks([Core], expected_failures={"CALL": "reason"})

    def test_what_is_skipped(self, monkeypatch):
        monkeypatch.setattr("langchain_wrap.checks.session.CLAUSES", few.CLAUSES)
        (parameter,) = parametrize_with_checks([Core], only="TWO-01").args[1]
        with pytest.raises(pytest.skip.Exception, match="no way to tell"):
            parameter.values[0]()


class TestStandardTests:
    def test_a_class(self, run):
        code = """
class TestBad(LLMStandardTests):
    made = 0

    @property
    def llm_class(self):
        return Bad

    @property
    def llm_params(self):
        type(self).made += 1
        return {"model_name": "bad"}

    def test_one_model_serves_all(self):
        assert self.made == 1

class TestKnown(LLMStandardTests):
    llm_class = Bad
    expected_failures = {"CALL-01": "surely", "CALL-02": "not yet"}

class TestMarked(LLMStandardTests):
    llm_class = Bad

    @pytest.mark.xfail(reason="not yet", strict=True)
    def test_call_02(self):
        super().test_call_02()

class TestSilenced(LLMStandardTests):
    llm_class = Bad

    @pytest.mark.xfail(reason="not yet")
    def test_call_01(self):
        super().test_call_01()

    def test_call_02(self):
        pass

class TestEmpty(LLMStandardTests):
    test_call_01 = None
"""
        outcomes, output = run(code, "-k", "call_01 or call_02 or overrides or serves")
        assert outcomes == {
            "TestBad::test_no_overrides_DO_NOT_OVERRIDE": "PASSED",
            "TestBad::test_call_01": "PASSED",
            "TestBad::test_call_02": "FAILED",
            "TestBad::test_one_model_serves_all": "PASSED",
            "TestKnown::test_no_overrides_DO_NOT_OVERRIDE": "PASSED",
            "TestKnown::test_call_01": "FAILED",
            "TestKnown::test_call_02": "XFAIL",
            "TestMarked::test_no_overrides_DO_NOT_OVERRIDE": "PASSED",
            "TestMarked::test_call_01": "PASSED",
            "TestMarked::test_call_02": "XFAIL",
            "TestSilenced::test_no_overrides_DO_NOT_OVERRIDE": "FAILED",
            "TestSilenced::test_call_01": "XPASS",
            "TestSilenced::test_call_02": "PASSED",
            "TestEmpty::test_no_overrides_DO_NOT_OVERRIDE": "FAILED",
            "TestEmpty::test_call_02": "FAILED",
        }
        assert "[XPASS(strict)] passed, though expected to fail: surely" in output
        assert "test_call_01, test_call_02: overridden without" in output
        assert "TestEmpty must define `llm_class`" in output

    def test_the_class_itself_is_not_collected(self, run):
        _, output = run("", "--collect-only", "-q", mode="strict")
        assert "no tests collected" in output

    def test_level_and_unknown_ids(self, run):
        first = next(clause for clause in CLAUSES if clause.level == "production")
        name = first.id.lower().replace("-", "_")
        code = """
class TestLow(LLMStandardTests):
    llm_class = Core
    level = "contract"

class TestTypo(LLMStandardTests):
    llm_class = Core
    expected_failures = {"CALL-1": "reason"}
"""
        outcomes, output = run(code, "-k", f"{name} or call_01")
        assert outcomes == {
            f"TestLow::test_{name}": "SKIPPED",
            "TestLow::test_call_01": "PASSED",
            f"TestTypo::test_{name}": "FAILED",
            "TestTypo::test_call_01": "FAILED",
        }
        assert "of the level production; this class tests the level contract" in output
        assert "expected_failures names 'CALL-1'" in output

    def test_there_is_a_documented_test_for_each_clause(self):
        for clause in CLAUSES:
            test = getattr(LLMStandardTests, f"test_{clause.id.lower().replace('-', '_')}")
            for text in (clause.title, clause.why, clause.fix):
                assert text in test.__doc__
