"""The clauses, an area a file."""

from __future__ import annotations

from langchain_wrap.checks.clause import Area, Clause
from langchain_wrap.checks.clauses import (
    asynchronous,
    batch,
    call,
    docs,
    events,
    identity,
    resource,
    secret,
    stop,
    stream,
    token,
)

AREAS: tuple[Area, ...] = tuple(
    module.area
    for module in (
        call,
        stream,
        token,
        stop,
        batch,
        asynchronous,
        events,
        identity,
        secret,
        docs,
        resource,
    )
)

CLAUSES: tuple[Clause, ...] = tuple(clause for area in AREAS for clause in area.clauses)
