"""docs/contract.md: made from the clauses."""

import re
from pathlib import Path

from langchain_wrap.checks.clauses import AREAS, CLAUSES
from langchain_wrap.checks.reports.document import render

PAGE = Path(__file__).parents[3] / "docs" / "contract.md"


def test_the_page_is_up_to_date():
    assert PAGE.read_text(encoding="utf-8") == render(), "docs/contract.md is old: make contract"


def test_has_every_clause_under_a_heading():
    headings = re.findall(r"^### (.*)$", render(), re.MULTILINE)
    assert headings == [clause.id for clause in CLAUSES]


def test_its_links_lead_to_the_areas():
    page = render()
    anchors = {
        re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        for heading in re.findall(r"^## (.*)$", page, re.MULTILINE)
    }
    links = re.findall(r"\]\(#(.*?)\)", page)
    assert set(links) == anchors
    assert len(links) == sum(bool(area.clauses) for area in AREAS)


def test_counts_the_levels():
    totals = re.search(r"^\| \| together \| (\d+) \| (\d+) \|$", render(), re.MULTILINE)
    levels = [clause.level for clause in CLAUSES]
    assert [int(number) for number in totals.groups()] == [
        levels.count("contract"), levels.count("production"),
    ]  # fmt: skip
