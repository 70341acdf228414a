"""SECRET: secrets."""

from __future__ import annotations

from langchain_wrap.checks.clause import Area

area = Area("SECRET", "Secrets")
