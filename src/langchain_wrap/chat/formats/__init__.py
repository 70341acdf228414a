"""Tool formats: how models write tool calls in their text."""

from __future__ import annotations

from langchain_wrap.chat.formats.base import Constraint, ToolFormat
from langchain_wrap.chat.formats.hermes import Hermes
from langchain_wrap.chat.formats.llama3 import Llama3
from langchain_wrap.chat.formats.mistral import Mistral
from langchain_wrap.chat.formats.plain_json import PlainJson

__all__ = ["FORMATS", "Constraint", "ToolFormat", "format_of"]

FORMATS: dict[str, ToolFormat] = {
    each.name: each for each in (Hermes(), Llama3(), Mistral(), PlainJson())
}
"""The formats by their names."""


def format_of(template_source: str | None) -> ToolFormat:
    """Return the format that a model was trained on, by the marks in its chat template."""
    source = template_source or ""
    if "<tool_call>" in source:
        return FORMATS["hermes"]
    if "[TOOL_CALLS]" in source:
        return FORMATS["mistral"]
    if "<|python_tag|>" in source or ('"parameters"' in source and "<|start_header_id|>" in source):
        return FORMATS["llama3"]
    # Many models that write ChatML were trained on Hermes' calls without their template saying so.
    return FORMATS["hermes" if "<|im_start|>" in source else "json"]
