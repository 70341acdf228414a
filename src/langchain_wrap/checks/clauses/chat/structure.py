"""CHAT-STRUCT: answers as objects."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, field_validator

from langchain_wrap.checks.chat.subject import ChatSubject
from langchain_wrap.checks.clause import Area, Skipped
from langchain_wrap.checks.shared import describe_error, shown

area = Area("CHAT-STRUCT", "Answers as objects")


class Impossible(BaseModel):
    """A person; whatever is said of one, it does not validate."""

    name: str = ""

    @field_validator("name")
    @classmethod
    def never(cls, value: str) -> str:
        """Refuse the value."""
        raise ValueError("no name is good enough")

    model_config = {"validate_default": True}


_LINES = (
    "from langchain_wrap.checks.clauses.chat.structure import Impossible",
    "",
    "try:",
    "    structured = llm.with_structured_output(Impossible, include_raw=True)",
    "except NotImplementedError:",
    "    raise SystemExit from None",
)


@area.clause(
    1,
    "`with_structured_output(include_raw=True)` returns errors of parsing, and does not raise.",
    level="contract",
    why="Programs that ask for the raw answer do so to repair what cannot be parsed; they fail in "
    "place of that.",
    source="langchain_core BaseChatModel.with_structured_output, on `include_raw`: «If an error "
    "occurs during output parsing it will be caught and returned as well.»",
    fix="Build it as langchain-core does: `RunnableMap(raw=llm) | parser.with_fallbacks([none], "
    'exception_key="parsing_error")`; or override `bind_tools` only.',
)
def errors_are_returned(model: ChatSubject) -> None:
    model.text()
    prompt = "Tell me of a person named Ada."
    try:
        structured = model.llm.with_structured_output(Impossible, include_raw=True)
    except NotImplementedError as error:
        raise Skipped(f"the model does not do that: {describe_error(error)}") from None
    for how in ("invoke", "ainvoke"):
        called = f"structured.{how}({prompt!r})"
        called = f"asyncio.run({called})" if how == "ainvoke" else called
        lines = (
            *_LINES,
            f"got = {called}",
            "assert {'raw', 'parsed', 'parsing_error'} <= set(got), got",
            "assert got['parsed'] is None, got",
            "assert got['parsing_error'] is not None or not got['raw'].tool_calls, got",
        )
        try:
            got: Any = _ask(model, structured, prompt, how)
        except Skipped:
            raise
        except Exception as error:
            name = type(error).__name__
            ours = "Valid" in name or "Pars" in name or "JSON" in name or "no name" in str(error)
            if not ours:
                raise Skipped(f"{how} failed before parsing: {describe_error(error)}") from None
            message = f"{how} raised {describe_error(error)}, though include_raw=True was given"
            model.expect(False, message, *lines)
        model.expect(
            isinstance(got, dict) and {"raw", "parsed", "parsing_error"} <= set(got),
            f"{how} gave {shown(got)}, without raw, parsed and parsing_error",
            *lines,
        )
        model.expect(
            got["parsed"] is None,
            f"{how} gave {shown(got['parsed'])} of a class that nothing validates for",
            *lines,
        )
        said = getattr(got["raw"], "tool_calls", None)
        model.expect(
            got["parsing_error"] is not None or not said,
            f"{how} could not parse {shown(said)}, and gave no error",
            *lines,
        )


def _ask(model: ChatSubject, structured: Any, prompt: str, how: str) -> Any:
    model.calls += 1
    if how == "invoke":
        return model.run(lambda: structured.invoke(prompt))

    async def ask() -> Any:
        return await structured.ainvoke(prompt)

    return model.run_async(ask)
