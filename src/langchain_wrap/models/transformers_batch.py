"""A batch of `Transformers`: which prompts are computed together, and less of them if need be."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from langchain_wrap.models.transformers_completion import Completion

if TYPE_CHECKING:
    from langchain_wrap.models.transformers_engine import Engine


def complete(
    engine: Engine,
    prompts: Sequence[Sequence[int]],
    parameters: Mapping[str, Any],
    *,
    stop: Sequence[str],
    most_tokens: int,
    cancelled: Callable[[], bool],
) -> list[Completion]:
    """Complete prompts, many at once; one completion for each, in order.

    A batch that memory is too small for is halved, down to one prompt. It is done here and not left
    to the pipeline, which would compute again what went well before.

    Args:
        engine: The engine.
        prompts: Their tokens.
        parameters: As `transformers_sampling.effective` gives them.
        stop: Texts at which a completion ends.
        most_tokens: How many tokens are computed together at most, padding and completions
            included; a prompt that has more is computed alone.
        cancelled: Looked at after each step.
    """
    lengths = [len(prompt) for prompt in prompts]
    room = parameters["max_new_tokens"]
    waiting = list(together(lengths, room, most_tokens, engine.context))
    found: dict[int, Completion] = {}
    while waiting:
        rows = waiting.pop(0)
        completions = [engine.begin(prompts[row], stop) for row in rows]
        if cancelled():
            for completion in completions:
                completion.cancel()
        elif not _computed(engine, completions, parameters, cancelled):
            middle = len(rows) // 2
            waiting[:0] = [rows[:middle], rows[middle:]]
            continue
        found.update(zip(rows, completions, strict=True))
    return [found[row] for row in range(len(prompts))]


def _computed(
    engine: Engine,
    completions: Sequence[Completion],
    parameters: Mapping[str, Any],
    cancelled: Callable[[], bool],
) -> bool:
    """Compute completions together; False if memory is too small for so many."""
    from langchain_wrap.models.transformers_engine import is_out_of_memory

    try:
        engine.generate(completions, parameters, cancelled=cancelled)
    except Exception as error:
        if len(completions) == 1 or not is_out_of_memory(error):
            raise
    else:
        return True
    engine.free()  # not before: the error's traceback holds what was computed
    return False


def together(
    lengths: Sequence[int], room: int, most_tokens: int, context: int | None
) -> Iterator[list[int]]:
    """Yield which prompts are computed together: of like length, within the bound of tokens.

    The longest are first: where memory is too small for one alone, that shows before the others
    have been computed for nothing.

    Args:
        lengths: How many tokens each prompt has.
        room: How many tokens a completion may have.
        most_tokens: How many tokens are computed together at most.
        context: How many tokens a prompt and its completion may have together.
    """
    rows: list[int] = []
    width = 0
    for row in sorted(range(len(lengths)), key=lambda row: -lengths[row]):
        # Near the end of the context padding would cost a row tokens that it has alone.
        crowded = context is not None and width > context
        if rows and (crowded or width * (len(rows) + 1) > most_tokens):
            yield rows
            rows = []
        if not rows:
            width = lengths[row] + room
        rows.append(row)
    if rows:
        yield rows
