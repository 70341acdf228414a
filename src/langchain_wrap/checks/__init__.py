"""The conformance kit: is this custom LLM right?

```python
from langchain_wrap.checks import check_llm

print(check_llm(my_llm))
```
"""

from __future__ import annotations

from langchain_wrap.checks.check import ContractWarning, check_llm
from langchain_wrap.checks.report import Report
from langchain_wrap.checks.result import CheckResult

__all__ = [
    "CheckResult",
    "ContractWarning",
    "Report",
    "check_llm",
]
