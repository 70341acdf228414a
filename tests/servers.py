"""Real local servers that speak OpenAI's and Ollama's API, with a deterministic model behind them.

They stand in for the services in the tests of other people's models. What the services enforce is
enforced here: stops, the limit of tokens, the key, the form of errors. `serving` starts one in a
thread; `apart` in a process of its own, so that its threads and sockets are not taken for those of
the model that is under check.
"""

from __future__ import annotations

import argparse
import itertools
import json
import select
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from mutants.right import answer, before, pieces

KEY = "sk-right"
"""The only key that the server that speaks OpenAI's API takes."""

MODEL = "so"
"""The only model that the server that speaks Ollama's API has."""

MAX_STOPS = 4
"""OpenAI's documents: "Up to 4 sequences where the API will stop generating further tokens"."""


def fail_with(status: int) -> str:
    """A prompt that a server answers with an error."""
    return f"please fail with status {status}"


@dataclass
class Request:
    """One request, as the server saw it."""

    path: str
    body: dict[str, Any]
    status: int = 200
    sent: int = 0
    """How many pieces of text were sent or, without streaming, made."""
    gone: bool = False
    """Whether the client went away in the middle."""
    done: bool = False


class Gone(Exception):
    """The client went away."""


class Refused(Exception):
    """The service answers with an error."""

    def __init__(self, status: int, message: str, code: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.code = code


@dataclass
class Completion:
    """What the model says to one prompt, within its limits."""

    pieces: list[str]
    reason: str
    prompt_tokens: int

    @property
    def text(self) -> str:
        return "".join(self.pieces)


def complete(prompt: str, stop: list[str] | None, limit: int | None) -> Completion:
    """A token is three characters."""
    whole = before(answer(prompt), stop)
    tokens = pieces(whole)
    used = tokens if limit is None else tokens[:limit]
    reason = "stop" if len(used) == len(tokens) else "length"
    return Completion(used, reason, len(pieces(prompt)))


def refuse(prompts: list[str]) -> None:
    for status in (400, 401, 404, 429, 500):
        if fail_with(status) in prompts:
            raise Refused(status, f"this prompt fails with {status}")


class Handler(BaseHTTPRequestHandler):
    """What both services share: keep-alive, JSON in and out, pieces with pauses."""

    protocol_version = "HTTP/1.1"
    # Small writes that wait for each other cost 40 ms apiece.
    disable_nagle_algorithm = True
    server: Server

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing on stderr: a request is in the server's list."""

    def do_GET(self) -> None:
        if self.path != "/requests":
            return self.send_json(404, {"error": "not found"})
        return self.send_json(200, [asdict(request) for request in self.server.requests])

    def do_POST(self) -> None:
        length = int(self.headers.get("Content-Length", 0))
        request = Request(self.path, json.loads(self.rfile.read(length) or b"{}"))
        self.server.requests.append(request)
        try:
            self.answer(request)
        except Refused as error:
            request.status = error.status
            self.send_json(error.status, self.error_body(error))
        except (Gone, ConnectionError):
            request.gone = True
            self.close_connection = True
        request.done = True

    def answer(self, request: Request) -> None:
        raise NotImplementedError

    def error_body(self, error: Refused) -> dict[str, Any]:
        raise NotImplementedError

    def send_json(self, status: int, body: Any) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        if status >= 400:
            self.send_header("retry-after-ms", "1")  # a client that tries again does so at once
        self.end_headers()
        self.wfile.write(data)

    def begin_stream(self, content_type: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", content_type)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()

    def send_part(self, data: str) -> None:
        encoded = data.encode()
        self.wfile.write(f"{len(encoded):x}\r\n".encode() + encoded + b"\r\n")

    def end_stream(self) -> None:
        self.wfile.write(b"0\r\n\r\n")

    def said(self, request: Request, completion: Completion) -> Iterator[str]:
        """The pieces of a completion, at the pace of the model, as long as the client is there."""
        for piece in completion.pieces:
            self.pause()
            request.sent += 1
            yield piece

    def pause(self) -> None:
        """Wait for the model; a client sends nothing meanwhile, so what can be read is its end."""
        readable, _, _ = select.select([self.connection], [], [], self.server.delay)
        if readable and not self.connection.recv(1):
            raise Gone


class OpenAIHandler(Handler):
    """`POST /v1/completions`."""

    def answer(self, request: Request) -> None:
        body = request.body
        if self.path != "/v1/completions":
            raise Refused(404, f"Invalid URL (POST {self.path})")
        if self.headers.get("Authorization") != f"Bearer {KEY}":
            raise Refused(401, "Incorrect API key provided.", "invalid_api_key")
        prompts = body.get("prompt", "")
        prompts = [prompts] if isinstance(prompts, str) else prompts
        stop = body.get("stop")
        stop = [stop] if isinstance(stop, str) else stop
        if stop and len(stop) > MAX_STOPS:
            raise Refused(400, "Invalid 'stop': array too long.", "array_above_max_length")
        refuse(prompts)
        # The API gives the n completions of each prompt side by side, in the order of prompts.
        found = [
            complete(prompt, stop, body.get("max_tokens", 16))
            for prompt in prompts
            for _ in range(body.get("n") or 1)
        ]
        (self.stream if body.get("stream") else self.whole)(request, found)

    def error_body(self, error: Refused) -> dict[str, Any]:
        kinds = {401: "authentication_error", 429: "requests", 500: "server_error"}
        kind = kinds.get(error.status, "invalid_request_error")
        return {
            "error": {"message": error.message, "type": kind, "param": None, "code": error.code}
        }

    def event(self, choices: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
        return {
            "id": f"cmpl-{next(self.server.numbers)}",
            "object": "text_completion",
            "created": int(time.time()),
            "model": MODEL,
            "choices": choices,
            **more,
        }

    @staticmethod
    def choice(index: int, text: str, reason: str | None) -> dict[str, Any]:
        return {"text": text, "index": index, "logprobs": None, "finish_reason": reason}

    @staticmethod
    def usage(found: list[Completion]) -> dict[str, int]:
        asked = sum(one.prompt_tokens for one in found)
        given = sum(len(one.pieces) for one in found)
        return {
            "prompt_tokens": asked,
            "completion_tokens": given,
            "total_tokens": asked + given,
        }

    def whole(self, request: Request, found: list[Completion]) -> None:
        choices = [
            self.choice(index, "".join(self.said(request, one)), one.reason)
            for index, one in enumerate(found)
        ]
        self.send_json(200, self.event(choices, usage=self.usage(found)))

    def stream(self, request: Request, found: list[Completion]) -> None:
        self.begin_stream("text/event-stream")
        for index, one in enumerate(found):
            for piece in self.said(request, one):
                self.send_event(self.event([self.choice(index, piece, None)]))
            self.send_event(self.event([self.choice(index, "", one.reason)]))
        if (request.body.get("stream_options") or {}).get("include_usage"):
            self.send_event(self.event([], usage=self.usage(found)))
        self.send_part("data: [DONE]\n\n")
        self.end_stream()

    def send_event(self, event: dict[str, Any]) -> None:
        self.send_part(f"data: {json.dumps(event)}\n\n")


class OllamaHandler(Handler):
    """`POST /api/generate`."""

    def answer(self, request: Request) -> None:
        body = request.body
        if self.path != "/api/generate":
            raise Refused(404, "404 page not found")
        if body.get("model") != MODEL:
            raise Refused(404, f"model '{body.get('model')}' not found")
        prompt = body.get("prompt", "")
        refuse([prompt])
        options = body.get("options") or {}
        limit = options.get("num_predict")
        stop = options.get("stop")
        found = complete(prompt, stop, limit if limit and limit > 0 else None)
        if not prompt:  # the service then only loads the model
            found = Completion([], "load", 0)
        if body.get("stream", True):
            self.stream(request, found)
        else:
            text = "".join(self.said(request, found))
            self.send_json(200, self.part(text, **self.ending(found)))

    def error_body(self, error: Refused) -> dict[str, Any]:
        return {"error": error.message}

    @staticmethod
    def part(text: str, *, done: bool = False, **more: Any) -> dict[str, Any]:
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        return {"model": MODEL, "created_at": now, "response": text, "done": done, **more}

    @staticmethod
    def ending(found: Completion) -> dict[str, Any]:
        if found.reason == "load":
            return {"done": True, "done_reason": "load"}
        return {
            "done": True,
            "done_reason": found.reason,
            "context": [1, 2, 3],
            "total_duration": 3000,
            "load_duration": 1000,
            "prompt_eval_count": found.prompt_tokens,
            "prompt_eval_duration": 1000,
            "eval_count": len(found.pieces),
            "eval_duration": 1000,
        }

    def stream(self, request: Request, found: Completion) -> None:
        self.begin_stream("application/x-ndjson")
        for piece in self.said(request, found):
            self.send_part(json.dumps(self.part(piece)) + "\n")
        self.send_part(json.dumps(self.part("", **self.ending(found))) + "\n")
        self.end_stream()


HANDLERS: dict[str, type[Handler]] = {"openai": OpenAIHandler, "ollama": OllamaHandler}


class Server(ThreadingHTTPServer):
    """A server on a free port, with a list of what was asked of it."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, kind: str, delay: float = 0.0) -> None:
        super().__init__(("127.0.0.1", 0), HANDLERS[kind])
        self.kind = kind
        self.delay = delay
        """Seconds before each piece of text."""
        self.requests: list[Request] = []
        self.numbers = itertools.count()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client may reset a connection that nobody uses."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


@contextmanager
def serving(kind: str, delay: float = 0.0) -> Iterator[Server]:
    """Run a server in a thread: `kind` is "openai" or "ollama"."""
    with Server(kind, delay) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


class Apart:
    """A server in another process."""

    def __init__(self, kind: str, url: str) -> None:
        self.kind = kind
        self.url = url

    @property
    def requests(self) -> list[Request]:
        """What was asked of it so far."""
        with urllib.request.urlopen(f"{self.url}/requests", timeout=20) as response:
            return [Request(**one) for one in json.load(response)]


@contextmanager
def apart(kind: str, delay: float = 0.0) -> Iterator[Apart]:
    """Run a server in a process of its own."""
    process = subprocess.Popen(
        [sys.executable, str(Path(__file__)), kind, "--delay", str(delay)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        yield Apart(kind, process.stdout.readline().strip())
    finally:
        process.stdin.close()  # which ends it, as our own end would
        process.stdout.close()
        process.wait(20)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("kind", choices=HANDLERS)
    parser.add_argument("--delay", type=float, default=0.0)
    arguments = parser.parse_args()
    with serving(arguments.kind, arguments.delay) as server:
        print(server.url, flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main()
