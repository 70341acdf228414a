"""A running program and its process group: started, read, ended, reaped."""

from __future__ import annotations

import atexit
import contextlib
import os
import signal
import subprocess
import sys
import threading
import weakref
from collections import deque
from collections.abc import Iterator, Mapping, Sequence

_WINDOWS = sys.platform == "win32"
_PROMPT_END = 0.05
"""Seconds that the one who ends a program waits for it; then a thread goes on waiting."""
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
        FileNotFoundError, PermissionError: It cannot be started.
    """

    def __init__(
        self, arguments: Sequence[str], *, env: Mapping[str, str], cwd: str | None, grace: float
    ) -> None:
        self._grace = grace
        self._ending = threading.Lock()
        self._asked = False
        self._stderr: deque[bytes] = deque()
        self._process = subprocess.Popen(  # noqa: S603  (arguments are a list: no shell)
            list(arguments),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            env={**os.environ, **env},
            cwd=cwd,
            start_new_session=not _WINDOWS,
            creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0) if _WINDOWS else 0,
        )
        _running.add(self)
        self._watch = threading.Thread(target=self._read_stderr, name="command-stderr", daemon=True)
        self._watch.start()

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return self._process.poll() is None

    def write(self, data: bytes) -> None:
        """Write to its stdin, as far as it reads."""
        stdin = self._process.stdin
        with contextlib.suppress(BrokenPipeError, ValueError, OSError):
            while data and stdin is not None:
                data = data[stdin.write(data) or 0 :]

    def feed(self, data: bytes) -> None:
        """Write all of its stdin from a thread beside, and close it."""

        def work() -> None:
            self.write(data)
            self.close_stdin()

        if data:
            threading.Thread(target=work, name="command-stdin", daemon=True).start()
        else:
            self.close_stdin()

    def close_stdin(self) -> None:
        """Say that nothing more will come."""
        if self._process.stdin is not None:
            with contextlib.suppress(OSError):
                self._process.stdin.close()

    def output(self) -> Iterator[bytes]:
        """Yield what it writes to stdout, as it comes, until it closes it."""
        stdout = self._process.stdout
        while stdout is not None and (data := stdout.read(65536)):
            yield data

    def wait(self) -> int:
        """Return its exit code, once it has ended; negative: the signal that ended it."""
        code = self._process.wait()
        self._watch.join(1.0)
        self._close()
        return code

    @property
    def stderr(self) -> str:
        """The tail of what it has written to stderr."""
        return b"".join(self._stderr)[-_TAIL:].decode("utf-8", "replace").strip()

    def end(self) -> None:
        """End it and all that it has started: asked first, forced after the grace; reaped."""
        with self._ending:
            if self._asked:
                return
            self._asked = True
        self._signal(force=False)
        if not self._ended_in(_PROMPT_END):
            threading.Thread(target=self._force, name="command-end", daemon=True).start()

    def _force(self) -> None:
        if not self._ended_in(self._grace):
            self._signal(force=True)
            self._process.wait()
            self._close()

    def _ended_in(self, seconds: float) -> bool:
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        self._signal(force=True)  # what it has started and left behind
        self._close()
        return True

    def _signal(self, *, force: bool) -> None:
        if _WINDOWS:
            if self.alive:
                arguments = ["taskkill", "/T", "/F", "/PID", str(self._process.pid)]
                subprocess.run(arguments, capture_output=True, check=False)  # noqa: S603
            return
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL if force else signal.SIGTERM)

    def _read_stderr(self) -> None:
        stderr, size = self._process.stderr, 0
        with contextlib.suppress(ValueError, OSError):
            while stderr is not None and (data := stderr.read(65536)):
                self._stderr.append(data)
                size += len(data)
                while size - len(self._stderr[0]) > _TAIL:
                    size -= len(self._stderr.popleft())
            if stderr is not None:
                stderr.close()

    def close(self) -> None:
        """End it, and let go of what it was read by; called by who reads it."""
        self.end()
        self._close()
        if self._process.stdout is not None:
            self._process.stdout.close()

    def _close(self) -> None:
        _running.discard(self)
        self.close_stdin()


@atexit.register
def _end_all() -> None:
    for program in list(_running):
        program._signal(force=True)
