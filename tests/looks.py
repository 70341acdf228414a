"""Looking for a mistake more than once, where a machine that stalls may hide it.

A clause about time is written so that it never accuses a right model, however slow the machine;
what it gives for that is that it may pass a wrong one while the machine stands still. So a
mistake has a few looks to be seen in, and what is seen besides it fails at the first. A script
that shows a mistake is shorter than its clause and takes one measurement: it has a few looks both
on the wrong model and on the right one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from langchain_wrap.checks import check_llm

LOOKS = 3


def failed(report: Iterable[Any]) -> dict[str, Any]:
    """Return the results of a report that are failures, by clause."""
    return {result.id: result for result in report if result.status == "failed"}


def seen(look: Callable[[], Mapping[str, Any]], owed: set[str]) -> tuple[Mapping[str, Any], int]:
    """Return what a look gave that saw all that is owed, and how many looks it took.

    Raises:
        AssertionError: A look saw something besides, or none saw all.
    """
    for count in range(1, LOOKS + 1):
        found = look()
        besides = {id_: found[id_] for id_ in found if id_ not in owed}
        assert not besides
        if set(found) == owed:
            return found, count
    raise AssertionError(f"{sorted(owed - set(found))} not seen in {LOOKS} looks")


def seen_alone(wrong: Callable[[], Any], id_: str) -> Any:
    """Return how a model fails a clause, of which alone it is asked."""
    found, _ = seen(lambda: failed(check_llm(wrong, only=[id_])), {id_})
    return found[id_]


def raised(script: str, make: Callable[[], Any]) -> BaseException:
    """Return what a script raises on a model that is wrong.

    Raises:
        AssertionError: It ran to its end each time, or it has a mistake of its own, which would be
            no proof.
    """
    code = compile(script, "repro", "exec")
    for _ in range(LOOKS):
        try:
            exec(code, {"llm": make()})
        except BaseException as error:
            if isinstance(error, NameError | ImportError | SyntaxError):
                raise AssertionError("the script has a mistake of its own") from error
            return error
    raise AssertionError(f"the script does not show it, in {LOOKS} looks:\n{script}")


def runs(script: str, make: Callable[[], Any]) -> None:
    """Run a script on a model that is right.

    Raises:
        AssertionError: It failed each time.
    """
    code = compile(script, "repro", "exec")
    for count in range(1, LOOKS + 1):
        try:
            exec(code, {"llm": make()})
        except AssertionError:
            if count == LOOKS:
                raise
        else:
            return


def table(looked: Mapping[Any, int]) -> list[str]:
    """Return a line for each mutant, given its count of looks, and the score.

    A count of 0 stands for a mutant that was not seen as it is owed.
    """
    lines = []
    for mutant, count in sorted(looked.items(), key=lambda item: item[0].clause):
        verdict = {0: "NOT AS OWED", 1: "found"}.get(count, f"found in look {count}")
        owed = " ".join(sorted(mutant.owed))
        lines.append(f"{mutant.clause:17} {mutant.name:40} {verdict:15} {owed}")
    clauses = {mutant.clause for mutant in looked}
    found = sum(count > 0 for count in looked.values())
    return [*lines, f"{found} of {len(looked)} mutants found, of {len(clauses)} clauses"]
