"""The conformance kit: is this custom LLM, or chat model, right?

```python
from langchain_wrap.checks import check_llm

print(check_llm(my_llm))
```
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from langchain_wrap.checks.check import ContractWarning, check_chat, check_llm
from langchain_wrap.checks.report import Report
from langchain_wrap.checks.result import CheckResult

if TYPE_CHECKING:
    from langchain_wrap.checks.testing import (
        ChatStandardTests,
        LLMStandardTests,
        parametrize_with_chat_checks,
        parametrize_with_checks,
    )

__all__ = [
    "ChatStandardTests",
    "CheckResult",
    "ContractWarning",
    "LLMStandardTests",
    "Report",
    "check_chat",
    "check_llm",
    "parametrize_with_chat_checks",
    "parametrize_with_checks",
]


_OF_PYTEST = (
    "ChatStandardTests",
    "LLMStandardTests",
    "parametrize_with_chat_checks",
    "parametrize_with_checks",
)


def __getattr__(name: str) -> Any:
    """Import what needs pytest on first use."""
    if name not in _OF_PYTEST:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        from langchain_wrap.checks import testing
    except ModuleNotFoundError as error:
        if error.name != "pytest":
            raise
        raise ImportError(f"{name} needs pytest: pip install pytest") from error
    return getattr(testing, name)


def __dir__() -> list[str]:
    return sorted(__all__)
