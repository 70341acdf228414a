"""Requests: what the prompts of one call share, and each prompt's own way into the pipeline."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any, Protocol

from langchain_core.rate_limiters import BaseRateLimiter

from langchain_wrap.pipeline.batching import Group, Ticket
from langchain_wrap.pipeline.generation import Request
from langchain_wrap.pipeline.identity import canonical, describe
from langchain_wrap.pipeline.live import Live
from langchain_wrap.pipeline.secrets import secret_values, unseal
from langchain_wrap.pipeline.shell import Shell
from langchain_wrap.pipeline.signature import Signature
from langchain_wrap.pipeline.source import Method, choose
from langchain_wrap.pipeline.stop import merge_stops
from langchain_wrap.pipeline.timeout import Timeout
from langchain_wrap.pipeline.unit import Member


class Model(Protocol):
    """What the pipeline asks of a model: an `LLM`, or a `ChatModel` with `_chat`."""

    stop: list[str] | None
    include_stop: bool
    concurrency: int | None
    max_queued: int | None
    timeout: float | Timeout | None
    max_retries: int
    rate_limiter: BaseRateLimiter | None
    _wrap_live: Live

    @property
    def max_batch_size(self) -> int | None: ...
    @property
    def _implemented(self) -> frozenset[str]: ...
    def _method(self, name: str) -> Callable[..., Any]: ...
    def _label(self, name: str) -> str: ...


class Requests:
    """What the prompts of one call share: stops, parameters and the model's configuration.

    Args:
        model: The model.
        shell: The caller's side.
        stop: The call's own stops.
        parameters: The call's own parameters.
        without: A method that must not serve the call, because it is the one being derived.
        member: The member of a unit that the call is.

    Raises:
        ValueError: A stop is empty.
    """

    def __init__(
        self,
        model: Model,
        shell: Shell,
        *,
        stop: object = None,
        parameters: Mapping[str, Any],
        without: str = "",
        member: Member | None = None,
    ) -> None:
        self._model = model
        self._member = member
        self._shell = shell
        self._call_stop = stop
        self._stop = tuple(merge_stops(model.stop, stop))
        if parameters:
            parameters = {name: unseal(value) for name, value in parameters.items()}
        self._parameters = parameters
        self._methods: Collection[str] = model._implemented - {without}
        self._gate = model._wrap_live.gate(model.concurrency, model.max_queued)
        self._timeout = Timeout.of(model.timeout)
        self._groups: dict[tuple[str, tuple[str, ...]], Group] = {}
        self._chosen: dict[bool, tuple[Method, Callable[..., Any], str]] = {}

    def request(self, prompt: Any, *, streamed: bool) -> Request:
        """Return the request for one prompt.

        Raises:
            TypeError: The author's method does not take a parameter.
        """
        method, function, label = self._served_by(streamed)
        retries = self._model.max_retries
        return Request(
            label=label,
            prompt=prompt,
            stop=self._stop,
            include_stop=self._model.include_stop,
            parameters=self._parameters,
            method=method,
            function=function,
            gate=self._gate,
            submit=self.submit,
            timeout=self._timeout,
            max_retries=retries if isinstance(retries, int) else 0,
            rate_limiter=self._model.rate_limiter,
            secrets=self.secrets,
            owner=self._owner,
        )

    @property
    def _owner(self) -> object:
        """The model, where its own changes to its fields have to be told from others'."""
        return None

    def _choose(self, streamed: bool) -> tuple[Method, Callable[..., Any]]:
        method = choose(self._methods, streamed=streamed, is_async=self._shell.is_async)
        return method, self._model._method(method.name)

    def _served_by(self, streamed: bool) -> tuple[Method, Callable[..., Any], str]:
        """Return the method that serves the call, and what an error message calls it."""
        found = self._chosen.get(streamed)
        if found is None:
            method, function = self._choose(streamed)
            found = method, function, self._model._label(method.name)
            Signature.of(function).check(found[2], self._parameters)
            self._chosen[streamed] = found
        return found

    def submit(self, requests: list[Request], shell: Shell) -> list[Ticket]:
        """Queue requests for a batch method as one unit."""
        batcher = self._model._wrap_live.batcher(
            requests[0].method, self._gate, self._model.max_batch_size, is_async=shell.is_async
        )
        tickets = [self.ticket(request) for request in requests]
        if self._member is None or not self._member.send(batcher, tickets):
            batcher.submit(tickets)
        return tickets

    def ticket(self, request: Request) -> Ticket:
        """Return a request's place in the queue of a batch method."""
        return Ticket(request.prompt, self._group(request))

    def _group(self, request: Request) -> Group:
        method: Method = request.method
        name = (method.name, request.handed_stop)
        if name not in self._groups:
            key = canonical([request.handed_stop, describe(self._parameters, digest=True)])
            self._groups[name] = Group(
                request.label,
                method,
                request.function,
                request.handed_stop,
                self._parameters,
                key,
                request.owner,
            )
        return self._groups[name]

    def secrets(self) -> Iterator[str]:
        """Yield the texts that must not show in an error."""
        return secrets_of(self._model, self._parameters)


def secrets_of(model: Any, parameters: Mapping[str, Any]) -> Iterator[str]:
    """Yield the secrets that a model and the parameters of a call hold."""
    yield from secret_values(parameters)
    for name in type(model).model_fields:
        yield from secret_values(getattr(model, name, None), name)
    for name, value in (model.__pydantic_private__ or {}).items():
        yield from secret_values(value, name)
