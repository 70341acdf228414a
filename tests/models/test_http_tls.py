"""TLS, proxies, HTTP/2: as httpx has them."""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import h2.config
import h2.connection
import h2.events
import pytest
from http_helpers import STREAM, Server, echo, fixed, serving
from langchain_core.exceptions import ModelConnectionError, ModelError
from llama_helpers import eventually

from langchain_wrap.models import http_client

KEY = "sk-a1b2c3d4e5f6g7h8"
openssl = shutil.which("openssl")
pytestmark = pytest.mark.skipif(openssl is None, reason="openssl makes the certificates")


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A certificate that nobody knows, and its key, in one file."""
    file = tmp_path_factory.mktemp("tls") / "server.pem"
    subprocess.run(
        [openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
         "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1",
         "-keyout", file.with_suffix(".key"), "-out", file.with_suffix(".crt")],
        check=True, capture_output=True,
    )  # fmt: skip
    file.write_text(file.with_suffix(".key").read_text() + file.with_suffix(".crt").read_text())
    return file


@pytest.fixture(scope="module")
def context(certificate):
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(certificate)
    return made


def test_a_ca_of_ones_own(certificate, context):
    with serving(echo, context) as server:
        ca = str(certificate.with_suffix(".crt"))
        llm = server.endpoint(verify=ca, stream=STREAM)
        assert llm.invoke("a") == "A"
        assert list(llm.stream("ab")) == ["A", "B"]
        assert server.endpoint(verify=False).invoke("a") == "A"


def test_a_ca_that_the_environment_names(certificate, context, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate.with_suffix(".crt")))
    with serving(echo, context) as server:
        assert server.endpoint(trust_env=True).invoke("a") == "A"
        with pytest.raises(ModelConnectionError, match="CERTIFICATE_VERIFY_FAILED"):
            server.endpoint().invoke("a")


def test_an_unknown_ca(context):
    with serving(echo, context) as server:
        with pytest.raises(ModelConnectionError, match=r"/v1 could not be reached: .*CERTIFICATE"):
            server.endpoint(api_key=KEY).invoke("a")
        assert not server.requests


def test_a_certificate_of_the_clients(certificate):
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(certificate)
    made.load_verify_locations(certificate.with_suffix(".crt"))
    made.verify_mode = ssl.CERT_REQUIRED
    ca, key = (str(certificate.with_suffix(end)) for end in (".crt", ".key"))
    with serving(echo, made) as server:
        for cert in (str(certificate), (ca, key)):
            assert server.endpoint(verify=ca, client_cert=cert).invoke("a") == "A"
        with pytest.raises(ModelConnectionError):
            server.endpoint(verify=ca).invoke("a")


@pytest.mark.parametrize("fields", [{"verify": "/no/such"}, {"client_cert": "/no/such"}])
def test_files_that_are_not_there(fields):
    with pytest.raises(ValueError, match=r"the certificates cannot be read.*'/no/such'"):
        Server("https://127.0.0.1").endpoint(**fields).invoke("a")


# --- proxies ---


def test_a_proxy():
    """To a server without TLS, a proxy is asked for the whole URL."""
    with serving(fixed({"text": "by proxy"})) as proxy:
        llm = Server("http://example.invalid").endpoint(
            proxy=proxy.url.replace("//", f"//me:{KEY}@")
        )
        assert llm.invoke("a") == "by proxy"
        assert proxy.requests[0].path == "http://example.invalid/v1"
        assert proxy.requests[0].headers["proxy-authorization"].startswith("Basic ")
        assert KEY not in repr(llm)


def test_a_proxy_that_the_environment_names(monkeypatch):
    with serving(fixed({"text": "by proxy"})) as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        for name in ("no_proxy", "NO_PROXY"):
            monkeypatch.delenv(name, raising=False)

        async def ask(**fields):
            return await Server("http://example.invalid").endpoint(**fields).ainvoke("a")

        assert asyncio.run(ask(trust_env=True)) == "by proxy"
        with pytest.raises(ModelConnectionError):
            asyncio.run(ask())


def test_a_proxy_that_refuses_or_is_not_there(context):
    def refuse(talk):
        talk.whole(b"", 407, "Proxy Authentication Required")

    with serving(refuse) as proxy:
        url = proxy.url.replace("//", f"//me:{KEY}@")
        with pytest.raises(ModelError, match="407 Proxy Authentication Required") as caught:
            Server("https://example.invalid").endpoint(proxy=url).invoke("a")
        assert KEY not in str(caught.value)
    with pytest.raises(ModelConnectionError) as caught:
        Server("https://example.invalid").endpoint(proxy=url).invoke("a")
    assert KEY not in str(caught.value)


# --- HTTP/2 ---


@dataclass
class Two:
    """A small server that speaks HTTP/2: it echoes the prompt, or streams without end."""

    url: str = ""
    connections: int = 0
    asked: int = 0
    resets: list[int] = field(default_factory=list)

    endpoint = Server.endpoint


@contextlib.contextmanager
def serving_http2(context: ssl.SSLContext) -> Iterator[Two]:
    seen = Two()
    context.set_alpn_protocols(["h2"])
    listener = socket.create_server(("127.0.0.1", 0))
    seen.url = f"https://127.0.0.1:{listener.getsockname()[1]}"

    def talk(plain: socket.socket) -> None:
        with contextlib.suppress(OSError), context.wrap_socket(plain, server_side=True) as sock:
            state = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))
            state.initiate_connection()
            sock.sendall(state.data_to_send())
            bodies: dict[int, bytes] = {}
            while data := sock.recv(65536):
                for event in state.receive_data(data):
                    take(state, event, bodies)
                sock.sendall(state.data_to_send())

    def take(state: Any, event: Any, bodies: dict[int, bytes]) -> None:
        if isinstance(event, h2.events.DataReceived):
            bodies[event.stream_id] = bodies.get(event.stream_id, b"") + event.data
        elif isinstance(event, h2.events.StreamReset):
            seen.resets.append(event.stream_id)
        elif isinstance(event, h2.events.StreamEnded):
            seen.asked += 1
            body = json.loads(bodies[event.stream_id])
            if body["prompt"] == "silence":
                return
            state.send_headers(event.stream_id, [(":status", "200")])
            text = json.dumps({"text": body["prompt"].upper()}).encode()
            streamed = b"data: " + text + b"\n\n" if body.get("stream") else text
            state.send_data(event.stream_id, streamed, end_stream=not body.get("stream"))

    def listen() -> None:
        with contextlib.suppress(OSError):
            while True:
                accepted = listener.accept()[0]
                seen.connections += 1
                threading.Thread(target=talk, args=(accepted,), daemon=True).start()

    thread = threading.Thread(target=listen, daemon=True)
    thread.start()
    try:
        yield seen
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(10)


def test_http2_where_it_is_offered(certificate):
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(certificate)
    with serving_http2(made) as server:

        async def main():
            llm = server.endpoint(verify=False, stream=STREAM)
            prompts = [f"p{i}" for i in range(20)]
            assert await llm.abatch(prompts) == [p.upper() for p in prompts]
            for _ in range(3):  # left early: the server is told, the connection stays
                stream = llm.astream("abc")
                assert await anext(stream) == "ABC"
                await stream.aclose()
            task = asyncio.create_task(llm.ainvoke("silence"))
            before = server.asked
            while server.asked == before:
                await asyncio.sleep(0.01)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert await llm.ainvoke("a") == "A"
            while len(server.resets) < 4:
                await asyncio.sleep(0.01)

        asyncio.run(asyncio.wait_for(main(), 30))
        assert server.connections <= 3  # for 20 at once
        assert len(server.resets) == 4


def test_certificates_are_read_once():
    settings = http_client.Settings(verify=True, client_cert=None, proxy=None, trust_env=True)
    contexts = [http_client._options(settings)["verify"] for _ in range(2)]
    assert contexts[0] is contexts[1]


def test_connections_over_tls_are_closed_with_their_loop(certificate, context):
    with serving(echo, context) as server:
        llm = server.endpoint(verify=False, stream=STREAM)

        async def main():
            await llm.ainvoke("a")
            async for _ in llm.astream("abc"):
                break

        for _ in range(5):
            asyncio.run(main())
        assert eventually(lambda: server.open == 0)
