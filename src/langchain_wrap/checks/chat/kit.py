"""The kit for chat models: what `check_chat` checks."""

from __future__ import annotations

from langchain_wrap.checks.chat.subject import ChatSubject
from langchain_wrap.checks.clauses.chat import CLAUSES
from langchain_wrap.checks.session import Kit

CHATS = Kit(ChatSubject, lambda: CLAUSES, "check_chat")
"""The kit for chat models."""
