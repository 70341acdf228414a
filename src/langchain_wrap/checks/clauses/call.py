"""CALL: what a call takes, gives and raises."""

from __future__ import annotations

from langchain_wrap.checks.clause import Area
from langchain_wrap.checks.paths import code
from langchain_wrap.checks.subject import Subject, shown

area = Area("CALL", "Calls")


@area.clause(
    1,
    "`invoke` returns a `str`.",
    level="contract",
    why="Output parsers and chains take the completion as text and fail far from the cause.",
    source="langchain_core LLM._call: «The model output as a string.»",
    fix="Return the text itself from `_call`; decode bytes, and take it out of response objects.",
)
def returns_text(model: Subject) -> None:
    trace = model.answered("invoke")
    model.expect(
        isinstance(trace.text, str),
        f"invoke returned {shown(trace.text)}, a {type(trace.text).__name__}",
        f"got = {code('invoke', [model.prompt])}",
        "assert isinstance(got, str), type(got)",
    )


@area.clause(
    2,
    "`ainvoke` returns what `invoke` returns.",
    level="contract",
    why="A program that moves from sync to async gets other answers.",
    source="langchain_core LLM._acall: «Async version of the _call method.»",
    fix="Let `_acall` and `_call` share what builds the request and reads the answer.",
)
def ainvoke_agrees(model: Subject) -> str | None:
    trace = model.answered("ainvoke")
    wanted = model.text()
    if not model.deterministic:
        model.expect(isinstance(trace.text, str), f"ainvoke returned {shown(trace.text)}")
        return "the model's answers vary: only the type was compared"
    model.expect_same(
        lambda: wanted,
        lambda: model.call("ainvoke", again=True).text,
        "ainvoke and invoke differ",
        f"got = {code('ainvoke', [model.prompt])}",
        f"want = {code('invoke', [model.prompt])}",
        "assert got == want, (got, want)",
    )
    return None
