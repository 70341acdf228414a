"""Kinds: which packages can be made."""

from __future__ import annotations

from typing import NamedTuple

from langchain_wrap._version import __version__

_OURS = f"langchain-wrap>={'.'.join(__version__.split('.')[:2])}"
_CORE = "langchain-core>=1.7,<2"
_PYDANTIC = "pydantic>=2.7.4,<3"


class Kind(NamedTuple):
    """A kind of model."""

    about: str
    """What the model is, as the package's description says it."""
    needs: tuple[str, ...]
    """What the package depends on."""
    yours: str
    """The file, below the module, where the author's own model goes."""
    params: str = ""
    """What the model is made with for the conformance kit, so that its answers do not vary."""


KINDS = {
    "function": Kind("a Python function", (_OURS, _PYDANTIC), "model.py"),
    "http": Kind(
        "a service with an OpenAI-style completions API",
        (
            "httpx>=0.28,<1",
            "httpx-sse>=0.4.2,<0.5",  # before, a line separator inside a text broke its event
            _CORE,
            _OURS,
            _PYDANTIC,
        ),
        "llm.py",
        params='"temperature": 0',
    ),
    "command": Kind("a program", (_OURS, _PYDANTIC), "program.py"),
    "batch": Kind(
        "a function that is faster on many prompts at once", (_OURS, _PYDANTIC), "model.py"
    ),
}
