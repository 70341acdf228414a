"""A call: what is asked of a chat model at once, and one attempt at answering it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from langchain_core.messages import BaseMessage

from langchain_wrap.chat.pieces import Parser
from langchain_wrap.chat.tools import Tools
from langchain_wrap.pipeline.generation import Generation
from langchain_wrap.pipeline.shell import Shell
from langchain_wrap.pipeline.unit import Member


@dataclass(frozen=True, kw_only=True)
class Call:
    """What is asked of a chat model at once."""

    messages: list[BaseMessage]
    tools: Tools
    shell: Shell
    streamed: bool = False
    """Whether somebody reads chunk by chunk."""
    stop: list[str] | None = None
    json_schema: dict[str, Any] | None = None
    """The schema that the answer's text has to be valid for."""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    """All other parameters; they are the model's."""
    run_manager: Callable[[bool], Any] = lambda is_async: None
    """Makes what is handed to a method, async or not, that asks for a run manager."""
    member: Member | None = None
    """What the call is of a batch that goes to the model as one unit."""
    on_retry: Callable[[Any], Any] | None = None


@dataclass(kw_only=True)
class Attempt:
    """One way of the messages through the model."""

    generation: Generation
    cancel: Callable[[], None]
    """Has the generation end as soon as it can; from any thread."""
    parser: Parser
    before: str = ""
    """What the answer begins with, because the prompt ends with it."""
    after: str = ""
    """What an answer under a constraint would have ended with."""
    certain: bool = True
    """Whether a call that is required is surely made: by a constraint, or by the model itself."""
    count: Callable[[str], dict[str, int]] | None = None
    """Counts the tokens of the prompt and of this answer, where the model does not report them."""
