"""The clauses, an area a file."""

from __future__ import annotations

from langchain_wrap.checks.clause import Area, Clause
from langchain_wrap.checks.clauses import (
    asynchronous,
    batch,
    caching,  # noqa: F401  (more clauses of IDENTITY)
    call,
    cancels,  # noqa: F401  (more clauses of ASYNC)
    docs,
    endings,  # noqa: F401  (more clauses of STREAM)
    events,
    identity,
    resource,
    secret,
    side_by_side,  # noqa: F401  (more clauses of BATCH)
    stop,
    stop_limits,  # noqa: F401  (more clauses of STOP)
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
