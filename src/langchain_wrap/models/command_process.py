"""A running program and its process group: started, read, ended, reaped."""

from __future__ import annotations

import atexit
import contextlib
import os
import select
import signal
import subprocess
import sys
import threading
import weakref
from collections.abc import Iterator, Mapping, Sequence
from typing import IO

_WINDOWS = sys.platform == "win32"
_CHUNK = 65536
_MOMENT = 0.05
"""Seconds that who closes a program waits for its end; then a thread goes on waiting."""
_LOOK = 0.2
"""Seconds of silence after which a reader looks whether the program is still there."""
_PIPE = 4096
"""Bytes that fit into an empty pipe everywhere."""
_TAIL = 4096
"""Bytes of stderr that are kept."""

_running: weakref.WeakSet[Program] = weakref.WeakSet()


class Program:
    """A running program in a process group of its own.

    Args:
        arguments: The program and its arguments; no shell is involved.
        env: Environment variables besides those of this process.
        cwd: The folder to run it in. None: this process's.
        grace: Seconds that it has to end after it was asked to.

    Raises:
        OSError: It cannot be started.
    """

    def __init__(
        self, arguments: Sequence[str], *, env: Mapping[str, str], cwd: str | None, grace: float
    ) -> None:
        self._grace = grace
        self._owner = os.getpid()
        self._lock = threading.Lock()
        self._asked = False
        self._swept = False
        self._stdin_lock = threading.Lock()
        self._let_go = False
        self._tail = b""
        self._process = subprocess.Popen(  # noqa: S603  (arguments are a list: no shell)
            list(arguments),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            env={**os.environ, **env},
            cwd=cwd,
            start_new_session=not _WINDOWS,
            creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
        )
        self._watch = threading.Thread(target=self._read_stderr, name="command-stderr", daemon=True)
        try:
            self._watch.start()
        except BaseException:
            with self._process:
                self._process.kill()
            raise
        _running.add(self)

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return self._process.poll() is None

    @property
    def stderr(self) -> str:
        """The tail of what it has written to stderr."""
        return self._tail[-_TAIL:].decode("utf-8", "replace").strip()

    # --- writing ---

    def send(self, data: bytes, *, last: bool = False) -> None:
        """Write to its stdin, as far as it reads; `last`: and close it.

        What may not fit into the pipe is written by a thread beside, so that its answer is read
        meanwhile.
        """
        if len(data) > _PIPE:
            arguments = (data, last)
            threading.Thread(
                target=self._write, args=arguments, name="command-stdin", daemon=True
            ).start()
        else:
            self._write(data, last)

    def _write(self, data: bytes, last: bool) -> None:
        stdin, rest = _pipe(self._process.stdin), memoryview(data)
        with self._stdin_lock, contextlib.suppress(OSError, ValueError):  # it has closed it, or we
            while rest:
                rest = rest[stdin.write(rest) :]
        if last or self._let_go:
            self._close_stdin()

    def _close_stdin(self) -> None:
        # A thread that is writing does it itself: a descriptor must not be closed under it, as its
        # number may be another file's at once.
        self._let_go = True
        if self._stdin_lock.acquire(blocking=False):
            with contextlib.suppress(OSError):
                _pipe(self._process.stdin).close()
            self._stdin_lock.release()

    # --- reading ---

    def output(self) -> Iterator[bytes]:
        """Yield what it writes to stdout, as it comes, until it closes it or has ended."""
        return self._read(_pipe(self._process.stdout))

    @property
    def has_output(self) -> bool:
        """Whether something can be read from stdout at once; never known on Windows."""
        return not _WINDOWS and _ready(_pipe(self._process.stdout), 0)

    def _read(self, pipe: IO[bytes]) -> Iterator[bytes]:
        while True:
            if not _ready(pipe, _LOOK):
                if self.alive:
                    continue
                if not _ready(pipe, 0):  # and what it has left running may hold it open for ever
                    return
            data = pipe.read(_CHUNK)
            if not data:
                return
            yield data

    def _read_stderr(self) -> None:
        stderr = _pipe(self._process.stderr)
        for data in self._read(stderr):
            self._tail = (self._tail + data)[-_TAIL:]
        stderr.close()

    # --- ending ---

    def wait(self, seconds: float | None = None) -> int | None:
        """Return its exit code once it has ended; negative: the signal that ended it.

        None where it still runs after `seconds`.
        """
        try:
            code = self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return None
        self._sweep()
        self._watch.join(1.0)
        return code

    def end(self) -> None:
        """Ask it and all that it has started to end, and see to it from a thread; never blocks."""
        with self._lock:
            if self._asked or self._swept:
                return
            self._asked = True
        self._signal(force=False)
        try:
            threading.Thread(target=self._see_off, name="command-end", daemon=True).start()
        except RuntimeError:  # an interpreter that exits starts no threads
            self._force()

    def close(self) -> None:
        """End it, and let go of what it was read by; called by who reads it."""
        if self.alive:
            self.end()
        self.wait(_MOMENT)
        self._close_stdin()
        _pipe(self._process.stdout).close()

    def _see_off(self) -> None:
        if self.wait(self._grace) is None:
            self._force()

    def _force(self) -> None:
        self._signal(force=True)
        self.wait()

    def _sweep(self) -> None:
        """End what the program has left running: at once, while its group's number is its own."""
        with self._lock:
            if self._swept:
                return
            self._swept = True
        _running.discard(self)
        self._signal(force=True)

    def _signal(self, *, force: bool) -> None:
        if os.getpid() != self._owner:  # a forked child has a copy of this object, no program
            return
        if _WINDOWS:
            if self.alive:
                arguments = ["taskkill", "/T", "/F", "/PID", str(self._process.pid)]
                subprocess.run(arguments, capture_output=True, check=False)  # noqa: S603
            return
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL if force else signal.SIGTERM)


def ending(code: int | None) -> str:
    """Return in words how a program has ended."""
    if code is None:
        return "closed its output"
    if code >= 0:
        return f"ended with exit code {code}"
    with contextlib.suppress(ValueError):
        return f"was ended by {signal.Signals(-code).name}"
    return f"was ended by signal {-code}"


def _pipe(pipe: IO[bytes] | None) -> IO[bytes]:
    if pipe is None:
        raise ValueError("the program was started without this pipe")
    return pipe


def _ready(pipe: IO[bytes], seconds: float) -> bool:
    """Whether a read would not block; Windows cannot tell, and its pipes are just read."""
    if _WINDOWS:
        return True
    poller = select.poll()
    poller.register(pipe, select.POLLIN)
    return bool(poller.poll(seconds * 1000))


@atexit.register
def _end_all() -> None:
    programs = list(_running)
    for program in programs:
        program._signal(force=True)
    for program in programs:
        program.wait(1.0)
