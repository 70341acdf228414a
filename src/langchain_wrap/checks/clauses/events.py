"""EVENTS: astream_events."""

from __future__ import annotations

from langchain_wrap.checks.clause import Area

area = Area("EVENTS", "astream_events")
