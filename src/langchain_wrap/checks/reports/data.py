"""A report as JSON."""

from __future__ import annotations

import json
from typing import Any

from langchain_wrap.checks.report import Report
from langchain_wrap.checks.result import CheckResult

SCHEMA = 1


def values(report: Report) -> dict[str, Any]:
    """Return everything in a report as JSON values."""
    return {
        "schema": SCHEMA,
        "model": report.model,
        "level": report.level,
        "ok": bool(report),
        "seconds": round(report.seconds, 6),
        "calls": report.calls,
        "counts": report.counts(),
        "versions": dict(report.versions),
        "notes": list(report.notes),
        "results": [_result(result) for result in report],
    }


def _result(result: CheckResult) -> dict[str, Any]:
    return {
        "id": result.id,
        "area": result.area,
        "title": result.title,
        "level": result.level,
        "status": result.status,
        "unexpected": result.unexpected,
        "seconds": round(result.seconds, 6),
        "calls": result.calls,
        "message": result.message,
        "why": result.why,
        "fix": result.fix,
        "source": result.source,
        "repro": result.repro,
        "timeline": [
            {"seconds": round(moment.seconds, 6), "kind": moment.kind, "text": moment.text}
            for moment in result.timeline
        ],
    }


def render(report: Report) -> str:
    """Return a report as JSON text; in ASCII, so that lone surrogates stay what they are."""
    return json.dumps(values(report), indent=2) + "\n"
