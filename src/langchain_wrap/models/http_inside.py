"""What httpx and httpcore have no interface for, and is done inside them.

Where another version of theirs looks different inside, nothing is done here, and a test fails.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from types import SimpleNamespace
from typing import Any

import anyio
import httpx

_CANCEL = 0x8
_PATIENCE = 1.0


async def reset_left_streams(client: httpx.AsyncClient) -> None:
    """Tell servers over HTTP/2 that nobody reads on.

    Over HTTP/1.1 the connection is closed, and the server notices. Over HTTP/2 it is shared, and
    httpcore (1.0.9) only forgets the stream: the server would generate to the end, and what it
    sends would use up the connection's window.
    """
    for connection in _connections(client):
        state = getattr(connection, "_h2_state", None)
        if state is None:
            continue
        left = [
            number
            for number, stream in state.streams.items()
            if number not in connection._events and not stream.closed
        ]
        for number in left:
            state.reset_stream(number, error_code=_CANCEL)
        if left:
            with contextlib.suppress(Exception):  # a connection that is gone has nothing to tell
                with anyio.move_on_after(_PATIENCE, shield=True):
                    await connection._write_outgoing_data(SimpleNamespace(extensions={}))


def open_sockets(clients: Iterable[httpx.AsyncClient | httpx.Client]) -> Iterator[Any]:
    """Yield the sockets of all connections."""
    for client in clients:
        for connection in _connections(client):
            stream = getattr(connection, "_network_stream", None)
            socket = None if stream is None else stream.get_extra_info("socket")
            if socket is not None and socket.fileno() >= 0:
                yield getattr(socket, "_sock", socket)  # asyncio wraps it


def _connections(client: httpx.AsyncClient | httpx.Client) -> Iterator[Any]:
    transports: list[Any] = [client._transport, *client._mounts.values()]
    for transport in transports:
        pool = getattr(transport, "_pool", None)
        for connection in list(getattr(pool, "connections", ())):
            while hasattr(connection, "_connection"):  # a proxy's has another in it
                connection = connection._connection
            yield connection
