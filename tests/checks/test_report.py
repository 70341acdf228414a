"""The report in all its forms."""

import io
import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from xml.etree import ElementTree as ET

import pytest

from checks import made
from langchain_wrap.checks import Report
from langchain_wrap.checks.result import STATUSES

FORMS = ("to_html", "to_json", "to_junit", "to_markdown")
RAW = ("\x1b", "\x00", "\ud800", "\u202e")


class Tags(HTMLParser):
    """Checks that tags are closed in their order, and notes them."""

    VOID = frozenset({"meta", "input", "br"})

    def __init__(self, page):
        super().__init__()
        self.open, self.seen, self.texts = [], [], []
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.seen.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.seen.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)

    def of(self, tag, **attrs):
        wanted = attrs.items()
        return [found for name, found in self.seen if name == tag and wanted <= found.items()]


class TestReport:
    def test_is_true_without_an_unexpected_failure(self):
        assert made.GOOD
        assert not made.FULL
        assert not made.report(made.result("STOP-01", "xpassed"))
        assert made.report(made.result("STOP-01", "skipped"))

    def test_iterates_over_its_results(self):
        assert [r.id for r in made.GOOD] == ["CALL-01", "STOP-02"]
        assert len(made.FULL) == 8

    def test_counts(self):
        assert made.FULL.counts() == dict(zip(STATUSES, (4, 1, 1, 1, 1), strict=True))
        assert made.FULL.summary == "4 passed, 1 failed, 1 skipped, 1 xfailed, 1 xpassed"
        assert made.FULL.calls == 14
        assert list(made.FULL.areas()) == ["CALL", "STREAM", "STOP", "MINE"]
        assert [r.id for r in made.FULL.unexpected] == ["STREAM-02", "STOP-03"]
        assert made.FULL.dearest(1)[0].id == "STOP-03"

    def test_repr_is_short(self):
        assert repr(made.FULL) == "<Report of My<Model> \x1b: STREAM-02, STOP-03 failed>"
        assert repr(made.GOOD) == "<Report of My<Model> \x1b: 1 passed, 1 xfailed>"

    @pytest.mark.parametrize("form", FORMS)
    def test_is_written_to_a_file_and_returned(self, form, tmp_path):
        text = getattr(made.FULL, form)(tmp_path / "file")
        assert (tmp_path / "file").read_bytes().decode() == text == getattr(made.FULL, form)()

    @pytest.mark.parametrize("form", [*FORMS, "__str__", "_repr_html_"])
    @pytest.mark.parametrize("empty", [Report("M", "contract", (), 0.0), made.GOOD])
    def test_every_form_of_a_report_with_little_in_it(self, form, empty):
        assert getattr(empty, form)()

    @pytest.mark.parametrize(
        "form", ["to_html", "to_junit", "to_markdown", "__str__", "_repr_html_"]
    )
    def test_nothing_unseen_gets_through(self, form):
        text = getattr(made.FULL, form)()
        assert not any(raw in text for raw in RAW)
        assert r"\x1b[31m\x00 \ud800" in text
        assert text.isascii() or text.encode()


class TestText:
    def test_says_everything(self):
        lines = str(made.FULL).splitlines()
        assert lines[:2] == [
            r"Contract of My<Model> \x1b, level production",
            "langchain-wrap 1.2, Python 3.x",
        ]
        for line in (
            "CALL    2 passed",
            "STREAM  1 passed, 1 failed",
            "FAILED STREAM-02 (contract)  `title` of STREAM-02.",
            "    Why: Why `STREAM-02` matters.",
            "    Fix: Fix for `STREAM-02`.",
            "        got = llm.invoke('<hi>')",
            "PASSED, THOUGH EXPECTED TO FAIL STOP-03 (contract)  `title` of STOP-03.",
            "  STOP-01  cannot be told",
            "  STOP-02  bad (expected: known)",
            "  CALL-02  a note on it",
            "Note: a note & more",
            "Cost: 14 calls, 2.5 s; the longest: STOP-03 1.0 s, CALL-02 0.2 s, STREAM-01 0.2 s",
        ):
            assert line in lines
        assert lines[-1].endswith("does not hold what was checked: " + made.FULL.summary + ".")

    def test_passed_clauses_are_only_counted(self):
        assert "CALL-01" not in str(made.FULL)
        assert "STREAM-01" not in str(made.FULL).split("Cost:")[0]


class TestJson:
    def test_has_everything_under_stable_keys(self):
        values = json.loads(made.FULL.to_json())
        assert values == made.FULL.to_dict()
        assert list(values) == [
            "schema", "model", "level", "ok", "seconds", "calls", "counts", "versions", "notes",
            "results",
        ]  # fmt: skip
        assert (values["schema"], values["ok"], values["counts"]["failed"]) == (1, False, 1)
        failed = values["results"][3]
        assert failed["message"] == made.HOSTILE  # exactly, lone surrogates as well
        assert failed["timeline"][1] == {"seconds": 0.01, "kind": "token", "text": made.HOSTILE}
        assert set(failed) == {
            "id", "area", "title", "level", "status", "unexpected", "seconds", "calls", "message",
            "why", "fix", "source", "repro", "timeline",
        }  # fmt: skip

    def test_every_key_is_documented(self):
        documented = set(re.findall(r"`(\w+)`", Report.to_json.__doc__))
        values = made.FULL.to_dict()
        result = values["results"][3]
        assert {*values, *result, *result["timeline"][0]} <= documented


class TestJunit:
    def test_is_what_ci_systems_read(self):
        root = ET.fromstring(made.FULL.to_junit())
        assert root.tag == "testsuites"
        (suite,) = root
        numbers = [suite.get(name) for name in ("tests", "failures", "errors", "skipped", "time")]
        assert numbers == ["8", "2", "0", "2", "2.500"]
        cases = {case.get("name").split()[0]: case for case in suite.iter("testcase")}
        assert list(cases) == [r.id for r in made.FULL]
        assert cases["STOP-01"].get("classname") == r"My<Model> \x1b.STOP"
        kinds = {id_: [(c.tag, c.get("type")) for c in case] for id_, case in cases.items()}
        assert kinds == {
            "CALL-01": [],
            "CALL-02": [("system-out", None)],
            "STREAM-01": [],
            "STREAM-02": [("failure", "failed")],
            "STOP-01": [("skipped", "skipped")],
            "STOP-02": [("skipped", "xfailed")],
            "STOP-03": [("failure", "xpassed")],
            "MINE-01": [],
        }
        failure = cases["STREAM-02"].find("failure")
        assert "Fix: Fix for `STREAM-02`." in failure.text
        assert "assert got == '`', got" in failure.text
        assert cases["STOP-02"].find("skipped").get("message") == "bad (expected: known)"

    def test_has_the_facts_as_properties(self):
        root = ET.fromstring(made.FULL.to_junit())
        facts = {p.get("name"): p.get("value") for p in root.iter("property")}
        assert facts["level"] == "production"
        assert facts["langchain-wrap"] == "1.2"
        assert facts["note"] == "a note & more"


class TestMarkdown:
    def test_has_a_table_of_areas_and_the_failures(self):
        text = made.FULL.to_markdown()
        assert text.startswith("## ❌ `My<Model> \\x1b` does not hold the contract")
        assert "| STREAM | 1 | 1 |  |  |  |" in text
        assert "### ❌ STREAM-02: `title` of STREAM-02." in text
        assert "**Why:** Why `STREAM-02` matters." in text
        assert "**Source:** Source &lt;of&gt; STREAM-02" in text
        assert "- STOP-01: cannot be told" in text
        assert made.GOOD.to_markdown().startswith("## ✅ ")

    def test_no_text_leaves_its_block_of_code(self):
        text = made.FULL.to_markdown()
        block = re.search(r"^(`{3,})text\n(.*?)\n\1$", text, re.MULTILINE | re.DOTALL)
        assert block[1] == "````"
        assert "</script><b>&amp;" in block[2]
        assert "</script>" not in text.replace(block[0], "")

    def test_text_in_a_line_is_text(self):
        from langchain_wrap.checks.reports.markdown import code, prose, text

        assert text("a_b *c* [d](e) <f> _g & @h") == (
            r"a_b \*c\* \[d\](e) &lt;f&gt; \_g &amp; @" + "\u200bh"
        )
        assert code("a`b``c") == "``` a`b``c ```"
        assert prose("`a|b` is *not* `c`") == r"`a|b` is \*not\* `c`"


class TestHtml:
    def test_is_one_page_without_network(self):
        page = made.FULL.to_html()
        tags = Tags(page)
        assert [tag for tag, _ in tags.seen[:2]] == ["html", "head"]
        assert not [a for _, a in tags.seen if {"src", "onclick"} & a.keys()]
        assert all(a["href"].startswith("#") for _, a in tags.seen if "href" in a)
        assert not re.search(r"https?://|@import|url\(", page)
        assert len(tags.of("script")) == 1

    def test_has_a_heading_for_each_area_and_clause(self):
        tags = Tags(made.FULL.to_html())
        names = [tag for tag, _ in tags.seen if tag in ("h1", "h2", "h3")]
        assert names == ["h1", "h2", *["h3"] * 2, "h2", *["h3"] * 2, "h2", *["h3"] * 3, "h2", "h3"]
        clauses = tags.of("details")
        assert [(c["id"], c["data-status"]) for c in clauses] == [
            (r.id, r.status) for r in made.FULL
        ]
        assert [c["id"] for c in clauses if "open" in c] == ["STREAM-02", "STOP-03"]
        ids = [a["id"] for _, a in tags.seen if "id" in a]
        assert len(ids) == len(set(ids))

    def test_can_be_filtered(self):
        tags = Tags(made.FULL.to_html())
        assert [a["value"] for a in tags.of("input")] == list(STATUSES)
        assert len(tags.of("option")) == 5
        assert [a["data-area"] for a in tags.of("section")] == ["CALL", "STREAM", "STOP", "MINE"]

    def test_shows_why_fix_and_repro(self):
        text = "".join(Tags(made.FULL.to_html()).texts)
        for said in ("Why STREAM-02 matters.", "Fix for STREAM-02.", made.REPRO.strip()):
            assert said in text
        assert r"</script><b>&amp; \x1b[31m" in text

    def test_draws_the_streamed_calls(self):
        page = made.FULL.to_html()
        drawn = Tags(page).of("svg")
        assert len(drawn) == 2
        assert all(a["role"] == "img" for a in drawn)
        assert drawn[0]["aria-label"].startswith(
            "Timeline of the streamed call of STREAM-01: 3 token callbacks, 3 chunks, the first "
            "chunk after 11 ms"
        )


class TestNotebook:
    def test_is_a_piece_of_html_that_needs_no_style_of_its_own(self):
        html = made.FULL._repr_html_()
        tags = Tags(html)
        assert not tags.of("style")
        assert not tags.of("script")
        assert r"</script><b>&amp; \x1b[31m" in "".join(tags.texts)
        assert len(html) < 20_000


class TestTable:
    def drawn(self, report):
        rich_console = pytest.importorskip("rich.console")
        console = rich_console.Console(width=100, file=io.StringIO())
        console.print(report)
        return console.file.getvalue()

    def test_is_drawn_by_rich(self):
        text = self.drawn(made.FULL)
        for said in (
            "STREAM-02  contract    failed",
            "title of STREAM-02.",
            "Why: Why STREAM-02 matters.",
            "got = llm.invoke('<hi>')",
            "Note: a note & more",
        ):
            assert said in text
        assert not any(raw in text for raw in RAW)

    def test_text_is_no_markup(self):
        text = self.drawn(made.report(made.result("CALL-01", "failed", message="[red]x[/red]")))
        assert "[red]x[/red]" in text


def test_the_kit_needs_neither_rich_nor_pytest_nor_typer():
    code = (
        "import sys\n"
        "for name in ('rich', 'pytest', 'typer', 'IPython'): sys.modules[name] = None\n"
        "from langchain_wrap.checks import check_llm, Report\n"
        "report = Report('M', 'contract', (), 0.0)\n"
        "str(report), report._repr_html_(), report.to_html(), report.to_junit()\n"
        "report.to_json(), report.to_markdown()\n"
        "try:\n    from langchain_wrap.checks import parametrize_with_checks\n"
        "except ImportError as error: print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, timeout=60
    )
    assert (done.stderr, done.returncode) == ("", 0)
    assert done.stdout == "parametrize_with_checks needs pytest: pip install pytest\n"
