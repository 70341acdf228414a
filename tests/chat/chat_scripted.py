"""Scripted models for the tests of chat: what is asked decides what is answered.

A `Script` is a plain function of a prompt. `ScriptedLlama` and `serving` put the same answers
behind `LlamaCpp` and behind a server that speaks OpenAI's API.
"""

from __future__ import annotations

import itertools
import json
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from langchain_core.outputs import GenerationChunk

from langchain_wrap.models.llama_cpp import LlamaCpp

MODEL = "scripted-1"

KEY = "sk-a1b2c3d4e5f6"
"""The key of the servers in these tests."""


@dataclass(frozen=True)
class Call:
    """An answer that calls tools, each by name and arguments."""

    calls: tuple[tuple[str, dict[str, Any]], ...]
    text: str = ""
    """What is said before."""

    @classmethod
    def of(cls, name: str, /, **args: Any) -> Call:
        return cls(((name, args),))


Answers = Mapping[str, str | Call]
"""What is answered to a conversation in which this text is the last of all of them."""


def find(answers: Answers, prompt: str) -> str | Call:
    """The answer to a prompt: that of the text which stands last in it; `""` stands for any."""
    places = {key: prompt.rfind(key) if key else 0 for key in answers}
    last = max(places, key=lambda key: (places[key], len(key)))
    assert places[last] >= 0, f"the script has no answer to {prompt!r}"
    return answers[last]


def written(answer: str | Call, *, tags: bool = False) -> str:
    """An answer as the text of a model that has no tools of its own."""
    if isinstance(answer, str):
        return answer
    calls = [json.dumps({"name": n, "arguments": a}, ensure_ascii=False) for n, a in answer.calls]
    if tags:
        calls = [f"<tool_call>\n{call}\n</tool_call>" for call in calls]
    return "\n".join(filter(None, [answer.text, *calls]))


def tokens(text: str) -> list[str]:
    """Three characters are a token."""
    return [text[i : i + 3] for i in range(0, len(text), 3)]


def facts(prompt: str, said: Sequence[str], model: str, *, cut: bool) -> dict[str, Any]:
    usage = {"prompt_tokens": len(tokens(prompt)), "completion_tokens": len(said)}
    return {
        "model_name": model,
        "finish_reason": "length" if cut else "stop",
        "token_usage": {**usage, "total_tokens": sum(usage.values())},
    }


def chunks(prompt: str, text: str, limit: int | None, model: str) -> Iterator[GenerationChunk]:
    said = tokens(text)[:limit]
    for token in said:
        yield GenerationChunk(text=token)
    cut = "".join(said) != text
    yield GenerationChunk(text="", generation_info=facts(prompt, said, model, cut=cut))


class Script:
    """A function of a prompt, for `wrap`; it keeps what it was asked."""

    def __init__(self, answers: Answers) -> None:
        self.answers = answers
        self.prompts: list[str] = []

    def __call__(
        self,
        prompt: str,
        temperature: float | None = None,
        max_tokens: int | None = None,
        model: str = MODEL,
    ) -> Iterator[GenerationChunk]:
        self.prompts.append(prompt)
        text = written(find(self.answers, prompt))
        yield from chunks(prompt, text, max_tokens, model)


class ScriptedLlama(LlamaCpp):
    """`LlamaCpp` with its real file: template, tokenizer, constraint; only the text is scripted."""

    answers: Any = None

    def _stream(self, prompt, stop=None, cancel=None, model=MODEL, **params):
        answer = find(self.answers, prompt)
        schema = params.get("json_schema")
        text = written(answer, tags=schema is None)
        if schema is not None:
            import jsonschema

            jsonschema.validate(json.loads(text), schema)
        yield from chunks(prompt, text, params.get("max_tokens", self.max_tokens), model)


# --- a server that speaks OpenAI's API ----------------------------------------------------------


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # small writes that wait for each other cost 40 ms apiece

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing on stderr."""

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.bodies.append(body)  # type: ignore[attr-defined]
        prompt = "\n".join(_text(message) for message in body["messages"])
        answer = find(self.server.answers, prompt)  # type: ignore[attr-defined]
        if body.get("tool_choice") == "none" or not body.get("tools"):
            assert isinstance(answer, str), f"no tools, but {answer!r} is to be said"
        said = tokens(written(answer))
        message = _message(answer)
        told = facts(prompt, said, body.get("model") or MODEL, cut=False)
        reason = "tool_calls" if message.get("tool_calls") else "stop"
        base = {"id": "c", "created": 0, "model": told["model_name"]}
        if not body.get("stream"):
            choice = {"index": 0, "message": message, "finish_reason": reason}
            self._send({**base, "choices": [choice], "usage": told["token_usage"]})
            return
        self._begin("text/event-stream")
        for delta in _deltas(message):
            self._event({**base, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]})
        self._event({**base, "choices": [{"index": 0, "delta": {}, "finish_reason": reason}]})
        self._event({**base, "choices": [], "usage": told["token_usage"]})
        self._write(b"data: [DONE]\n\n")
        self._write(b"")

    def _send(self, value: Any) -> None:
        self._begin("application/json")
        self._write(json.dumps(value).encode())
        self._write(b"")

    def _begin(self, content_type: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", content_type)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()

    def _event(self, value: Any) -> None:
        self._write(b"data: " + json.dumps(value).encode() + b"\n\n")

    def _write(self, data: bytes) -> None:
        self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")


def _text(message: dict[str, Any]) -> str:
    content = message.get("content") or ""
    return content if isinstance(content, str) else "".join(part["text"] for part in content)


def _message(answer: str | Call) -> dict[str, Any]:
    if isinstance(answer, str):
        return {"role": "assistant", "content": answer}
    calls = [
        {
            "id": f"call_{next(_numbers)}",
            "type": "function",
            "function": {"name": name, "arguments": json.dumps(args)},
        }
        for name, args in answer.calls
    ]
    return {"role": "assistant", "content": answer.text or None, "tool_calls": calls}


_numbers = itertools.count()


def _deltas(message: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield {"role": "assistant", "content": ""}
    for token in tokens(message["content"] or ""):
        yield {"content": token}
    for index, call in enumerate(message.get("tool_calls", ())):
        function = {"name": call["function"]["name"], "arguments": ""}
        yield {"tool_calls": [{**call, "index": index, "function": function}]}
        for token in tokens(call["function"]["arguments"]):
            yield {"tool_calls": [{"index": index, "function": {"arguments": token}}]}


class Server(ThreadingHTTPServer):
    """The server, and the bodies that it was sent."""

    daemon_threads = True

    def __init__(self, answers: Answers) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answers = answers
        self.bodies: list[dict[str, Any]] = []
        self.url = f"http://127.0.0.1:{self.server_port}/v1"


@contextmanager
def serving(answers: Answers) -> Iterator[Server]:
    """Serve a script as OpenAI's `/chat/completions`, whole and streamed."""
    with Server(answers) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
