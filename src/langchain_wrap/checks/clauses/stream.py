"""STREAM: streaming."""

from __future__ import annotations

from langchain_wrap.checks.clause import Area

area = Area("STREAM", "Streaming")
