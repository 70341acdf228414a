"""A generation: one prompt's way through the stages, from admission to the last chunk."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from langchain_core.outputs import GenerationChunk
from langchain_core.rate_limiters import BaseRateLimiter

from langchain_wrap.errors import QueueFullError
from langchain_wrap.pipeline.batching import Ticket, TicketReader
from langchain_wrap.pipeline.cancel import Cancelled, CancelToken
from langchain_wrap.pipeline.facts import Facts
from langchain_wrap.pipeline.gate import Gate, Visit
from langchain_wrap.pipeline.limit import pass_limiter
from langchain_wrap.pipeline.reader import GRACE, Reader
from langchain_wrap.pipeline.retry import Retries
from langchain_wrap.pipeline.shell import Shell
from langchain_wrap.pipeline.source import Method, SourceCall
from langchain_wrap.pipeline.stop import StopFilter
from langchain_wrap.pipeline.timeout import Expired, Patience, Timeout


@dataclass(eq=False, repr=False, kw_only=True)
class Request:
    """One prompt, and how it is to be completed."""

    label: str
    """What an error message calls the method."""
    prompt: str
    stop: tuple[str, ...]
    include_stop: bool
    parameters: Mapping[str, Any]
    method: Method
    function: Callable[..., Any]
    gate: Gate
    submit: Callable[[list[Request], Shell], list[Ticket]]
    """Queues requests for a batch method as one unit."""
    timeout: Timeout
    max_retries: int
    rate_limiter: BaseRateLimiter | None
    run_manager: Callable[[], Any] = lambda: None
    """Makes what is handed to a method that asks for a run manager."""
    secrets: Callable[[], Iterable[str]] = tuple
    """Gives the texts that must not show in an error."""
    owner: object = None
    """The model, where its own changes to its fields have to be told from others'."""
    on_retry: Callable[[Any], Any] | None = None
    cancel: CancelToken = field(default_factory=CancelToken)
    ticket: Ticket | None = None
    """The place in the queue of a batch method, where it was taken with others."""

    withhold_stop: bool = False
    """Whether the method has refused stops."""

    @property
    def handed_stop(self) -> tuple[str, ...]:
        """The stops that the method is told of; none, if the stop is to stay in the text."""
        return () if self.include_stop or self.withhold_stop else self.stop


class Generation:
    """Yields the chunks of one completion, one `next` at a time.

    After the end, `text` and `facts` tell of the whole.
    """

    def __init__(self, request: Request, shell: Shell) -> None:
        self._request = request
        self._shell = shell
        self._waiter = shell.waiter()
        self._patience = Patience(request.timeout)
        self._retries = Retries(request.max_retries)
        self._filter = (
            StopFilter(request.stop, include_stop=request.include_stop) if request.stop else None
        )
        self._reader: Reader | None = None
        self._visit: Visit | None = None
        self._attempt = CancelToken()
        self._ready: deque[GenerationChunk] = deque()
        self._held: GenerationChunk | None = None
        self._failure: Exception | None = None
        self._started = False
        self._over = False
        self._texts: list[str] = []
        self._last: GenerationChunk | None = None
        self._deltas: GenerationChunk | None = None
        self.facts = Facts()
        request.cancel.add_callback(self._interrupt)

    async def next(self) -> GenerationChunk | None:
        """Return the next chunk that can go out, or None at the end.

        Raises:
            ModelTimeoutError: A timeout has passed.
            Cancelled: The request was cancelled.
            Exception: What the author's method has raised.
        """
        while not self._ready:
            if self._over:
                if self._reader is not None:  # a stop: the model may still be closing
                    await self._wait_for_the_end(self._reader)
                return None
            if self._failure is not None:
                raise self._failure
            try:
                chunk = await self._pull()
            except Exception as error:
                if isinstance(error, Cancelled) or not self._salvage():
                    raise
                self._failure = error
                continue
            if chunk is None:
                await self._finish()
                self._reader = None
            else:
                self._take(chunk)
                if self._filter is not None and self._filter.hit is not None:
                    self.facts.conclude(finish_reason="stop", stop_reason=self._filter.hit)
                    await self._finish()
        chunk = self._last = self._ready.popleft()
        self._texts.append(chunk.text)
        return chunk

    async def _wait_for_the_end(self, reader: Reader) -> None:
        self._reader = None
        await reader.close(GRACE)

    async def close(self, grace: float) -> None:
        """End the source, wherever it is; wait at most `grace` seconds for it."""
        self._over = True
        self._ready.clear()
        self._request.cancel.remove_callback(self._interrupt)
        reader, self._reader = self._reader, None
        if reader is not None:
            await reader.close(grace)
        if self._request.ticket is not None:
            self._request.ticket.leave()

    def result(self) -> GenerationChunk:
        """Return what has gone out so far as one chunk, with all that is known about it."""
        facts = self.facts.deliver()
        if self._last is not None and len(self._texts) == 1 and not facts:
            return self._last
        info = dict(self._deltas.generation_info or {}) if self._deltas is not None else {}
        info.update(facts or {})
        return GenerationChunk(text="".join(self._texts), generation_info=info or None)

    def _interrupt(self) -> None:
        self._attempt.cancel()
        self._waiter.wake()

    async def _pull(self) -> GenerationChunk | None:
        while True:
            try:
                if self._request.cancel.cancelled:
                    raise Cancelled
                if self._reader is None:
                    self._reader = await self._open()
                else:
                    self._patience.waits()
                chunk = await self._reader.next(self._patience.deadline, self._request.cancel)
            except Exception as error:
                await self._recover(error)
                continue
            if chunk is not None and chunk.text:
                self._started = True
            return chunk

    async def _open(self) -> Reader:
        request, shell = self._request, self._shell
        ticket, request.ticket = request.ticket, None
        if (
            request.rate_limiter is not None
            and ticket is None  # a ticket that was taken with others has passed already
            and not await pass_limiter(
                request.rate_limiter, shell, self._waiter, self._patience.total, request.cancel
            )
        ):
            raise Expired
        if request.method.gives == "list":
            self._patience.called()
            return TicketReader(ticket or request.submit([request], shell)[0], self._waiter)
        if not await request.gate.enter(self._waiter, self._patience.total, request.cancel):
            raise Expired
        visit = self._visit = Visit(request.gate)
        try:
            call = SourceCall(
                request.label,
                request.method,
                request.function,
                request.prompt,
                request.handed_stop,
                request.parameters,
                self._attempt,
                request.run_manager,
                request.secrets,
                request.owner,
            )
            self._patience.called()
            return shell.open(call, visit, self._waiter, bounded=self._patience.bounded)
        except BaseException:
            visit.end()
            raise

    async def _recover(self, error: Exception) -> None:
        """Prepare the next attempt, or raise."""
        reader, self._reader = self._reader, None
        if reader is not None:
            await reader.close(0)
        if isinstance(error, Expired):
            # Where the model cannot be stopped and has no second place, a retry would wait for it.
            stuck = self._visit is not None and not self._visit.ended and self._request.gate.full
            error = self._patience.error(self._request.label)
            if stuck:
                raise error
        final = isinstance(error, Cancelled | QueueFullError)
        if final or self._started or self._patience.is_over:
            raise error
        if self._request.handed_stop and _refuses_stops(error):
            self._request.withhold_stop = True  # they are enforced here all the same
            self._begin_anew()
            return
        wait = self._retries.next_wait(error)
        if wait is None:
            raise error
        if self._request.on_retry is not None:
            await self._shell.settle(self._request.on_retry(self._retries.state))
        if not await self._pause(wait):
            raise error
        self._retries.again()
        self._begin_anew()

    def _begin_anew(self) -> None:
        self._attempt = CancelToken()
        self.facts, self._deltas, self._held = Facts(), None, None

    async def _pause(self, seconds: float) -> bool:
        """Wait; False if the whole call's time is over before."""
        deadline = self._patience.pause(seconds)
        await self._waiter.until(lambda: False, deadline, self._request.cancel)
        return not self._patience.is_over

    def _take(self, chunk: GenerationChunk) -> None:
        """Pass a chunk of the model through facts and stop filter to what is ready."""
        info = chunk.generation_info
        delta = self.facts.take(info) if info else None
        text = chunk.text if self._filter is None else self._filter.feed(chunk.text)
        if not text and not delta:
            return
        if text is not chunk.text or delta is not info or type(chunk) is not GenerationChunk:
            chunk = GenerationChunk(text=text, generation_info=delta)
        if delta:
            carried = GenerationChunk(text="", generation_info=delta)
            self._deltas = carried if self._deltas is None else self._deltas + carried
        if self._held is not None:
            self._ready.append(self._held)
            self._held = None
        # A finish reason says that this is the last text; the facts that may still follow
        # (usage) belong on it, so it waits for the end, which is near.
        if info and info.get("finish_reason"):
            self._held = chunk
        else:
            self._ready.append(chunk)

    def _salvage(self) -> bool:
        """After an error, make ready the text that waited for what was to come; False if none."""
        held, self._held = self._held, None
        if held is not None and held.text:
            self._ready.append(held)
        text = self._filter.flush() if self._filter is not None else ""
        if text:
            self._ready.append(GenerationChunk(text=text))
        return bool(self._ready)

    async def _finish(self) -> None:
        """End the completion: release what was held back, and report the facts once."""
        self._over = True
        if self._reader is not None:
            await self._reader.close(0)  # the last chunk need not wait for the model
        held, self._held = self._held, None
        text = self._filter.flush() if self._filter is not None else ""
        if text:
            if held is not None:
                self._ready.append(held)
            held = GenerationChunk(text=text)
        if held is None and self._ready:
            held = self._ready.pop()
        if held is None and (self.facts.undelivered or not self._texts):
            held = GenerationChunk(text="")
        if held is not None:
            facts = self.facts.deliver()
            if facts:
                info = {**(held.generation_info or {}), **facts}
                held = GenerationChunk(text=held.text, generation_info=info)
            self._ready.append(held)


def _refuses_stops(error: Exception) -> bool:
    """Whether a method says that it takes no stops, as in LangChain's own first examples.

    `NotImplementedError`, which they ask for now, is meant for the caller.
    """
    return isinstance(error, ValueError) and "stop" in str(error).lower()
