"""A stream of `Transformers`: generated in a thread of its own, read piece by piece."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from langchain_wrap.models.transformers_completion import Completion
    from langchain_wrap.models.transformers_engine import Engine


class Step(NamedTuple):
    """What one token has added."""

    text: str
    usage: dict[str, int]


def stream(engine: Engine, completion: Completion, parameters: Mapping[str, Any]) -> Iterator[Step]:
    """Yield the steps of a completion; closing ends the generation at its next token.

    transformers generates in a loop of its own that calls us, hence the thread. Nothing of it
    outlives the generator: closing waits for the token that is being computed.
    """
    steps: queue.SimpleQueue[Step | BaseException | None] = queue.SimpleQueue()
    left = threading.Event()

    def work() -> None:
        try:
            engine.generate(
                [completion],
                parameters,
                cancelled=left.is_set,
                on_piece=lambda completion, piece: steps.put(Step(piece, completion.usage)),
            )
            steps.put(None)
        except BaseException as error:
            steps.put(error)

    thread = threading.Thread(target=work, name="transformers-generate", daemon=True)
    thread.start()
    try:
        while isinstance(step := steps.get(), Step):
            yield step
        if step is not None:
            raise step
    finally:
        left.set()
        thread.join()
