"""The servers of the tests do what the services do that they stand in for."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from typing import Any

import pytest
from mutants.right import answer
from scripted import eventually
from servers import KEY, MODEL, apart, fail_with, serving

WHOLE = answer("hi")


def post(url: str, body: dict[str, Any], key: str = KEY, timeout: float = 20) -> Any:
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {key}"}
    request = urllib.request.Request(url, json.dumps(body).encode(), headers)
    return urllib.request.urlopen(request, timeout=timeout)


def ask(server: Any, key: str = KEY, **body: Any) -> Any:
    """The answer to a request, in lines where it is a stream; the status where it is an error."""
    try:
        with ask_open(server, key, **body) as response:
            text = response.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)["error"]
    return text.splitlines() if body.get("stream") else json.loads(text)


def ask_open(server: Any, key: str = KEY, timeout: float = 20, **body: Any) -> Any:
    path = "/v1/completions" if server.kind == "openai" else "/api/generate"
    body = {"model": MODEL, "max_tokens": 256, "stream": False, **body}
    return post(server.url + path, body, key, timeout)


@pytest.fixture
def openai():
    with serving("openai") as server:
        yield server


@pytest.fixture
def ollama():
    with serving("ollama") as server:
        yield server


def test_openai_gives_n_completions_of_each_prompt_side_by_side(openai):
    body = ask(openai, prompt=["hi", "ho"], n=2)
    assert [c["text"] for c in body["choices"]] == [answer(p) for p in ("hi", "hi", "ho", "ho")]
    assert [c["index"] for c in body["choices"]] == [0, 1, 2, 3]
    assert {c["finish_reason"] for c in body["choices"]} == {"stop"}
    usage = body["usage"]
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"] > 4


@pytest.mark.parametrize("stop", ["(that", ["|", "(that"]])
def test_openai_enforces_stops(openai, stop):
    (choice,) = ask(openai, prompt="hi", stop=stop)["choices"]
    assert choice["text"] == WHOLE[: WHOLE.index("(that")]


def test_openai_enforces_the_limit_of_tokens(openai):
    (choice,) = ask(openai, prompt="hi", max_tokens=2)["choices"]
    assert (choice["text"], choice["finish_reason"]) == (WHOLE[:6], "length")


def test_openai_streams_events(openai):
    lines = [line for line in ask(openai, prompt="hi", stream=True) if line]
    assert lines[-1] == "data: [DONE]"
    choices = [json.loads(line.removeprefix("data: "))["choices"][0] for line in lines[:-1]]
    assert "".join(choice["text"] for choice in choices) == WHOLE
    assert [choice["finish_reason"] for choice in choices if choice["finish_reason"]] == ["stop"]


def test_openai_streams_its_usage_when_asked(openai):
    lines = ask(openai, prompt="hi", stream=True, stream_options={"include_usage": True})
    event = json.loads([line for line in lines if line][-2].removeprefix("data: "))
    assert event["choices"] == []
    assert event["usage"]["completion_tokens"] > 1


@pytest.mark.parametrize("status", [400, 429, 500])
def test_openai_says_errors_in_its_form(openai, status):
    code, error = ask(openai, prompt=fail_with(status))
    assert code == status
    assert error["message"]


def test_openai_takes_one_key_and_four_stops(openai):
    assert ask(openai, "sk-wrong", prompt="hi")[0] == 401
    assert ask(openai, prompt="hi", stop=["a", "b", "c", "d", "e"])[0] == 400


def test_ollama_streams_lines(ollama):
    lines = [json.loads(line) for line in ask(ollama, prompt="hi", stream=True)]
    assert "".join(line["response"] for line in lines) == WHOLE
    assert [line["done"] for line in lines] == [False] * (len(lines) - 1) + [True]
    assert lines[-1]["done_reason"] == "stop"
    assert lines[-1]["eval_count"] == len(lines) - 1


def test_ollama_enforces_its_options(ollama):
    body = ask(ollama, prompt="hi", options={"stop": ["(that"], "num_predict": 2})
    assert (body["response"], body["done_reason"]) == (WHOLE[:6], "length")
    body = ask(ollama, prompt="hi", options={"stop": ["(that"]})
    assert (body["response"], body["done_reason"]) == (WHOLE[: WHOLE.index("(that")], "stop")


def test_ollama_says_errors_in_its_form(ollama):
    assert ask(ollama, prompt="hi", model="none") == (404, "model 'none' not found")
    assert ask(ollama, prompt=fail_with(500))[0] == 500


@pytest.mark.parametrize("kind", ["openai", "ollama"])
@pytest.mark.parametrize("stream", [True, False])
def test_a_client_that_goes_away_is_noted(kind, stream):
    with serving(kind, delay=0.05) as server:
        if stream:
            with ask_open(server, prompt="hi", stream=True) as response:
                response.read(1)
        else:
            with pytest.raises(TimeoutError):
                ask_open(server, timeout=0.1, prompt="hi")
        assert eventually(lambda: server.requests and server.requests[0].done)
        (request,) = server.requests
        assert request.gone
        assert request.sent < 10


def test_a_server_in_another_process_tells_what_it_was_asked():
    with apart("ollama") as server:
        assert ask(server, prompt="hi")["response"] == WHOLE
        (request,) = server.requests
    assert request.body["prompt"] == "hi"
    assert (request.status, request.gone, request.done) == (200, False, True)
