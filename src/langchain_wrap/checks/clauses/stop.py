"""STOP: stop sequences."""

from __future__ import annotations

from langchain_wrap.checks.clause import Area

area = Area("STOP", "Stop sequences")
