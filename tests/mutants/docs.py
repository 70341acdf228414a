"""Mutants of DOCS."""

from __future__ import annotations

from langchain_core.language_models import llms

from mutants.mutant import Mutant
from mutants.right import Core


class Undocumented(llms.LLM):
    model_name: str = "so"
    """The name of the model."""

    repeat: int = 1
    """How many times the answer is said."""

    _llm_type = Core._llm_type
    _identifying_params = Core._identifying_params
    text = Core.text
    _call = Core._call
    _acall = Core._acall
    _stream = Core._stream
    _astream = Core._astream


class UndescribedField(Core):
    """So, once more."""

    n: int = 0
    # How loud it is.
    loudness: int = 0


class DescribedFields(Core):
    """So, once more; `loudness` is how loud."""

    n: int = 0
    """How often."""
    loudness: int = 0


class Unlinked(Core):
    """So, behind a service."""

    base_url: str = "https://so.invalid/v1"
    """Where the service is."""


class Linked(Unlinked):
    """So, behind a service, whose API is described at https://so.invalid/docs."""


MUTANTS = [
    Mutant("DOCS-01", Undocumented, Core),
    Mutant("DOCS-02", UndescribedField, DescribedFields),
    Mutant("DOCS-03", Unlinked, Linked),
]
