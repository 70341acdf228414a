"""The engine's own HTTP interface, over a private Unix socket.

Tokenising and the saving of a slot exist over HTTP only. The socket lies in a folder that only
its owner may enter, and a random key is asked for as well; no network port is opened. Where
Python has no Unix sockets (Windows), the engine listens on a random port of the loopback
interface instead, with the same key.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import secrets
import shutil
import socket
import tempfile
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

_PREFIX = "langchain-wrap-"
_LOCK = "owned"
_SOCKET = "engine.sock"  # the engine knows a Unix socket by this ending
_LONGEST = 103
"""Bytes that the path of a Unix socket may have on every system."""


class Address:
    """Where the engine listens: made before it is, removed after it."""

    def __init__(self) -> None:
        _sweep(tempfile.gettempdir())
        self.folder = tempfile.mkdtemp(prefix=_PREFIX)
        self.key = secrets.token_urlsafe(24)
        self.unix = hasattr(socket, "AF_UNIX")
        if self.unix and len(self.folder) + len(_SOCKET) + 1 > _LONGEST:
            shutil.rmtree(self.folder)
            self.folder = tempfile.mkdtemp(prefix=_PREFIX, dir="/tmp")
        self._owned = _own(self.folder)
        self.host = str(Path(self.folder) / _SOCKET) if self.unix else "127.0.0.1"
        self.url = ""
        """Address of the loopback port, where there is one."""

    def remove(self) -> None:
        """Delete the socket and all files beside it."""
        shutil.rmtree(self.folder, ignore_errors=True)
        if self._owned is not None:
            os.close(self._owned)
            self._owned = None

    def request(self, path: str, body: object | None = None) -> dict[str, Any] | list[Any]:
        """Post `body` (get, without one); return the answer.

        Raises:
            OSError: The engine does not listen, or refuses.
        """
        connection = self._connection()
        try:
            connection.request(
                "GET" if body is None else "POST",
                path,
                None if body is None else json.dumps(body),
                {"Authorization": f"Bearer {self.key}", "Content-Type": "application/json"},
            )
            response = connection.getresponse()
            answer = json.loads(response.read())
        except http.client.HTTPException as error:
            raise OSError(f"{path}: {error!r}") from error
        finally:
            connection.close()
        if response.status != 200:
            raise OSError(f"{path}: the engine answered {response.status}: {answer}")
        return answer  # type: ignore[no-any-return]

    def _connection(self) -> http.client.HTTPConnection:
        if self.unix:
            return _UnixConnection(self.host)
        return http.client.HTTPConnection(urlsplit(self.url).netloc, timeout=60)


class _UnixConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=60)
        self._path = path

    def connect(self) -> None:
        """Connect to the path instead of a host."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def _own(folder: str) -> int | None:
    """Mark a folder as in use, by a lock that ends with this process however that dies."""
    if fcntl is None:
        return None
    new = os.path.join(folder, "new")
    descriptor = os.open(new, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    with contextlib.suppress(OSError):  # a file system without locks: the folder may outlive us
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.rename(new, os.path.join(folder, _LOCK))
    return descriptor


def _sweep(parent: str) -> None:
    """Delete the folders of processes that were killed."""
    if fcntl is None:
        return
    for lock in Path(parent).glob(f"{_PREFIX}*/{_LOCK}"):
        with contextlib.suppress(OSError), lock.open("rb+") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(lock.parent, ignore_errors=True)
