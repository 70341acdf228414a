"""A report as JUnit XML."""

from __future__ import annotations

from xml.etree import ElementTree as ET

from langchain_wrap.checks.report import Report
from langchain_wrap.checks.reports.characters import visible
from langchain_wrap.checks.reports.text import explained
from langchain_wrap.checks.result import CheckResult


def render(report: Report) -> str:
    """Return a report as one test suite with a test case for each clause."""
    numbers = {
        "tests": str(len(report)),
        "failures": str(len(report.unexpected)),
        "errors": "0",
        "skipped": str(len(report.of("skipped")) + len(report.of("xfailed"))),
        "time": f"{report.seconds:.3f}",
    }
    root = ET.Element("testsuites", {"name": "langchain-wrap check", **numbers})
    suite = ET.SubElement(root, "testsuite", {"name": visible(report.model), **numbers})
    properties = ET.SubElement(suite, "properties")
    facts = {"model": report.model, "level": report.level, **report.versions}
    notes = [("note", note) for note in report.notes]
    for name, value in [*facts.items(), *notes]:
        ET.SubElement(properties, "property", {"name": name, "value": visible(value)})
    for result in report:
        _case(suite, report.model, result)
    ET.indent(root)
    body = ET.tostring(root, encoding="unicode")
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{body}\n'


def _case(suite: ET.Element, model: str, result: CheckResult) -> None:
    case = ET.SubElement(
        suite,
        "testcase",
        {
            "classname": visible(f"{model}.{result.area}"),
            "name": f"{result.id} {result.title}",
            "time": f"{result.seconds:.3f}",
        },
    )
    message = visible(result.message)
    if result.unexpected:
        what = {"message": message, "type": result.status}
        lines = [message, *(explained(result) if result.status == "failed" else ())]
        ET.SubElement(case, "failure", what).text = "\n".join(lines)
    elif result.status in ("skipped", "xfailed"):
        ET.SubElement(case, "skipped", {"message": message, "type": result.status})
    elif message:
        ET.SubElement(case, "system-out").text = message
