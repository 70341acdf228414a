"""check_chat: right models pass, other people's fail by what they do, and every way to start it."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
from langchain_core.language_models import (
    FakeListChatModel,
    GenericFakeChatModel,
    ParrotFakeChatModel,
)
from langchain_core.language_models.fake import FakeListLLM
from langchain_core.language_models.fake_chat_models import FakeMessagesListChatModel
from langchain_core.messages import AIMessage

from checks_chat import right
from langchain_wrap import wrap
from langchain_wrap.checks import (
    ChatStandardTests,
    ContractWarning,
    check_chat,
    check_llm,
    parametrize_with_chat_checks,
)
from langchain_wrap.checks.chat.seam import Seam, standing
from langchain_wrap.checks.clauses.chat import CLAUSES

BY_CORE = {"CHAT-STREAM-08", "CHAT-SECRET-04", "CHAT-SECRET-05"}
"""What langchain-core's base class itself does not give to `Core`."""

SAID = "Well, this is what I have to say."
STOPS = {f"CHAT-STOP-{number:02}" for number in range(1, 5)}


def failed(report):
    return {result.id for result in report if result.status == "failed"}


def told(report):
    return {r.id: f"{r.status}: {r.message}" for r in report if r.message}


def parrot(prompt):
    return "You said: " + prompt.rpartition("User: ")[2].partition("\n")[0]


class Varies(right.Core):
    """Never says the same twice."""

    def text(self, messages, stop):
        said = super().text(messages, None).replace("Well", f"Well {next(NUMBERS)}")
        return right.before(said, stop)


NUMBERS = itertools.count()


class TestRightModels:
    def test_on_langchain_core_hold_all_of_the_contract(self):
        report = check_chat(right.Core, level="contract")
        assert {r.status for r in report} == {"passed"}, told(report)

    def test_on_langchain_core_hold_what_its_class_gives(self):
        report = check_chat(right.Core)
        assert failed(report) == BY_CORE, told(report)

    def test_on_our_class_hold_everything(self):
        report = check_chat(right.Ours)
        assert {r.status for r in report} == {"passed"}, told(report)

    @pytest.mark.parametrize("make", [right.as_chat, lambda: wrap(parrot).as_chat()])
    def test_made_of_a_function_fail_nothing(self, make):
        report = check_chat(make)
        assert not failed(report), told(report)

    def test_whose_answers_vary_fail_nothing_more(self):
        report = check_chat(Varies)
        assert failed(report) == BY_CORE, told(report)
        assert any("vary" in note for note in report.notes)

    def test_take_no_three_seconds(self):
        began = time.perf_counter()
        report = check_chat(right.Ours)
        assert time.perf_counter() - began < 10  # a busy machine; 1 s on an idle one
        assert report.calls < 400

    def test_are_checked_though_a_global_cache_is_set(self):
        from langchain_core.caches import InMemoryCache
        from langchain_core.globals import set_llm_cache

        set_llm_cache(InMemoryCache())
        try:
            report = check_chat(right.Ours)
        finally:
            set_llm_cache(None)
        assert not failed(report), told(report)


class TestOthers:
    def test_the_generic_fake_never_stops(self):
        make = lambda: GenericFakeChatModel(messages=itertools.cycle([SAID]))  # noqa: E731
        assert failed(check_chat(make, level="contract")) == STOPS

    def test_the_generic_fake_gives_one_object_if_it_is_given_one(self):
        make = lambda: GenericFakeChatModel(messages=itertools.cycle([AIMessage(SAID)]))  # noqa: E731
        found = failed(check_chat(make, level="contract"))
        assert found == {*STOPS, "CHAT-CALL-07", "CHAT-STREAM-04"}

    def test_the_fake_of_messages_gives_one_object(self):
        make = lambda: FakeMessagesListChatModel(responses=[AIMessage(SAID)])  # noqa: E731
        assert failed(check_chat(make, level="contract")) == {*STOPS, "CHAT-CALL-07"}

    def test_the_fake_of_a_list_batches_one_by_one(self):
        found = failed(check_chat(lambda: FakeListChatModel(responses=[SAID])))
        assert {"CHAT-BATCH-03", "CHAT-BATCH-04"} <= found

    def test_the_parrot_gives_the_human_message_back(self):
        found = failed(check_chat(ParrotFakeChatModel, level="contract"))
        assert {"CHAT-CALL-01", "CHAT-CALL-04"} <= found

    def test_openai_holds_the_contract_but_for_schemas_that_nobody_holds(self):
        pytest.importorskip("langchain_openai")
        # In a process of its own: its clients are kept, and their sockets with them.
        done = subprocess.run(
            [sys.executable, "-c", OPENAI], cwd=Path(__file__).parents[1],
            capture_output=True, text=True, timeout=100, check=True, env=environment(),
        )  # fmt: skip
        found = json.loads(done.stdout)
        # The server does not know JSON schemas, and the client raises before LangChain parses.
        assert found.keys() == {
            *BY_CORE, "CHAT-STRUCT-01", "CHAT-IDENTITY-05", "CHAT-IDENTITY-06",
        }, found  # fmt: skip


OPENAI = """
import json
from checks_chat.openai_server import serving
from langchain_openai import ChatOpenAI
from langchain_wrap.checks import check_chat

def make():
    return ChatOpenAI(model="so", base_url=url, api_key="x", stream_usage=True, max_retries=0)

with serving() as url:
    report = check_chat(make)
print(json.dumps({result.id: result.message for result in report.unexpected}))
"""


class TestStarting:
    def test_only_and_level(self):
        report = check_chat(right.Core(), only="CHAT-STOP", level="contract")
        assert [r.id for r in report] == [f"CHAT-STOP-{n:02}" for n in (1, 2, 3, 4, 5, 7)]

    def test_a_wrong_name_is_an_error_with_the_nearest(self):
        with pytest.raises(ValueError, match="Did you mean 'CHAT-STOP-01'"):
            check_chat(right.Core, only="CHAT-STOPS-01")
        with pytest.raises(ValueError, match="expected_failures names 'STOP-01'"):
            check_chat(right.Core, expected_failures={"STOP-01": "of LLMs"})

    def test_takes_chat_models_only(self):
        with pytest.raises(TypeError, match=r"check_chat\(\) takes a chat model"):
            check_chat("gpt-4")
        with pytest.raises(TypeError, match="was called to make a chat model and returned"):
            check_chat(lambda: FakeListLLM(responses=["x"]))
        with pytest.raises(TypeError, match="was called to make an LLM and returned"):
            check_llm(right.Core)

    def test_on_fail(self):
        make = lambda: FakeListChatModel(responses=[SAID])  # noqa: E731
        with pytest.raises(AssertionError, match="CHAT-STOP-01"):
            check_chat(make, only="CHAT-STOP-01", on_fail="raise")
        with pytest.warns(ContractWarning, match="CHAT-STOP-01"):
            check_chat(make, only="CHAT-STOP-01", on_fail="warn")

    def test_expected_failures(self):
        make = lambda: FakeListChatModel(responses=[SAID])  # noqa: E731
        known = {"CHAT-STOP-01": "fakes never stop"}
        assert check_chat(make, only="CHAT-STOP-01", expected_failures=known)

    def test_every_form_of_the_report(self):
        report = check_chat(FakeListChatModel(responses=[SAID]), only=["CHAT-STOP", "CHAT-STREAM"])
        assert json.loads(report.to_json())["results"][0]["id"] == "CHAT-STREAM-01"
        for text in (str(report), report.to_html(), report.to_junit(), report.to_markdown()):
            assert "CHAT-STOP-01" in text
        assert any(result.timeline for result in report)

    def test_the_ids_are_apart_and_in_order(self):
        ids = [clause.id for clause in CLAUSES]
        assert len(set(ids)) == len(ids)
        assert all(id_.startswith("CHAT-") for id_ in ids)
        for clause in CLAUSES:
            assert all((clause.title, clause.why, clause.source, clause.fix)), clause.id


@parametrize_with_chat_checks([right.Ours], only=["CHAT-STOP", "CHAT-CALL"])
def test_parametrized(check):
    check()


class TestOurs(ChatStandardTests):
    @property
    def chat_model_class(self):
        return right.Ours

    @property
    def chat_model_params(self):
        return {"model_name": "small"}


def test_the_class_has_a_test_for_each_clause():
    names = {name for name in dir(ChatStandardTests) if name.startswith("test_chat_")}
    assert names == {f"test_{c.id.lower().replace('-', '_')}" for c in CLAUSES}


def test_a_list_is_needed():
    with pytest.raises(TypeError, match=r"parametrize_with_chat_checks\(\) takes a list"):
        parametrize_with_chat_checks(right.Core())


class TestSeam:
    @pytest.mark.parametrize("make", [right.Core, right.Ours, right.as_chat])
    def test_is_on_a_copy_and_only_for_its_time(self, make):
        model = make()
        with standing(model, seam := Seam()) as copied:
            copied.invoke("hello")
            model.invoke("hello")
        copied.invoke("hello")
        assert len(seam.visits) == 1
        assert "hello" in seam.visits[0].text
        assert seam.visits[0].left


MAIN = "from langchain_wrap.cli import main; main()"


class TestCommandLine:
    @pytest.fixture
    def run(self, tmp_path):
        (tmp_path / "mine.py").write_text(
            "from langchain_core.language_models import FakeListChatModel\n"
            "from langchain_wrap import wrap\n"
            f"fake = FakeListChatModel(responses=[{SAID!r}])\n"
            "chat = wrap(lambda prompt: prompt.upper()).as_chat()\n"
        )

        def run(*args):
            return subprocess.run(
                [sys.executable, "-c", MAIN, "check", *args],
                cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False,
                env=environment(),
            )  # fmt: skip

        return run

    def test_a_chat_model_is_checked_as_one(self, run):
        done = run("mine:fake", "--only", "CHAT-STOP-01")
        assert done.returncode == 1, done.stderr
        assert "CHAT-STOP-01" in done.stdout
        done = run("mine:chat", "--only", "CHAT-STOP")
        assert done.returncode == 0, done.stdout + done.stderr

    def test_clauses_of_llms_are_not_of_chat_models(self, run):
        done = run("mine:chat", "--only", "STOP-01")
        assert done.returncode == 2
        assert "STOP-01" in done.stderr

    def test_list(self, run):
        lines = run("--list", "--only", "CHAT-STOP").stdout.splitlines()
        assert len(lines) == 7


def environment():
    import os

    source = Path(__file__).parents[2] / "src"
    return {**os.environ, "PYTHONPATH": str(source), "NO_COLOR": "1", "COLUMNS": "200"}
