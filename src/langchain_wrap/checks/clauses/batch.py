"""BATCH: batch and concurrent callers."""

from __future__ import annotations

from langchain_wrap.checks.clause import Area

area = Area("BATCH", "Batch and concurrent callers")
