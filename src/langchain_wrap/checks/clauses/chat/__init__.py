"""The clauses on chat models, an area a file."""

from __future__ import annotations

from langchain_wrap.checks.clause import Area, Clause
from langchain_wrap.checks.clauses.chat import (
    batch,
    call,
    events,
    identity,
    leaving,  # noqa: F401  (more clauses of CHAT-STREAM)
    secret,
    stop,
    stream,
    structure,
    tool,
    tool_choice,  # noqa: F401  (more clauses of CHAT-TOOL)
    usage,
)

AREAS: tuple[Area, ...] = tuple(
    module.area
    for module in (call, stream, stop, batch, events, tool, structure, usage, identity, secret)
)

CLAUSES: tuple[Clause, ...] = tuple(clause for area in AREAS for clause in area.clauses)
