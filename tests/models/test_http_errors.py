"""Errors: of the right kind, in the server's own words, and never with a key."""

from __future__ import annotations

import email.utils
import gzip
import socket
import time

import pytest
from http_helpers import STREAM, Server, failure, fixed, serving
from langchain_core.exceptions import (
    ContextOverflowError,
    ModelAPIError,
    ModelAuthenticationError,
    ModelConnectionError,
    ModelError,
    ModelInvalidRequestError,
    ModelNotFoundError,
    ModelPermissionDeniedError,
    ModelRateLimitError,
    ModelTimeoutError,
)

from langchain_wrap import Timeout
from langchain_wrap.models import HTTPEndpoint
from langchain_wrap.models.http_errors import _retry_after

KEY = "sk-a1b2c3d4e5f6g7h8"
STATUSES = {
    400: ModelInvalidRequestError,
    401: ModelAuthenticationError,
    402: ModelInvalidRequestError,
    403: ModelPermissionDeniedError,
    404: ModelNotFoundError,
    405: ModelInvalidRequestError,
    408: ModelTimeoutError,
    409: ModelInvalidRequestError,
    413: ModelInvalidRequestError,
    418: ModelInvalidRequestError,
    422: ModelInvalidRequestError,
    429: ModelRateLimitError,
    500: ModelAPIError,
    502: ModelAPIError,
    503: ModelAPIError,
    504: ModelTimeoutError,
    529: ModelAPIError,
    599: ModelAPIError,
}


@pytest.mark.parametrize("status", STATUSES)
def test_statuses(status):
    answer = fixed({"error": {"message": "own words", "type": "t"}}, status, "Its Reason")
    with serving(answer) as server:
        llm = server.endpoint(stream=STREAM)
        for call in (llm.invoke, lambda prompt: list(llm.stream(prompt))):
            with pytest.raises(ModelError) as caught:
                call("p")
            assert type(caught.value) is STATUSES[status]
            assert str(caught.value) == f"{server.url}/v1 answered {status} Its Reason: own words"
            assert caught.value.status_code == status
            assert caught.value.partial_text == ""


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "(no text)"),
        (b"plain  \n text", "plain text"),
        (b'"a text"', "a text"),
        (b'{"message": "m"}', "m"),
        (b'{"error": "e", "error_type": "t"}', "e"),
        (b'{"error": "Internal Server Error", "message": "the reason"}', "the reason"),
        (b'{"error": {"error": {"message": "deep"}}}', "deep"),
        (b'{"detail": [{"loc": ["a"]}]}', '[{"loc": ["a"]}]'),
        (b'{"other": 1}', '{"other": 1}'),
        (b"\xff\xfe", "\ufffd\ufffd"),
        (b"[" * 100_000, "[" * 500 + "…"),
        (b"x" * 10_000, "x" * 500 + "…"),
    ],
)
def test_the_servers_own_words(body, words):
    error = failure(fixed(body, 500, "R"))
    assert str(error).endswith(f" answered 500 R: {words}")


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_told_of_and_not_followed(status):
    answer = fixed(b"", status, "Moved", location=f"http://u:pw-123@other/v2?key={KEY}")
    with serving(answer) as server, pytest.raises(ModelInvalidRequestError) as caught:
        server.endpoint(api_key=KEY).invoke("p")
    assert "it is at http://other/v2 now; give that URL" in str(caught.value)
    assert KEY not in str(caught.value)
    assert len(server.requests) == 1


@pytest.mark.parametrize("location", ["/v2", "", "http://[", "//[::1"])
def test_redirects_to_anywhere(location):
    error = failure(fixed(b"", 307, "Moved", location=location))
    assert "redirects are not followed" in str(error) or "Invalid URL in location" in str(error)


def test_a_status_of_3xx_that_is_no_redirect():
    assert "answered 304 Not: (no text)" in str(failure(lambda talk: talk.head(304, "Not")))


@pytest.mark.parametrize(
    "words",
    [
        "This model's maximum context length is 2048 tokens",
        "the request exceeds the available context size",
        "`inputs` tokens + `max_new_tokens` must be <= 4096".replace("`", ""),
    ],
)
@pytest.mark.parametrize("status", [400, 413, 422])
def test_a_prompt_that_is_too_long(words, status):
    assert isinstance(failure(fixed({"error": words}, status)), ContextOverflowError)


def test_too_long_are_only_refusals():
    assert type(failure(fixed({"error": "context length"}, 500))) is ModelAPIError


# --- errors inside answers ---


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        ("broken", ModelAPIError),
        ({"message": "broken"}, ModelAPIError),
        ({"message": "broken", "code": 429}, ModelRateLimitError),
        ({"message": "broken", "code": "429"}, ModelAPIError),
        ({"message": "broken", "code": 400}, ModelInvalidRequestError),
        ({"message": "broken: context size", "code": 500}, ContextOverflowError),
        ({"message": "broken", "code": 200}, ModelAPIError),
    ],
)
def test_an_error_with_a_good_status(error, kind):
    raised = failure(fixed({"error": error}))
    assert type(raised) is kind
    assert "/v1 reported an error: broken" in str(raised)


@pytest.mark.parametrize("error", [None, "", False, {}])
def test_no_error(error):
    with serving(fixed({"text": "a", "error": error})) as server:
        assert server.endpoint().invoke("p") == "a"


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"<html>log in</html>", "what is no JSON: <html>log in</html>"),
        (b"", "what is no JSON: (nothing)"),
        (b'{"text": "cut o', 'what is no JSON: {"text": "cut o'),
        (b"[" * 100_000, "what is no JSON: [[["),
    ],
)
def test_an_answer_that_is_no_json(body, words):
    error = failure(fixed(body))
    assert type(error) is ModelAPIError
    assert f"/v1 answered with {words}" in str(error)


def test_an_empty_answer():
    assert "no JSON: (nothing)" in str(failure(lambda talk: talk.head(204, "No Content")))


# --- the connection ---


def test_nobody_there():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(ModelConnectionError, match=rf":{port}/v1 could not be reached: ."):
        Server(f"http://127.0.0.1:{port}").endpoint().invoke("p")


def test_a_name_that_is_unknown():
    with pytest.raises(ModelConnectionError, match=r"no-such-host\.invalid could not be reached"):
        HTTPEndpoint("http://no-such-host.invalid", trust_env=False).invoke("p")


def test_an_answer_that_breaks_off():
    def answer(talk):
        talk.head(content_length="100")
        talk.send(b'{"text": ')
        talk.hang_up()

    error = failure(answer)
    assert type(error) is ModelConnectionError
    assert "has failed after 9 bytes of the answer" in str(error)
    assert error.partial_text == ""


@pytest.mark.parametrize("answer", [lambda t: t.hang_up(), lambda t: t.drop()])
def test_no_answer_at_all(answer):
    assert type(failure(answer)) is ModelConnectionError


def test_what_is_no_http():
    def answer(talk):
        talk.send(b"SSH-2.0-OpenSSH_9.9\r\n")
        talk.hang_up()

    assert type(failure(answer)) is ModelConnectionError


def test_silence():
    error = failure(lambda talk: talk.wait_until_gone(), read_timeout=0.1)
    assert type(error) is ModelTimeoutError
    assert str(error).endswith("/v1 was silent for 0.1 s (read_timeout)")


def test_silence_in_the_middle():
    def answer(talk):
        talk.head(content_length="100")
        talk.send(b'{"text": ')
        talk.wait_until_gone()

    error = failure(answer, read_timeout=0.1)
    assert "was silent for 0.1 s (read_timeout) after 9 bytes of the answer" in str(error)


def test_no_connection_in_time():
    # Nobody takes from the queue of connections, which is full.
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
        waiting = [socket.socket() for _ in range(4)]
        for one in waiting:
            one.setblocking(False)
            one.connect_ex(full.getsockname())
        llm = Server(f"http://127.0.0.1:{full.getsockname()[1]}").endpoint(connect_timeout=0.1)
        with pytest.raises(ModelTimeoutError, match=r"reached within 0\.1 s \(connect_timeout\)"):
            llm.invoke("p")
        for one in waiting:
            one.close()


@pytest.mark.parametrize(
    ("timeout", "name"), [(0.1, "total"), (Timeout(first_token=0.1), "first_token")]
)
def test_the_contracts_own_timeouts(timeout, name):
    error = failure(lambda talk: talk.wait_until_gone(), timeout=timeout)
    assert type(error) is ModelTimeoutError
    assert name in str(error)


# --- sizes ---


def bomb(talk):
    body = gzip.compress(b"0" * 2**26)
    talk.whole(body, content_encoding="gzip")


@pytest.mark.parametrize("answer", [fixed(b"0" * 2**21), bomb])
def test_an_answer_that_is_too_large(answer):
    error = failure(answer, max_answer_bytes=2**20)
    assert "answered with more than 1048576 bytes (max_answer_bytes)" in str(error)


def test_an_error_that_is_too_large_is_still_that_error():
    body = gzip.compress(b"0" * 2**26)
    for answer in (fixed(body, 429, content_encoding="gzip"), fixed(b"0" * 2**22, 429)):
        error = failure(answer, max_answer_bytes=100)
        assert isinstance(error, ModelRateLimitError)
        assert len(str(error)) < 1000


def test_an_errors_body_that_breaks_off_or_is_not_what_it_says():
    def answer(talk):
        talk.head(503, "Busy", content_length="100")
        talk.send(b"too busy")
        talk.hang_up()

    assert str(failure(answer)).endswith("answered 503 Busy: too busy")
    error = failure(fixed(b"plain", 503, "Busy", content_encoding="gzip"))
    assert str(error).endswith("answered 503 Busy: (no text)")


def test_tokens_fail_in_the_same_ways():
    def tokenizer(answer, **fields):
        with serving(answer) as server:
            form = {"url": server.url + "/t?key=" + KEY, "body": "{text}"}
            llm = server.endpoint(tokenizer=form, **fields)
            with pytest.raises(ModelError) as caught:
                llm.get_num_tokens("a")
        assert KEY not in str(caught.value)
        return caught.value

    assert "more than 10 bytes" in str(tokenizer(bomb, max_answer_bytes=10))
    assert "no JSON" in str(tokenizer(fixed(b"x")))
    assert isinstance(tokenizer(fixed({"error": KEY}, 401)), ModelAuthenticationError)
    assert isinstance(tokenizer(fixed(b"0" * 2**22, 404)), ModelNotFoundError)
    assert isinstance(tokenizer(lambda talk: talk.drop()), ModelConnectionError)
    assert isinstance(
        tokenizer(lambda talk: talk.wait_until_gone(), read_timeout=0.1), ModelTimeoutError
    )


# --- Retry-After ---


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0),
        ("7", 7),
        (" 1.5 ", 1.5),
        ("99999999999999", 604_800),
        ("9" * 400, None),
        ("-1", None),
        ("²", None),
        ("soon", None),
        ("", None),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0),
        ("Fri, 31 Dec 9999 23:59:59 GMT", 604_800),
        ("Fri, 31 Dec 99999 23:59:59 GMT", None),
    ],
)
def test_retry_after(value, seconds):
    assert _retry_after(value) == seconds


@pytest.mark.parametrize("zone", ["GMT", "-0000", "+0000"])
def test_retry_after_a_date(zone):
    date = email.utils.formatdate(time.time() + 100).replace("-0000", zone)
    assert 90 < _retry_after(date) <= 100


@pytest.mark.parametrize("status", [429, 503])
def test_retry_after_is_obeyed(status):
    times = []

    def answer(talk):
        times.append(time.monotonic())
        if len(times) == 1:
            talk.whole({"error": "busy"}, status, retry_after="0.3")
        else:
            talk.whole({"text": "a"})

    with serving(answer) as server:
        assert server.endpoint(max_retries=1).invoke("p") == "a"
    assert times[1] - times[0] >= 0.3


def test_what_cannot_succeed_is_not_tried_again():
    with serving(fixed({}, 400)) as server, pytest.raises(ModelInvalidRequestError):
        server.endpoint(max_retries=3).invoke("p")
    assert len(server.requests) == 1


def test_a_connection_that_drops_is_tried_again():
    def answer(talk):
        if len(talk.server.requests) == 1:
            talk.drop()
        talk.whole({"text": "a"})

    with serving(answer) as server:
        assert server.endpoint(max_retries=1).invoke("p") == "a"
