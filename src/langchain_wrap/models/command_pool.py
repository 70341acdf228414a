"""Programs that go on running, and answer a line of JSON with lines of JSON."""

from __future__ import annotations

import json
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from langchain_wrap import CancelToken, CommandError
from langchain_wrap.models.command_process import Program


class Worker:
    """One program that goes on running."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.busy = False
        """Whether it still has something to say to the last request."""
        self._lines = _lines(program)

    def ask(self, request: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """Write a request; yield the answers to it, the last of which says that it is done.

        Raises:
            CommandError: The program has ended, or answers something else.
        """
        self.busy = True
        self.program.write(json.dumps(request, ensure_ascii=False).encode() + b"\n")
        for line in self._lines:
            answer = _answer(line)
            if answer.get("done") or "error" in answer:
                self.busy = False
                yield answer
                return
            yield answer
        stderr = self.program.stderr
        raise CommandError(
            f"the program ended with exit code {self.program.wait()} in the middle of an answer: "
            f"{stderr or '(nothing on stderr)'}",
            stderr=stderr,
        )


class Pool:
    """The programs of one object, started when one is missing; a copy of it starts its own."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._idle: list[Worker] = []
        weakref.finalize(self, _end, self._idle)

    def __reduce__(self) -> tuple[type[Pool], tuple[()]]:
        return Pool, ()

    @contextmanager
    def worker(self, start: Callable[[], Program], cancel: CancelToken) -> Iterator[Worker]:
        """Lend a program that runs; one that was left in the middle is ended."""
        worker = self._take() or Worker(start())
        cancel.add_callback(worker.program.end)
        try:
            yield worker
        finally:
            cancel.remove_callback(worker.program.end)
            if worker.busy or cancel.cancelled or not worker.program.alive:
                worker.program.close()
            else:
                with self._lock:
                    self._idle.append(worker)

    def _take(self) -> Worker | None:
        while True:
            with self._lock:
                if not self._idle:
                    return None
                worker = self._idle.pop()
            if worker.program.alive:
                return worker
            worker.program.close()


def _end(idle: list[Worker]) -> None:
    for worker in idle:
        worker.program.close()


def _lines(program: Program) -> Iterator[bytes]:
    rest = b""
    for data in program.output():
        *lines, rest = (rest + data).split(b"\n")
        yield from (line for line in lines if line.strip())


def _answer(line: bytes) -> dict[str, Any]:
    try:
        answer = json.loads(line)
    except ValueError:
        answer = None
    if not isinstance(answer, dict):
        shown = line[:200].decode("utf-8", "replace")
        raise CommandError(
            f"a persistent program must answer in lines of JSON, and wrote {shown!r}"
        )
    return answer
