"""Programs that go on running, and answer a line of JSON with lines of JSON."""

from __future__ import annotations

import json
import os
import threading
import weakref
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from langchain_wrap import CancelToken, CommandError
from langchain_wrap.models.command_process import Program, ending

_LONGEST = 64 * 1024 * 1024
"""Bytes of a line at most; a program that writes more without an end is not of this kind."""
_MOMENT = 1.0
"""Seconds for a program that has closed its output to end."""


class Gone(Exception):
    """A program had ended, or was about to, when it was asked."""


class Worker:
    """One program that goes on running.

    Args:
        program: The program.
        made_of: What it was started with; equal values make equal programs.
    """

    def __init__(self, program: Program, made_of: object) -> None:
        self.program = program
        self.made_of = made_of
        self.used = False
        """Whether it has answered a request."""
        self.busy = False
        """Whether it still has something to say to the last request."""
        self._lines = _Lines(program)

    @property
    def usable(self) -> bool:
        """Whether it runs and has said nothing since it was done."""
        return not self.busy and self.program.alive and self._lines.silent

    def ask(self, request: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """Write a request; yield the answers to it, the last of which says that it is done.

        Raises:
            Gone: The program has ended after an earlier answer, before it said anything to this.
            CommandError: The program has ended, or answers something else.
        """
        asked = _line(request)
        self.busy, answered = True, False
        self.program.send(asked)
        while (line := self._lines.next()) is not None:
            answer, answered = _answer(line), True
            if answer.get("done") or answer.get("error") is not None:
                self.busy, self.used = False, True
                yield answer
                return
            yield answer
        code = self.program.wait(_MOMENT)
        if self.used and not (answered or self._lines.spoke):
            raise Gone(ending(code))
        stderr = self.program.stderr
        error = CommandError(
            f"the program {ending(code)} in the middle of an answer: "
            f"{stderr or '(nothing on stderr)'}",
            returncode=code,
            stderr=stderr,
        )
        error.is_retryable = True  # by a program that is started for it
        raise error


class _Idle:
    """The programs of one process that have nothing to do."""

    def __init__(self) -> None:
        self.process = os.getpid()
        self.lock = threading.Lock()
        self.workers: list[Worker] = []
        weakref.finalize(self, _end, self.workers)


class Pool:
    """The programs of one object, started when one is missing.

    A copy, a pickle and a forked child start their own.
    """

    def __init__(self) -> None:
        self._state = _Idle()

    def __reduce__(self) -> tuple[type[Pool], tuple[()]]:
        return Pool, ()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Pool)  # no part of what makes two models equal

    def __hash__(self) -> int:
        return hash(Pool)

    @contextmanager
    def worker(
        self, made_of: object, start: Callable[[], Program], cancel: CancelToken
    ) -> Iterator[Worker]:
        """Lend a program that runs; one that was left in the middle is ended.

        Args:
            made_of: What a program is started with; one that was started otherwise is ended.
            start: Starts one.
            cancel: Ends it.
        """
        worker = self._take(made_of) or Worker(start(), made_of)
        cancel.add_callback(worker.program.end)
        try:
            yield worker
        finally:
            cancel.remove_callback(worker.program.end)
            if worker.busy or cancel.cancelled:
                worker.program.close()
            else:
                idle = self._idle
                with idle.lock:
                    idle.workers.append(worker)

    @property
    def _idle(self) -> _Idle:
        if self._state.process != os.getpid():
            self._state = _Idle()
        return self._state

    def _take(self, made_of: object) -> Worker | None:
        idle = self._idle
        while True:
            with idle.lock:
                if not idle.workers:
                    return None
                worker = idle.workers.pop()
            if worker.made_of == made_of and worker.usable:
                return worker
            worker.program.close()


class _Lines:
    """The lines of a program's output that are not blank."""

    def __init__(self, program: Program) -> None:
        self._program = program
        self._output = program.output()
        self._whole: deque[bytes] = deque()
        self._begun = bytearray()

    def next(self) -> bytes | None:
        """Return the next line, once it is there; None at the end of the output."""
        while not self._whole:
            if not self._read():
                return None
        return self._whole.popleft()

    @property
    def silent(self) -> bool:
        """Whether there is nothing that has not been taken, as far as it can be read now."""
        while not self.spoke and self._program.has_output and self._read():
            continue
        return not self.spoke

    @property
    def spoke(self) -> bool:
        """Whether there is something that has not been taken."""
        return bool(self._whole or self._begun.strip())

    def _read(self) -> bool:
        data = next(self._output, b"")
        *ends, rest = data.split(b"\n")
        for end in ends:
            line = bytes(self._begun + end)
            self._begun.clear()
            if line.strip():
                self._whole.append(line)
        self._begun += rest
        if len(self._begun) > _LONGEST:
            raise CommandError(f"the program wrote {len(self._begun)} bytes without ending a line")
        return bool(data)


def _end(workers: list[Worker]) -> None:
    for worker in workers:
        worker.program.close()


def _line(request: dict[str, Any]) -> bytes:
    try:
        return json.dumps(request, ensure_ascii=False, allow_nan=False).encode() + b"\n"
    except UnicodeEncodeError:  # a lone surrogate, which JSON can say, and UTF-8 cannot
        return json.dumps(request, allow_nan=False).encode() + b"\n"


def _answer(line: bytes) -> dict[str, Any]:
    try:
        answer = json.loads(line)
    except (ValueError, RecursionError):
        answer = None
    if not isinstance(answer, dict) or not isinstance(answer.get("text", ""), str):
        shown = line[:200].decode("utf-8", "replace")
        raise CommandError(
            "a persistent program must answer in lines of JSON, objects with a text or that say "
            f"done or error, and wrote {shown!r}"
        )
    return answer
