"""ASYNC: async."""

from __future__ import annotations

from langchain_wrap.checks.clause import Area

area = Area("ASYNC", "Async")
