"""A server that speaks OpenAI's chat API, with the right models' answers behind it."""

from __future__ import annotations

import json
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from langchain_core.messages import convert_to_messages

from checks_chat.right import Core


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        choice = body.get("tool_choice")
        if isinstance(choice, dict):
            choice = choice["function"]["name"]
        limit = body.get("max_tokens") or body.get("max_completion_tokens")
        given = {"tools": body.get("tools"), "tool_choice": choice, "max_tokens": limit}
        messages = convert_to_messages(body["messages"])
        model, stop = Core(), body.get("stop")
        if body.get("stream"):
            self.stream(body, model, messages, stop, given)
        else:
            self.whole(model, messages, stop, given)

    def whole(self, model: Core, messages: Any, stop: Any, given: Any) -> None:
        text, call, reason = model.said(messages, stop, given)
        message: dict[str, Any] = {"role": "assistant", "content": text}
        if call:
            function = {"name": call["name"], "arguments": call["args"]}
            id_ = model.id_of_call()
            message["tool_calls"] = [{"id": id_, "type": "function", "function": function}]
        choice = {"index": 0, "message": message, "finish_reason": reason}
        found = {"object": "chat.completion", "choices": [choice]}
        data = json.dumps({**self.facts(), **found, "usage": self.usage(model, messages, text)})
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data.encode())))
        self.end_headers()
        self.wfile.write(data.encode())

    def stream(self, body: Any, model: Core, messages: Any, stop: Any, given: Any) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        facts = {**self.facts(), "object": "chat.completion.chunk"}
        text, _, reason = model.said(messages, stop, given)
        try:
            for chunk in model.chunks(messages, stop, given):
                delta: dict[str, Any] = {"role": "assistant", "content": chunk.content}
                if chunk.tool_call_chunks:
                    delta["tool_calls"] = [
                        {
                            "index": piece["index"],
                            "id": piece["id"],
                            "type": "function",
                            "function": {"name": piece["name"], "arguments": piece["args"]},
                        }
                        for piece in chunk.tool_call_chunks
                    ]
                if chunk.chunk_position != "last":
                    self.event({**facts, "choices": [{"index": 0, "delta": delta}]})
            ending = {"index": 0, "delta": {}, "finish_reason": reason}
            self.event({**facts, "choices": [ending]})
            if (body.get("stream_options") or {}).get("include_usage"):
                usage = self.usage(model, messages, text)
                self.event({**facts, "choices": [], "usage": usage})
            self.event("[DONE]")
            self.wfile.write(b"0\r\n\r\n")
        except OSError:
            self.close_connection = True  # the reader has left

    def facts(self) -> dict[str, Any]:
        return {"id": f"chatcmpl-{uuid.uuid4().hex[:8]}", "created": 1, "model": "so"}

    def usage(self, model: Core, messages: Any, text: str) -> dict[str, int]:
        found = model.usage(messages, text)
        return {
            "prompt_tokens": found["input_tokens"],
            "completion_tokens": found["output_tokens"],
            "total_tokens": found["total_tokens"],
        }

    def event(self, value: Any) -> None:
        data = f"data: {value if isinstance(value, str) else json.dumps(value)}\n\n".encode()
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
        self.wfile.flush()


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away is no error."""


@contextmanager
def serving() -> Iterator[str]:
    """A server for the time of the body; the body is given its URL."""
    server = Server(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
