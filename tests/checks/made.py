"""A report that has everything in it, hostile text included."""

from __future__ import annotations

from langchain_wrap.checks import CheckResult, Report
from langchain_wrap.checks.result import Moment

HOSTILE = "</script><b>&amp; \x1b[31m\x00 \ud800 ``` | ]]> \u202e @all"
REPRO = "got = llm.invoke('<hi>')\nassert got == '`', got\n"


def moments(count: int, end: str = "end") -> tuple[Moment, ...]:
    """A streamed call of some chunks, a hundredth of a second apart."""
    found = [Moment(0.001, "start", "the prompt")]
    for number in range(count):
        found.append(Moment((number + 1) / 100, "token", HOSTILE))
        found.append(Moment((number + 1.1) / 100, "chunk", HOSTILE))
    return (*found, Moment((count + 2) / 100, end, "all of it"))


def result(id_: str, status: str = "passed", **more: object) -> CheckResult:
    facts = {
        "title": f"`title` of {id_}.",
        "level": "contract",
        "seconds": 0.25,
        "calls": 2,
        "why": f"Why `{id_}` matters.",
        "fix": f"Fix for `{id_}`.",
        "source": f"Source <of> {id_}",
    }
    return CheckResult(id=id_, status=status, **{**facts, **more})


def report(*results: CheckResult) -> Report:
    return Report(
        model="My<Model> \x1b",
        level="production",
        results=results,
        seconds=2.5,
        notes=("a note & more",),
        versions={"langchain-wrap": "1.2", "Python": "3.x"},
    )


FULL = report(
    result("CALL-01", calls=0, seconds=0.0),
    result("CALL-02", message="a note on it"),
    result("STREAM-01", timeline=moments(3)),
    result("STREAM-02", "failed", message=HOSTILE, repro=REPRO, timeline=moments(300, "error")),
    result("STOP-01", "skipped", message="cannot be told"),
    result("STOP-02", "xfailed", message="bad (expected: known)"),
    result("STOP-03", "xpassed", message="passed, though expected to fail: known", seconds=1.0),
    result("MINE-01", level="production"),
)
GOOD = report(result("CALL-01"), result("STOP-02", "xfailed", message="known"))
