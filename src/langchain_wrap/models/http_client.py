"""HTTP clients: one for each event loop and settings, closed with its loop."""

from __future__ import annotations

import asyncio
import importlib.util
import ssl
import weakref
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Any

import httpx


@dataclass(frozen=True)
class Settings:
    """What connections depend on; calls with the same share a client."""

    verify: bool | str
    proxy: str | None
    connect: float | None
    read: float | None
    trust_env: bool


class _Clients:
    """The clients of one event loop."""

    def __init__(self) -> None:
        self._open: dict[Settings, tuple[httpx.AsyncClient, AsyncGenerator[None, None]]] = {}

    async def get(self, settings: Settings) -> httpx.AsyncClient:
        known = self._open.get(settings)
        if known is not None and not known[0].is_closed:
            return known[0]
        client = _make(settings)
        # An event loop that ends closes the generators begun in it: `asyncio.run` does so, and
        # with it goes the client, which nobody else could close.
        closing = self._closed_in_the_end(settings, client)
        self._open[settings] = client, closing
        await anext(closing)
        return client

    async def _closed_in_the_end(
        self, settings: Settings, opened: httpx.AsyncClient
    ) -> AsyncGenerator[None, None]:
        try:
            yield
        finally:
            self._open.pop(settings, None)  # it refers to the loop, whose life it must not prolong
            await opened.aclose()


_clients: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, _Clients] = (
    weakref.WeakKeyDictionary()
)


async def client(settings: Settings) -> httpx.AsyncClient:
    """Return the running event loop's client for these settings."""
    loop = asyncio.get_running_loop()
    clients = _clients.get(loop)
    if clients is None:
        clients = _clients[loop] = _Clients()
    return await clients.get(settings)


def options(settings: Settings) -> dict[str, Any]:
    """Return settings as httpx's clients take them."""
    verify: Any = settings.verify
    if isinstance(verify, str):
        verify = ssl.create_default_context(cafile=verify)
    return {
        "verify": verify,
        "proxy": settings.proxy,
        "trust_env": settings.trust_env,
        "http2": importlib.util.find_spec("h2") is not None,
        "timeout": httpx.Timeout(
            connect=settings.connect, read=settings.read, write=settings.read, pool=None
        ),
    }


def _make(settings: Settings) -> httpx.AsyncClient:
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=64)
    return httpx.AsyncClient(**options(settings), limits=limits)
