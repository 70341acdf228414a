"""HTTP clients: those of an event loop, used again by all its requests and closed with it."""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import gc
import importlib.util
import os
import ssl
import threading
import time
import warnings
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from functools import lru_cache
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any

import httpx

from langchain_wrap.models.http_errors import shown_url
from langchain_wrap.models.http_inside import open_sockets

_EXIT_PATIENCE = 1.0
_IDLE = 4.0
"""Seconds that an unused connection is kept: less than servers keep it (uvicorn: 5), so that none
is used in the moment in which the server closes it."""
_BUSY = 8
"""Requests that a client is at work for before another one is made."""


@dataclass(frozen=True)
class Settings:
    """What connections depend on; requests with the same share a client."""

    verify: bool | str
    client_cert: str | tuple[str, str] | None
    proxy: str | None
    trust_env: bool
    authorities: tuple[str | None, str | None] = field(
        default_factory=lambda: (os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR"))
    )
    """Where the environment says that CAs are."""


class Lent:
    """A client, and how many requests it is at work for: `with` counts one."""

    def __init__(self, settings: Settings) -> None:
        self._client = httpx.AsyncClient(**_options(settings))
        self._used = time.monotonic()
        self.busy = 0

    def __enter__(self) -> httpx.AsyncClient:
        self.busy += 1
        return self._client

    def __exit__(self, *_: object) -> None:
        self.busy -= 1
        self._used = time.monotonic()

    @property
    def client(self) -> httpx.AsyncClient:
        """The client."""
        return self._client

    @property
    def idle(self) -> bool:
        """Whether no connection is worth keeping."""
        return not self.busy and time.monotonic() - self._used > _IDLE


class _Clients:
    """The clients of one event loop.

    There is one for the same settings until that is busy: the time that httpcore (1.0.9) takes to
    find a connection grows with the third power of how many there are.
    """

    def __init__(self) -> None:
        self._open: dict[Settings, list[Lent]] = {}
        self._end: AsyncGenerator[None, None] | None = None

    async def lend(self, settings: Settings) -> Lent:
        lenders = self._open.setdefault(settings, [])
        for lent in [lent for lent in lenders[1:] if lent.idle]:
            lenders.remove(lent)
            await lent.client.aclose()
        found = next((lent for lent in lenders if lent.busy < _BUSY), None)
        if found is None:
            found = Lent(settings)
            lenders.append(found)
            if self._end is None:
                # An event loop that ends closes the generators begun in it: `asyncio.run` does
                # so, and with it go the clients, which nobody else could close.
                self._end = self._close_in_the_end()
                await anext(self._end)
        return found

    async def _close_in_the_end(self) -> AsyncGenerator[None, None]:
        try:
            yield
        finally:
            with _lock:
                _clients.pop(asyncio.get_running_loop(), None)
            await self.close()

    async def close(self) -> None:
        """Close all clients."""
        while self._open:
            for lent in self._open.popitem()[1]:
                await lent.client.aclose()

    def all(self) -> list[httpx.AsyncClient]:
        """Return the clients that are open."""
        return [lent.client for lenders in self._open.values() for lent in lenders]


_clients: dict[asyncio.AbstractEventLoop, _Clients] = {}
_blocking: dict[Settings, httpx.Client] = {}
_lock = threading.Lock()


async def lend(settings: Settings) -> Lent:
    """Return a client of the running event loop for these settings."""
    loop = asyncio.get_running_loop()
    clients = _clients.get(loop)
    if clients is None:
        with _lock:
            _drop_closed_loops()
            clients = _clients.setdefault(loop, _Clients())
    return await clients.lend(settings)


def blocking_client(settings: Settings) -> httpx.Client:
    """Return this process's blocking client for these settings."""
    with _lock:
        found = _blocking.get(settings)
        if found is None:
            found = _blocking[settings] = httpx.Client(**_options(settings))
        return found


class _Shown(httpx.URL):
    """A URL that tells httpx's logger nothing secret."""

    def __str__(self) -> str:
        return shown_url(self)


def request(
    client: httpx.AsyncClient | httpx.Client, url: httpx.URL, **options: Any
) -> httpx.Request:
    """Return a POST request for a client to send."""
    built = client.build_request("POST", url, **options)
    built.url = _Shown(built.url)
    return built


def _options(settings: Settings) -> dict[str, Any]:
    return {
        "verify": _context(
            settings.verify,
            settings.client_cert,
            settings.trust_env,
            settings.authorities,
        ),
        "proxy": settings.proxy,
        "trust_env": settings.trust_env,
        "http2": importlib.util.find_spec("h2") is not None,
        "limits": httpx.Limits(
            max_connections=None, max_keepalive_connections=64, keepalive_expiry=_IDLE
        ),
        # Endpoints with different keys share a client: none may get what a server gave another.
        "cookies": CookieJar(DefaultCookiePolicy(allowed_domains=[])),
    }


@lru_cache(maxsize=32)
def _context(
    verify: bool | str,
    client_cert: str | tuple[str, str] | None,
    trust_env: bool,
    _authorities: tuple[str | None, str | None],
) -> ssl.SSLContext:
    """Return the context for TLS; reading the CAs takes longer than many an answer."""
    try:
        if not isinstance(verify, str):
            context = httpx.create_ssl_context(verify=verify, trust_env=trust_env)
        elif os.path.isdir(verify):
            context = ssl.create_default_context(capath=verify)
        else:
            context = ssl.create_default_context(cafile=verify)
        if client_cert is not None:
            files = [client_cert] if isinstance(client_cert, str) else client_cert
            context.load_cert_chain(*files)
    except OSError as error:  # an ssl.SSLError is one
        raise ValueError(
            f"the certificates cannot be read ({error}): verify={verify!r}, "
            f"client_cert={client_cert!r}"
        ) from error
    return context


def _drop_closed_loops() -> None:
    """Let go of what belongs to loops that were closed and have not closed their generators.

    Nothing can close such a connection any more, and asyncio warns where one is found open; our
    caller could do nothing about it.
    """
    closed = [loop for loop in _clients if loop.is_closed()]
    if not closed:
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        for loop in closed:
            del _clients[loop]
        del loop, closed
        gc.collect()  # a transport refers to itself


@atexit.register
def _close_all() -> None:
    _drop_closed_loops()
    for loop, clients in list(_clients.items()):
        if loop.is_running():
            closed = asyncio.run_coroutine_threadsafe(clients.close(), loop)
            with contextlib.suppress(Exception):
                closed.result(_EXIT_PATIENCE)
    while _blocking:
        _blocking.popitem()[1].close()


_inherited: list[Any] = []


def _after_fork() -> None:
    """Have nothing to do with the parent's connections, in a child.

    Its copies of the sockets are closed, without a word to the server: while one is open, that
    does not see that the parent has closed its own. The rest is kept, since freeing it would touch
    the parent's loop.
    """
    global _lock
    _lock = threading.Lock()
    clients = [client for known in _clients.values() for client in known.all()]
    for socket in open_sockets([*clients, *_blocking.values()]):
        os.close(socket.detach())
    _inherited.extend((dict(_clients), dict(_blocking)))
    _clients.clear()
    _blocking.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
