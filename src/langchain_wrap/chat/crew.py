"""A crew: the inputs of one `batch` of a chat model, answered side by side."""

from __future__ import annotations

import contextvars
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import get_config_list

from langchain_wrap.chat.turn import Turn
from langchain_wrap.pipeline.live import check_bound
from langchain_wrap.pipeline.plan import DEFAULT_PARALLEL
from langchain_wrap.pipeline.shell import Shell
from langchain_wrap.pipeline.unit import Unit


class _Turns:
    """Turns that a caller may have to end; langchain-core stands between the two."""

    def __init__(self) -> None:
        self._seen: contextvars.ContextVar[list[Turn] | None] = contextvars.ContextVar(
            "turns", default=None
        )

    @contextmanager
    def collected(self) -> Iterator[list[Turn]]:
        """Collect the turns that begin inside, in this context and its copies."""
        seen: list[Turn] = []
        before = self._seen.set(seen)
        try:
            yield seen
        finally:
            self._seen.reset(before)

    def note(self, turn: Turn) -> None:
        seen = self._seen.get()
        if seen is not None:
            seen.append(turn)


turns = _Turns()


class Crew:
    """The inputs of one batch.

    Args:
        shell: The caller's side.
        inputs: What to answer.
        config: The config of all, or one for each.
        keep_errors: Whether an error stands in the place of its input.

    Raises:
        ValueError: `max_concurrency` is no bound, or there are more or fewer configs than inputs.
    """

    def __init__(
        self,
        shell: Shell,
        inputs: list[Any],
        config: RunnableConfig | list[RunnableConfig] | None,
        *,
        keep_errors: bool,
    ) -> None:
        self._shell = shell
        self._inputs = inputs
        self._configs = get_config_list(config, len(inputs))
        most = self._configs[0].get("max_concurrency") if inputs else None
        check_bound("max_concurrency", most, 1)
        self._most = most or DEFAULT_PARALLEL
        self._keep_errors = keep_errors

    async def work(self, answer: Callable[[Any, RunnableConfig], Any]) -> list[Any]:
        """Answer all inputs, by a function that gives the answer or a coroutine for it.

        Raises:
            Exception: The first error, unless errors are kept.
        """
        count = len(self._inputs)
        results: list[Any] = [None] * count
        # A caller's list is one unit for a batch method.
        units = [Unit(min(self._most, count - begin)) for begin in range(0, count, self._most)]

        async def one(index: int) -> None:
            try:
                with units[index // self._most].member():
                    found = answer(self._inputs[index], self._configs[index])
                    results[index] = await self._shell.settle(found)
            except Exception as error:
                if not self._keep_errors:
                    raise
                results[index] = error

        with turns.collected() as seen:

            def stop() -> None:
                for turn in list(seen):
                    turn.cancel()

            jobs = [partial(one, index) for index in range(count)]
            await self._shell.gather(jobs, self._most, stop)
        return results
