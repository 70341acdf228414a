"""A generation: one prompt on its way through the engine."""

from __future__ import annotations

import contextlib
import os
import queue
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from langchain_core.exceptions import ContextOverflowError, ModelAPIError

from langchain_wrap.models.llama_engine import Core, Engine, logger
from langchain_wrap.models.llama_slots import Phase, Ticket

if TYPE_CHECKING:
    from langchain_wrap import CancelToken

_IN_VAIN = 16
"""Tokens taken from a restored slot, below which restoring was of no use."""

_CLOSED = "the engine is closed: the interpreter is about to exit"


def generate(
    engine: Engine, body: dict[str, Any], *, reuse: bool = True, cancel: CancelToken | None = None
) -> Iterator[dict[str, Any]]:
    """Wait for a slot, then yield the engine's messages until the end or the cancelling.

    Closing the iterator frees the slot, at the engine's next step; so does `cancel`, from any
    thread, and it frees the reader at once.

    Raises:
        ContextOverflowError: The prompt is longer than the context.
        ValueError: The engine refuses a parameter.
    """
    worker = Worker(engine.core, body, reuse)
    worker.submit()
    if cancel is not None:
        cancel.add_callback(worker.cancel)
    try:
        yield from worker.listen()
    finally:
        if cancel is not None:
            cancel.remove_callback(worker.cancel)
        worker.cancel()


class Worker:
    """Asks the engine in a thread of its own: the engine calls back in the thread that asks."""

    def __init__(self, core: Core, body: dict[str, Any], reuse: bool) -> None:
        self._core = core
        self._body = {**body, "stream": True, "return_progress": True, "timings_per_token": True}
        self._ticket = Ticket(body["prompt"], reuse)
        self._said: queue.SimpleQueue[dict[str, Any] | BaseException | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="llama-cpp", daemon=True)
        self._restored = False

    def submit(self) -> None:
        """Queue for a slot."""
        self._core.live.add(self)
        if self._core.closed:
            self._core.live.discard(self)
            raise RuntimeError(_CLOSED)
        self._core.slots.submit(self._ticket)

    def listen(self) -> Iterator[dict[str, Any]]:
        """Start once there is a slot; yield what the engine says."""
        self._ticket.admitted.wait()
        if self._ticket.cancelled:
            return
        self._thread.start()
        while (message := self._said.get()) is not None:
            if isinstance(message, BaseException):
                raise message
            if "error" in message:
                raise _as_exception(message["error"])
            yield message

    def cancel(self) -> None:
        """End it, from any thread; the reader is freed at once."""
        self._core.slots.cancel(self._ticket)
        self._said.put(None)
        if self._thread.ident is None:  # no thread that would do so
            self._core.slots.leave(self._ticket)
            self._core.live.discard(self)

    def join(self, timeout: float) -> bool:
        """Wait for the engine to let go; return whether it has."""
        if self._thread.ident is not None and self._thread is not threading.current_thread():
            self._thread.join(timeout)
            return not self._thread.is_alive()
        return True

    def _run(self) -> None:
        core, ticket = self._core, self._ticket
        try:
            if ticket.restore is not None and not ticket.cancelled:
                self._restore(ticket.restore)
            while (server := core.server) is not None and not ticket.cancelled:
                if core.slots.begin_prefix(ticket):
                    self._share_prefix(server)
                server.handle_completions({**self._body, "id_slot": ticket.slot}, self._hear)
                if ticket.phase is not Phase.PREFIX:
                    break
            if core.server is None and not ticket.cancelled:
                self._said.put(RuntimeError(_CLOSED))
        except BaseException as error:
            self._said.put(error)
        finally:
            core.slots.leave(ticket)
            core.live.discard(self)
            self._said.put(None)

    def _hear(self, message: dict[str, Any]) -> bool:
        """Take a message; True makes the engine stop. What this raises would be lost."""
        ticket = self._ticket
        if ticket.interrupted:
            return True
        if ticket.phase is not Phase.DECODING and not {"prompt_progress", "error"} & set(message):
            if not self._core.slots.first_token(ticket):
                return True
            if self._restored and message["timings"]["cache_n"] < _IN_VAIN:
                self._core.slots.sharing = False
                logger.info("this model cannot go on from a saved slot: no more sharing")
        self._said.put(message)
        return False

    def _restore(self, file: str) -> None:
        try:
            path = f"/slots/{self._ticket.slot}?action=restore"
            self._core.address.request(path, {"filename": file})
            self._restored = True
        except OSError as error:  # it was deleted meanwhile: the prompt is computed instead
            logger.debug("restoring %s failed: %s", file, error)

    def _share_prefix(self, server: Any) -> None:
        """Compute what this prompt shares with others, and save it for them."""
        core, ticket = self._core, self._ticket
        body = {"prompt": ticket.prefix, "max_tokens": 1, "id_slot": ticket.slot}
        last: dict[str, Any] = {}

        def hear(message: dict[str, Any]) -> bool:
            last.update(message)
            return ticket.cancelled

        server.handle_completions({**body, "stream": True, "return_progress": True}, hear)
        file = None
        if "usage" in last and not ticket.cancelled:
            file = core.slots.new_file()
            try:
                path = f"/slots/{ticket.slot}?action=save"
                core.address.request(path, {"filename": file})
                logger.debug("%d shared tokens saved", last["usage"]["prompt_tokens"])
            except OSError as error:
                logger.warning("prompts share no beginnings any more: saving failed: %s", error)
                core.slots.sharing, file = False, None
        for old in core.slots.end_prefix(ticket, file):
            with contextlib.suppress(OSError):
                os.unlink(os.path.join(core.address.folder, old))


def _as_exception(error: dict[str, Any]) -> Exception:
    message = str(error.get("message", error))
    if error.get("type") == "exceed_context_size_error":
        return ContextOverflowError(
            f"the prompt has {error['n_prompt_tokens']} tokens; n_ctx, what one prompt and its "
            f"completion may use, is {error['n_ctx']}. Shorten the prompt or raise n_ctx."
        )
    if error.get("code") == 400:
        return ValueError(f"llama.cpp refuses the call: {message}")
    return ModelAPIError(f"llama.cpp failed: {message}")
