"""A real HTTP server whose answers a test writes byte by byte."""

from __future__ import annotations

import contextlib
import json
import socket
import socketserver
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from langchain_core.exceptions import ModelError
from langchain_core.messages import AIMessageChunk, HumanMessage

from langchain_wrap.models.http_endpoint import HTTPEndpoint


@dataclass
class Request:
    """One request, as the server saw it."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Gone(Exception):
    """The client went away."""


class Talk:
    """One request being answered."""

    def __init__(self, server: Server, request: Request, sock: socket.socket) -> None:
        self.server = server
        self.request = request
        self.keep = True
        """Whether the connection is kept for another request."""
        self._socket = sock

    def send(self, data: bytes) -> None:
        try:
            self._socket.sendall(data)
        except OSError as error:
            raise Gone from error

    def head(self, status: int = 200, reason: str = "OK", **headers: str) -> None:
        lines = [f"HTTP/1.1 {status} {reason}"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        self.send("\r\n".join([*lines, "", ""]).encode("latin-1"))

    def whole(self, body: Any, status: int = 200, reason: str = "OK", **headers: str) -> None:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        headers = {"content_type": "application/json", **headers}
        self.head(status, reason, content_length=str(len(data)), **headers)
        self.send(data)

    def begin(self, content_type: str = "text/event-stream", **headers: str) -> None:
        self.head(content_type=content_type, transfer_encoding="chunked", **headers)

    def chunk(self, data: bytes | str) -> None:
        data = data.encode() if isinstance(data, str) else data
        if data:
            self.send(b"%x\r\n%s\r\n" % (len(data), data))

    def event(self, value: Any) -> None:
        self.chunk(f"data: {value if isinstance(value, str) else json.dumps(value)}\n\n")

    def end(self) -> None:
        self.send(b"0\r\n\r\n")

    def stream(self, *parts: bytes | str, **headers: str) -> None:
        self.begin(**headers)
        for part in parts:
            self.chunk(part)
        self.end()

    def drop(self) -> None:
        """Reset the connection."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._socket.close()
        raise Gone

    def hang_up(self) -> None:
        """Close the connection, as a server that has ended does."""
        self.keep = False

    def wait_until_gone(self, patience: float = 30) -> bool:
        """Wait for the client to close the connection; note when."""
        self._socket.settimeout(patience)
        try:
            gone = self._socket.recv(1) == b""
        except TimeoutError:
            return False
        except OSError:
            gone = True
        self.server.gone_at.append(time.monotonic())
        self.keep = False
        return gone


Answer = Callable[[Talk], None]


@dataclass
class Server:
    """What a test can see of a server."""

    url: str = ""
    requests: list[Request] = field(default_factory=list, repr=False)
    connections: int = 0
    open: int = 0
    """Connections that are open now."""
    gone_at: list[float] = field(default_factory=list)
    """When clients were seen to go away (monotonic)."""
    errors: list[BaseException] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def endpoint(self, **fields: Any) -> HTTPEndpoint:
        """An endpoint for the server, without the environment's proxies."""
        given = {"trust_env": False, **fields}
        return HTTPEndpoint(given.pop("url", self.url + "/v1"), **given)


@contextmanager
def serving(answer: Answer, tls: ssl.SSLContext | None = None) -> Iterator[Server]:
    """Run a server whose requests `answer` answers, each connection in a thread."""
    seen = Server()

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            sock = self.request
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with seen.lock:
                seen.connections += 1
                seen.open += 1
            try:
                if tls is not None:
                    sock = tls.wrap_socket(sock, server_side=True)
                with sock.makefile("rb") as reader:
                    while (request := read_request(reader)) is not None:
                        seen.requests.append(request)
                        talk = Talk(seen, request, sock)
                        answer(talk)
                        if not talk.keep:
                            return
            except (Gone, ConnectionError, ssl.SSLError):
                pass
            except BaseException as error:  # a mistake in a test's answer
                seen.errors.append(error)
            finally:
                with seen.lock:
                    seen.open -= 1
                if sock is not self.request:
                    with contextlib.suppress(OSError):
                        sock.close()

    class Listener(socketserver.ThreadingTCPServer):
        daemon_threads = True
        block_on_close = False
        request_queue_size = 256
        allow_reuse_address = True

    with Listener(("127.0.0.1", 0), Handler) as listener:
        scheme = "http" if tls is None else "https"
        seen.url = f"{scheme}://127.0.0.1:{listener.server_address[1]}"
        thread = threading.Thread(target=listener.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        try:
            yield seen
        finally:
            listener.shutdown()
            thread.join()
    assert not seen.errors, seen.errors


def read_request(reader: Any) -> Request | None:
    first = reader.readline()
    if not first.strip():
        return None
    method, path, _ = first.decode("latin-1").split(" ", 2)
    headers = {}
    while (line := reader.readline()).strip():
        name, _, value = line.decode("latin-1").partition(":")
        headers[name.lower()] = value.strip()
    length = int(headers.get("content-length", 0))
    body = reader.read(length)
    if len(body) < length:  # the client went away while it sent
        return None
    return Request(method, path, headers, body)


def fixed(body: Any, status: int = 200, reason: str = "OK", **headers: str) -> Answer:
    """Always the same whole answer."""
    return lambda talk: talk.whole(body, status, reason, **headers)


def echo(talk: Talk) -> None:
    """The prompt, in upper case: whole, or streamed character by character."""
    body = talk.request.json
    if body.get("stream"):
        talk.stream(*(f"data: {json.dumps({'text': c.upper()})}\n\n" for c in body["prompt"]))
    else:
        talk.whole({"text": body["prompt"].upper()})


STREAM: dict[str, Any] = {"format": "sse", "text": "text", "body": {"stream": True}}


async def chatted(llm: HTTPEndpoint, messages: Any = "hi", **given: Any) -> list[AIMessageChunk]:
    """Return the chunks of a chat."""
    if isinstance(messages, str):
        messages = [HumanMessage(messages)]
    return [chunk async for chunk in llm._chat(messages, **given)]


def merged(chunks: list[AIMessageChunk]) -> AIMessageChunk:
    """Return the message that chunks make up."""
    return chunks[0] + chunks[1:] if len(chunks) > 1 else chunks[0]


def failure(answer: Answer, prompt: str = "p", **fields: Any) -> ModelError:
    """Return the error of a whole call."""
    with serving(answer) as server, pytest.raises(ModelError) as caught:
        server.endpoint(**fields).invoke(prompt)
    return caught.value
