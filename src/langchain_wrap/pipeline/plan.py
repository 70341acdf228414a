"""A plan: what one call of `LLM` asks for, and the runs that carry it out."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from langchain_core.callbacks import CallbackManager

from langchain_wrap.pipeline import cache, core
from langchain_wrap.pipeline.batching import Ticket
from langchain_wrap.pipeline.cancel import Cancelled
from langchain_wrap.pipeline.gate import Gate
from langchain_wrap.pipeline.generation import Generation, Request
from langchain_wrap.pipeline.identity import canonical, describe
from langchain_wrap.pipeline.limit import pass_limiter
from langchain_wrap.pipeline.listener import Listener, start_of
from langchain_wrap.pipeline.requests import Requests
from langchain_wrap.pipeline.run import Outcome, Run
from langchain_wrap.pipeline.secrets import redact
from langchain_wrap.pipeline.shell import Shell
from langchain_wrap.pipeline.stop import merge_stops
from langchain_wrap.pipeline.timeout import UNBOUNDED

if TYPE_CHECKING:
    from langchain_wrap.contract import Contract

DEFAULT_PARALLEL = 64
"""How many prompts of a batch run at once where nothing else is said."""

_TOO_LARGE_FOR_TRACES = frozenset({"tools", "functions", "messages", "response_format"})


class Plan(Requests):
    """One call of `LLM`.

    Args:
        llm: The model.
        shell: The caller's side.
        stop: The call's own stops.
        parameters: The call's own parameters.
        streamed: Whether the caller reads chunk by chunk.
        without: A method that must not serve the call, because it is the one being derived.

    Raises:
        TypeError: The author's method does not take a parameter.
        ValueError: A stop is empty.
    """

    def __init__(
        self,
        llm: Contract,
        shell: Shell,
        *,
        stop: object = None,
        parameters: Mapping[str, Any],
        streamed: bool = False,
        without: str = "",
    ) -> None:
        super().__init__(llm, shell, stop=stop, parameters=parameters, without=without)
        self._llm = llm
        self._streamed = streamed
        self._invocation = {**llm._params(), "stop": stop}
        if self._parameters:
            self._invocation.update(redact(self._parameters))
        self._manager: tuple[Listener, Any] | None = None
        self._cache = cache.resolve(llm.cache)
        self._cache_key = ""
        self._fields: dict[str, Any] = {}
        self._time = llm._wrap_live.configuration.time
        if self._cache is not None:
            self._fields = llm._described_fields(digest=True)
            self._configuration = llm._wrap_live.configuration.read(self._fields)
            self._cache_key = self._make_cache_key()

    @property
    def _owner(self) -> object:
        return self._llm if self._cache is not None else None

    def generation(self, prompt: str) -> Generation:
        """Return the generation that a derived method is: a part of a call, not a call.

        What holds for a call as a whole (places, limits, retries) has been seen to by the call.
        """
        request = self.request(prompt, streamed=self._streamed)
        request.stop = tuple(merge_stops(None, self._call_stop))
        request.gate, request.rate_limiter, request.max_retries = Gate(), None, 0
        request.timeout = UNBOUNDED
        return Generation(request, self._shell)

    def run(
        self, prompt: str, listener: Listener, *, batch_size: int = 1, twin: Outcome | None = None
    ) -> Run:
        """Return the run for one prompt."""
        llm = self._llm
        manager = self._callback_manager(listener)
        begin = partial(
            start_of(manager),
            core.serialized(llm),
            [prompt],
            invocation_params=self._invocation,
            options={"stop": self._call_stop},
            name=listener.run_name,
            run_id=listener.run_id,
            batch_size=batch_size,
        )
        entry = None
        if self._cache is not None:
            entry = cache.CacheEntry(self._cache, prompt, self._cache_key)
        return Run(
            self.request(prompt, streamed=self._streamed or core.is_streaming(manager.handlers)),
            self._shell,
            begin,
            entry=entry,
            twin=twin,
        )

    async def complete(
        self,
        prompts: Sequence[str],
        listeners: Sequence[Listener],
        *,
        limit: int | None = None,
        keep_errors: bool = False,
    ) -> list[Outcome]:
        """Complete prompts side by side, at most `limit` at once; outcomes in order.

        Equal prompts are sent to the model once, if there is a cache.

        Raises:
            Exception: The first error, unless `keep_errors`.
        """
        if len(prompts) == 1 and not keep_errors:
            run = self.run(prompts[0], listeners[0])
            await run.drain()
            self.settle()
            return [run.outcome]
        pairs = list(zip(prompts, listeners, strict=True))
        leaders: dict[str, int] = {}
        runs: dict[int, Run] = {}
        for index, (prompt, listener) in enumerate(pairs):
            if self._cache is None or leaders.setdefault(prompt, index) == index:
                runs[index] = self.run(prompt, listener, batch_size=len(pairs))
        await self._gather(list(runs.values()), limit, keep_errors=keep_errors)
        twins: list[Run] = []
        for index, (prompt, listener) in enumerate(pairs):
            if index not in runs:
                twin = runs[leaders[prompt]].outcome
                runs[index] = self.run(prompt, listener, batch_size=len(pairs), twin=twin)
                twins.append(runs[index])
        await self._gather(twins, limit, keep_errors=keep_errors)
        self.settle()
        return [runs[index].outcome for index in range(len(pairs))]

    def settle(self) -> None:
        """Note which fields the model has changed itself (see `identity.Configuration`)."""
        if self._cache is not None:
            now = self._llm._described_fields(digest=True)
            self._llm._wrap_live.configuration.after(
                self._fields, now, self._configuration, self._time
            )

    async def _gather(self, runs: list[Run], limit: int | None, *, keep_errors: bool) -> None:
        if not runs:
            return
        most = limit or self._llm.concurrency or DEFAULT_PARALLEL
        if limit is not None and self._llm.concurrency is not None:
            most = min(limit, self._llm.concurrency)
        in_lists = [run for run in runs if run.request.method.gives == "list"]
        if not in_lists:
            await self._side_by_side([run.drain for run in runs], runs, most, keep_errors)
            return
        size = limit or len(runs)
        for begin in range(0, len(runs), size):
            await self._as_one_list(runs[begin : begin + size], keep_errors)

    async def _as_one_list(self, runs: list[Run], keep_errors: bool) -> None:
        """Complete prompts by a batch method: a caller's list is one unit."""
        await self._side_by_side([run.start for run in runs], runs, 1, keep_errors)
        waiting = [run.request for run in runs if run.needs_model]
        if waiting and await self._limited(waiting):
            for request, ticket in zip(waiting, self._submit_or_fail(waiting), strict=True):
                request.ticket = ticket
        most = len(runs) if self._shell.is_async else 1
        await self._side_by_side([run.finish for run in runs], runs, most, keep_errors)

    async def _limited(self, requests: list[Request]) -> bool:
        """Wait for the rate limiter to let all pass; False if that takes too long for them."""
        limiter = requests[0].rate_limiter
        if limiter is None:
            return True
        total, waiter = self._timeout.total, self._shell.waiter()
        deadline = None if total is None else time.monotonic() + total
        for request in requests:
            if not await pass_limiter(limiter, self._shell, waiter, deadline, request.cancel):
                return False
        return True

    async def _side_by_side(
        self, steps: Sequence[Any], runs: list[Run], most: int, keep_errors: bool
    ) -> None:
        def stop() -> None:
            for run in runs:
                run.request.cancel.cancel()

        async def guarded(step: Any, run: Run) -> None:
            try:
                await step()
            except Cancelled:
                pass
            except Exception as error:
                run.outcome.error = error
                if not keep_errors:
                    raise

        jobs = [partial(guarded, step, run) for step, run in zip(steps, runs, strict=True)]
        try:
            await self._shell.gather(jobs, most, stop)
        except BaseException as error:
            stop()
            # After an interrupt of a sync caller, worker threads may still drive their runs.
            if isinstance(error, Exception) or self._shell.is_async or most <= 1:
                for run in runs:
                    await run.close()
            raise

    def _submit_or_fail(self, requests: list[Request]) -> list[Ticket]:
        try:
            return self.submit(requests, self._shell)
        except Exception as error:
            tickets = [self.ticket(request) for request in requests]
            for ticket in tickets:
                ticket.fail(error)
            return tickets

    def _make_cache_key(self) -> str:
        llm = self._llm
        return canonical(
            {
                "class": f"{type(llm).__module__}.{type(llm).__qualname__}",
                "params": describe(llm._params()) if llm._names_itself else None,
                "fields": self._configuration,
                "stop": self._stop,
                "include_stop": llm.include_stop,
                "call": describe(self._parameters, digest=True),
            }
        )

    def _callback_manager(self, listener: Listener) -> Any:
        """Return the callback manager for a listener; one serves a whole batch."""
        if self._manager is not None and listener.shares_with(self._manager[0]):
            return self._manager[1]
        llm = self._llm
        manager: Any = self._shell.manager.configure(
            listener.callbacks,
            llm.callbacks,
            llm.verbose,
            listener.tags,
            llm.tags,
            {
                **self._model_name(),
                **_clean(listener.metadata),
                **core.tracing_metadata(llm, self._call_stop, self._parameters),
            },
            _clean(llm.metadata),
            langsmith_inheritable_metadata={
                name: value
                for name, value in self._invocation.items()
                if name not in _TOO_LARGE_FOR_TRACES
            },
        )
        if self._shell.is_async and not manager.handlers:
            # Nobody listens: the sync manager gives run ids without a task for each prompt.
            manager = CallbackManager(
                handlers=[],
                parent_run_id=manager.parent_run_id,
                tags=manager.tags,
                inheritable_tags=manager.inheritable_tags,
                metadata=manager.metadata,
                inheritable_metadata=manager.inheritable_metadata,
            )
        self._manager = (listener, manager)
        return manager

    def _model_name(self) -> dict[str, str]:
        """Return the model's name for traces; langchain-core looks for it in two fields only."""
        name = self._invocation.get("model_name")
        return {"ls_model_name": name} if isinstance(name, str) else {}


def _clean(metadata: dict[str, Any] | None) -> dict[str, Any]:
    if not metadata or metadata.keys() == {"lc_versions"}:  # as of most models: nothing to mask
        return metadata or {}
    cleaned: dict[str, Any] = redact(metadata)
    return cleaned
