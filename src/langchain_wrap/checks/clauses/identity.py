"""IDENTITY: identity, cache, copies."""

from __future__ import annotations

from langchain_wrap.checks.clause import Area

area = Area("IDENTITY", "Identity, cache, copies")
