"""Keys: sent as declared, and in no error, log or repr."""

from __future__ import annotations

import base64
import json
import logging
import traceback

import pytest
from http_helpers import STREAM, failure, fixed, serving
from langchain_core.exceptions import ModelAuthenticationError, ModelError

from langchain_wrap.models import HTTPEndpoint

KEY = "sk-a1b2c3d4e5f6g7h8"


def leaks(talk):
    """Say everything that was sent, in a way that a cut would fall into it."""
    said = json.dumps([talk.request.path, *talk.request.headers.values()])
    talk.whole({"error": {"message": "x" * 480 + said}}, 401)


FIELDS = [
    {"api_key": KEY},
    {"api_key_env": "TEST_HTTP_KEY"},
    {"api_key": KEY, "auth": "X-Api-Key"},
    {"headers": {"X-Custom": KEY}},
    {"headers": {"authorization": f"Token {KEY}"}},
    {"headers": {"Cookie": f"a={KEY}"}},
]


@pytest.mark.parametrize("fields", FIELDS, ids=str)
def test_no_key_in_any_error(fields, monkeypatch, caplog):
    monkeypatch.setenv("TEST_HTTP_KEY", KEY)
    caplog.set_level(logging.INFO)
    with serving(leaks) as server:
        llm = server.endpoint(stream=STREAM, **fields)
        for call in (llm.invoke, lambda prompt: list(llm.stream(prompt))):
            with pytest.raises(ModelAuthenticationError) as caught:
                call("p")
            assert_hidden("".join(traceback.format_exception(caught.value)), llm, caplog.text)
        assert KEY in str(server.requests[0].headers)


def test_no_key_in_a_reason():
    error = failure(lambda t: t.whole({}, 401, t.request.headers["authorization"]), api_key=KEY)
    assert str(error).endswith("answered 401 **********: {}")


@pytest.mark.parametrize("where", ["user", "query"])
def test_no_key_of_a_url_in_any_error_or_log(where, caplog):
    caplog.set_level(logging.DEBUG)
    with serving(leaks) as server:
        url = server.url.replace("//", f"//me:{KEY}@") if where == "user" else server.url
        query = "" if where == "user" else f"?a=b&api_key={KEY}"
        llm = server.endpoint(url=f"{url}/v1{query}")
        with pytest.raises(ModelAuthenticationError) as caught:
            llm.invoke("p")
        assert_hidden("".join(traceback.format_exception(caught.value)), llm, caplog.text)
        assert "HTTP Request: POST" in caplog.text
        if where == "user":
            pair = base64.b64encode(f"me:{KEY}".encode()).decode()
            assert server.requests[0].headers["authorization"] == f"Basic {pair}"
            assert pair not in str(caught.value)
        else:
            assert server.requests[0].path == f"/v1?a=b&api_key={KEY}"


def assert_hidden(error, llm, log):
    for text in (error, log, repr(llm), str(llm), str(llm.asdict())):
        assert KEY not in text
        assert KEY[:10] not in text


def test_no_key_inside_a_stream_or_an_answer_that_is_wrong(monkeypatch):
    monkeypatch.setenv("TEST_HTTP_KEY", KEY)

    def answer(talk):
        key = talk.request.headers["authorization"]
        forms = {
            "/error": lambda: talk.whole({"error": key}),
            "/json": lambda: talk.whole(key.encode()),
            "/text": lambda: talk.whole({"text": [key]}),
            "/stream": lambda: talk.stream(f"data: {json.dumps({'error': key})}\n\n"),
            "/event": lambda: talk.stream(f"event: error\ndata: {key}\n\n"),
            "/data": lambda: talk.stream(f"data: {key}\n\n"),
        }
        forms[talk.request.path]()

    with serving(answer) as server:
        for path in ("error", "json", "text", "stream", "event", "data"):
            llm = server.endpoint(
                url=f"{server.url}/{path}", stream=STREAM, api_key_env="TEST_HTTP_KEY"
            )
            with pytest.raises(ModelError) as caught:
                llm.invoke("p") if path in ("error", "json", "text") else list(llm.stream("p"))
            assert KEY not in "".join(traceback.format_exception(caught.value))
            assert "**********" in str(caught.value)


@pytest.mark.parametrize("how", ["api_key", "api_key_env"])
def test_keys_are_sent_without_the_end_of_their_line(how, monkeypatch):
    monkeypatch.setenv("TEST_HTTP_KEY", f" {KEY}\n")
    fields = {"api_key": f"{KEY}\r\n"} if how == "api_key" else {"api_key_env": "TEST_HTTP_KEY"}
    with serving(fixed({"text": "a"})) as server:
        server.endpoint(**fields).invoke("p")
        assert server.requests[0].headers["authorization"] == f"Bearer {KEY}"


@pytest.mark.parametrize("key", [f"{KEY}\n{KEY}", f"{KEY}é", f"{KEY}\0"])
@pytest.mark.parametrize("how", ["api_key", "api_key_env"])
def test_keys_that_no_header_can_hold(key, how, monkeypatch):
    if "\0" in key and how == "api_key_env":
        pytest.skip("an environment cannot hold it")
    monkeypatch.setenv("TEST_HTTP_KEY", key.replace("\0", ""))
    fields = {"api_key": key} if how == "api_key" else {"api_key_env": "TEST_HTTP_KEY"}
    with serving(fixed({"text": "a"})) as server, pytest.raises(ModelAuthenticationError) as caught:
        server.endpoint(**fields).invoke("p")
    assert "no header can hold" in str(caught.value)
    assert KEY not in "".join(traceback.format_exception(caught.value))


def test_a_part_of_a_header_that_a_server_quotes_is_masked():
    said = f"the session {KEY} has expired"
    headers = {"Cookie": f"theme=dark; session={KEY}", "X-Auth": f'Token token="{KEY}"'}
    for name, value in headers.items():
        error = failure(fixed({"error": said}, 400), headers={name: value})
        assert KEY not in "".join(traceback.format_exception(error))
        assert "has expired" in str(error)


def test_a_variable_without_a_key(monkeypatch):
    monkeypatch.delenv("TEST_HTTP_KEY", raising=False)
    error = failure(fixed({"text": "a"}), api_key_env="TEST_HTTP_KEY")
    assert type(error) is ModelAuthenticationError
    assert "TEST_HTTP_KEY has no key; set it, or pass api_key=" in str(error)


def test_the_key_counts_before_the_variable_and_other_headers(monkeypatch):
    monkeypatch.setenv("TEST_HTTP_KEY", "other")
    with serving(fixed({"text": "a"})) as server:
        server.endpoint(
            api_key=KEY, api_key_env="TEST_HTTP_KEY", headers={"authorization": "Basic x"}
        ).invoke("p")
        server.endpoint(api_key=KEY, auth="X-Api-Key").invoke("p")
        server.endpoint(api_key=KEY, auth="Bearer").invoke("p")
        headers = [request.headers for request in server.requests]
    assert headers[0]["authorization"] == headers[2]["authorization"] == f"Bearer {KEY}"
    assert headers[1]["x-api-key"] == KEY
    assert "authorization" not in headers[1]


def test_no_key_in_validation_errors():
    with pytest.raises(ValueError, match="no header can hold") as caught:
        HTTPEndpoint("http://host", headers={"X": f"{KEY}\n"})
    assert KEY not in str(caught.value)
    for field in ("stream", "tokenizer"):
        with pytest.raises(ValueError, match="begin with http") as caught:
            HTTPEndpoint("http://host", **{field: {"url": f"htp://u:{KEY}@host", "body": {}}})
        assert KEY not in str(caught.value)
    with pytest.raises(ValueError, match="proxy") as caught:
        HTTPEndpoint("http://host", proxy=f"htp://u:{KEY}@host")
    assert KEY not in str(caught.value)
