"""`HTTPEndpoint`: what is declared is what is sent and read."""

from __future__ import annotations

import asyncio
import copy
import json
import pickle
import threading
import time

import pytest
from http_helpers import STREAM, echo, fixed, serving
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from langchain_core.caches import InMemoryCache
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.exceptions import ModelAPIError
from langchain_core.runnables import ConfigurableField
from pydantic import ValidationError
from test_template import VALUES

from langchain_wrap.models import HTTPEndpoint


@pytest.fixture
def server():
    with serving(echo) as running:
        yield running


@pytest.fixture(scope="module")
def mirror():
    """Answers with what was asked."""
    with serving(lambda talk: talk.whole({"text": talk.request.body.decode()})) as running:
        yield running


def sent(llm, prompt="p", **params):
    return json.loads(llm.invoke(prompt, **params))


# --- what is sent ---


def test_whole_and_streamed(server):
    llm = server.endpoint(stream=STREAM)
    assert llm.invoke("héllo") == "HÉLLO"
    assert list(llm.stream("héllo")) == list("HÉLLO")
    assert server.requests[0].json == {"prompt": "héllo"}
    assert server.requests[1].json == {"prompt": "héllo", "stream": True}
    assert server.requests[0].headers["content-type"] == "application/json"
    assert server.requests[0].headers["accept-encoding"] == "gzip, deflate"
    assert server.requests[1].headers["accept-encoding"] == "identity"


async def test_whole_and_streamed_in_async(server):
    llm = server.endpoint(stream=STREAM)
    assert await llm.ainvoke("hello") == "HELLO"
    assert [text async for text in llm.astream("hello")] == list("HELLO")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(value=VALUES, prompt=st.text(st.characters(exclude_categories=["Cs"])))
def test_any_json_value_arrives_equal(mirror, value, prompt):
    llm = mirror.endpoint(body={"prompt": "{prompt}", "x": {"y": ["{x}"]}})
    assert sent(llm, prompt, x=value) == {"prompt": prompt, "x": {"y": [value]}}


def test_prompts_that_look_like_templates_or_json(mirror):
    llm = mirror.endpoint(body={"inputs": "<s>{prompt}</s>", "{{x}}": "{{prompt}}", "n": "{n}"})
    prompt = 'a "{n}" {prompt} {{n}} \\ \n\r\t\0 \u2028 ☃ 🙂 {"json": [1]}'
    assert sent(llm, prompt, n=1) == {"inputs": f"<s>{prompt}</s>", "{x}": "{prompt}", "n": 1}


def test_an_empty_prompt_is_sent(mirror):
    assert sent(mirror.endpoint(), "") == {"prompt": ""}


def test_half_a_character_is_refused(mirror):
    with pytest.raises(ValueError, match=r"'\\ud83d', a lone surrogate") as caught:
        mirror.endpoint().invoke("a secret \ud83d prompt")
    assert "secret" not in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_numbers_that_json_has_not_are_refused(mirror, value):
    with pytest.raises(ValueError, match="cannot be written as JSON"):
        mirror.endpoint(body_params=["x"]).invoke("p", x=value)


def test_values_that_json_has_not_are_refused(mirror):
    with pytest.raises(TypeError, match="cannot be written as JSON: Object of type set"):
        mirror.endpoint(body_params=["x"]).invoke("p", x={1})


def test_parameters(mirror):
    llm = mirror.endpoint(
        body={"prompt": "{prompt}", "t": "{temperature}", "o": {"k": "{top_k}"}},
        body_params=["extra", "more"],
        params={"temperature": 0.5, "extra": 1},
    )
    assert sent(llm) == {"prompt": "p", "t": 0.5, "o": {}, "extra": 1}
    assert sent(llm, temperature=0, top_k=3, more=[2]) == {
        "prompt": "p", "t": 0, "o": {"k": 3}, "extra": 1, "more": [2],
    }  # fmt: skip
    assert sent(llm, temperature=None)["t"] is None


def test_an_unknown_parameter_is_an_error(mirror):
    llm = mirror.endpoint(body={"prompt": "{prompt}", "t": "{temperature}"}, body_params=["x"])
    with pytest.raises(
        TypeError,
        match=r"takes no parameter 'temprature'.*Did you mean 'temperature'\? It takes: "
        "temperature, x",
    ):
        llm.invoke("p", temprature=1)
    with pytest.raises(TypeError, match=r"takes no parameter 'prompt'|multiple values"):
        llm.invoke("p", prompt="q")


def test_a_parameter_of_the_stream_alone_may_be_given_always(server):
    form = {**STREAM, "body": {"stream": True, "options": {"x": "{x}"}}}
    llm = server.endpoint(body={"prompt": "{prompt}", "options": {"a": 1}}, stream=form)
    assert llm.invoke("p", x=5) == "P"
    assert server.requests[-1].json == {"prompt": "p", "options": {"a": 1}}
    assert list(llm.stream("p", x=5)) == ["P"]
    assert server.requests[-1].json["options"] == {"a": 1, "x": 5}


def test_the_model(mirror):
    llm = mirror.endpoint(body={"prompt": "{prompt}", "model": "{model}"})
    assert sent(llm) == {"prompt": "p"}
    llm = llm.model_copy(update={"model": "m"})
    assert sent(llm)["model"] == "m"
    assert sent(llm, model="n")["model"] == "n"


def test_stops(mirror):
    body = {"prompt": "{prompt}", "stop": "{stop}"}
    assert "stop" not in sent(mirror.endpoint(body=body))
    llm = mirror.endpoint(body=body, stop=["rom"])
    assert llm.invoke("p") == '{"p'  # enforced here too
    llm.invoke("p", stop=["€"])
    assert [request.json["stop"] for request in mirror.requests[-2:]] == [["rom"], ["rom", "€"]]


def test_a_body_that_is_no_mapping(mirror):
    assert sent(mirror.endpoint(body=["{prompt}", 1])) == ["p", 1]
    assert sent(mirror.endpoint(body="{prompt}")) == "p"


# --- what is read ---


@pytest.mark.parametrize(
    ("path", "answer"),
    [
        ("text", {"text": "yes"}),
        ("choices[0].text", {"choices": [{"text": "yes"}]}),
        ("[0].generated_text", [{"generated_text": "yes"}]),
        ("@", "yes"),
        ("join('', parts[].t)", {"parts": [{"t": "y"}, {"t": "es"}]}),
        ("a || b", {"b": "yes"}),
    ],
)
def test_paths(path, answer):
    with serving(fixed(answer)) as server:
        assert server.endpoint(text=path).invoke("p") == "yes"


@pytest.mark.parametrize(
    "answer",
    [{}, {"choices": []}, {"choices": [{"text": None}]}, {"choices": [{"text": 1}]}, [], 3],
)
def test_an_answer_without_a_text(answer):
    with serving(fixed(answer)) as server, pytest.raises(ModelAPIError) as caught:
        server.endpoint(text="choices[0].text").invoke("p")
    assert f"/v1 answered with no text at 'choices[0].text': {json.dumps(answer)}" in str(
        caught.value
    )


def test_an_empty_text_is_a_text():
    with serving(fixed({"text": ""})) as server:
        assert server.endpoint().invoke("p") == ""


def test_a_mark_of_byte_order():
    with serving(fixed(b'\xef\xbb\xbf{"text": "yes"}')) as server:
        assert server.endpoint().invoke("p") == "yes"


def test_what_an_answer_tells():
    answer = {"text": "a", "why": "length", "n": {"in": 3, "out": 4}}
    with serving(fixed(answer)) as server:
        llm = server.endpoint(
            finish_reason="why",
            usage="{prompt_tokens: n.in, completion_tokens: n.out, other: n.no}",
            model="m",
        )
        result = llm.generate(["p"])
        assert result.generations[0][0].generation_info["finish_reason"] == "length"
        assert result.llm_output["token_usage"] == {
            "prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7,
        }  # fmt: skip
        assert result.llm_output["model_name"] == "m"


@pytest.mark.parametrize(
    "answer", [{"why": {"type": "x"}, "n": 5}, {"why": 1, "n": [1]}, {"n": {"a": None}}, {}]
)
def test_facts_of_the_wrong_form_are_none(answer):
    with serving(fixed({"text": "a", **answer})) as server:
        llm = server.endpoint(finish_reason="why", usage="n")
        assert llm.generate(["p"]).generations[0][0].generation_info is None


def test_a_truncated_answer_is_not_cached():
    with serving(fixed({"text": "a", "why": "length"})) as server:
        llm = server.endpoint(finish_reason="why", cache=InMemoryCache())
        assert llm.invoke("p") == llm.invoke("p") == "a"
        assert len(server.requests) == 2


# --- lists ---


def texts(talk):
    prompts = talk.request.json["prompt"]
    if "poison" in prompts:
        return talk.whole({"error": "poison"}, 400, "Bad Request")
    if isinstance(prompts, str):
        return talk.whole({"text": prompts.upper(), "n": {"prompt_tokens": 1}})
    answers = [{"text": p.upper(), "why": "length" if p == "long" else None} for p in prompts]
    return talk.whole({"all": answers})


LISTS = {
    "texts": "all[].text",
    "finish_reasons": "all[].not_null(why, '')",
    "finish_reason": "why",
    "usage": "n",
}


def test_a_batch_goes_out_as_lists():
    with serving(texts) as server:
        llm = server.endpoint(max_batch_size=4, **LISTS)
        assert llm.batch([f"p{i}" for i in range(10)]) == [f"P{i}" for i in range(10)]
        assert [len(r.json["prompt"]) for r in server.requests] == [4, 4, 2]
        generations = llm.generate(["a", "long"]).generations
        assert generations[0][0].generation_info is None
        assert generations[1][0].generation_info["finish_reason"] == "length"


def test_one_prompt_alone_goes_out_as_itself_and_tells_its_usage():
    with serving(texts) as server:
        llm = server.endpoint(max_batch_size=4, **LISTS)
        assert llm.generate(["a"]).llm_output["token_usage"] == {"prompt_tokens": 1}
        assert server.requests[0].json == {"prompt": "a"}


def test_a_prompt_that_is_refused_fails_alone():
    with serving(texts) as server:
        llm = server.endpoint(max_batch_size=4, **LISTS)
        found = llm.batch(["a", "poison", "c"], return_exceptions=True)
        assert [found[0], found[2]] == ["A", "C"]
        assert "poison" in str(found[1])


def test_without_max_batch_size_prompts_go_out_alone_side_by_side():
    with serving(texts) as server:
        assert server.endpoint(**LISTS).batch(["a", "b"]) == ["A", "B"]
        assert sorted(r.json["prompt"] for r in server.requests) == ["a", "b"]


def test_an_endpoint_that_takes_nothing_but_lists():
    def answer(talk):
        talk.whole([p.upper() for p in talk.request.json["inputs"]])

    with serving(answer) as server:
        llm = server.endpoint(body={"inputs": "{prompts}"}, texts="@")
        assert llm.invoke("a") == "A"
        assert llm.batch(["a", "b"]) == ["A", "B"]


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        ({"all": "a"}, r"answered with no texts at 'all\[\].text'"),
        ({}, r"answered with no texts at 'all\[\].text'"),
        # In a list that each is asked for alone after, by `text`.
        ({"all": [{"text": 1}]}, "answered with no text at 'text'"),
    ],
)
def test_lists_without_texts(answer, problem):
    with serving(fixed(answer)) as server:
        llm = server.endpoint(max_batch_size=4, **LISTS)
        with pytest.raises(ModelAPIError, match=problem):
            llm.batch(["a", "b"])


def test_a_list_of_the_wrong_length():
    with serving(fixed({"all": [{"text": "a"}]})) as server:
        llm = server.endpoint(max_batch_size=4, **LISTS)
        with pytest.raises(ModelAPIError, match="answered with no text at 'text'"):
            llm.batch(["a", "b"])
        several = server.endpoint(
            max_batch_size=4, body={"in": "{prompts}"}, **{**LISTS, "texts": "[all, all][].text"}
        )
        with pytest.raises(ModelAPIError, match=r"2 texts at .* to 1 prompts"):
            several.batch(["a", "b", "c"])


# --- side by side ---


def test_concurrency():
    running, most, lock = 0, 0, threading.Lock()

    def answer(talk):
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        time.sleep(0.02)
        with lock:
            running -= 1
        talk.whole({"text": "a"})

    with serving(answer) as server:
        server.endpoint(concurrency=3).batch(["p"] * 12)
        assert most == 3
        server.endpoint().batch(["p"] * 12)
        assert most > 3


def test_connections_are_used_again(server):
    llm = server.endpoint(stream={**STREAM, "done": "[DONE]"})
    other = server.endpoint(api_key="other-key")
    for _ in range(5):
        llm.invoke("abc")
        assert list(llm.stream("abc")) == list("ABC")
        other.invoke("abc")
    assert server.connections == 1


def test_a_stream_that_ends_by_its_mark_gives_its_connection_back():
    def answer(talk):
        talk.begin()
        talk.event({"text": "a"})
        talk.event("[DONE]")
        time.sleep(0.01)
        talk.end()

    with serving(answer) as server:
        llm = server.endpoint(stream={**STREAM, "done": "[DONE]"})
        for _ in range(5):
            assert list(llm.stream("p")) == ["a"]
        assert server.connections == 1


def test_no_cookies_are_kept():
    with serving(fixed({"text": "a"}, set_cookie="session=of-another")) as server:
        server.endpoint().invoke("p")
        server.endpoint().invoke("p")
        assert "cookie" not in server.requests[1].headers


# --- streams in other forms ---


def test_ndjson():
    def answer(talk):
        talk.stream(b'{"response": "a"}\n{"respon', b'se": "b"}\n', b'{"done": true}')

    with serving(answer) as server:
        llm = server.endpoint(stream={"format": "ndjson", "text": "response"})
        assert list(llm.stream("p")) == ["a", "b"]


def test_raw_text():
    with serving(lambda talk: talk.stream("né".encode()[:2], "né".encode()[2:], b"!")) as server:
        llm = server.endpoint(stream={"format": "raw"}, text=None)
        assert "".join(llm.stream("p")) == "né!"
        assert llm.invoke("p") == "né!"


def test_an_endpoint_that_only_streams(server):
    llm = server.endpoint(stream=STREAM, text=None)
    assert llm.invoke("abc") == "ABC"
    assert llm.batch(["a", "b"]) == ["A", "B"]
    assert all(request.json["stream"] for request in server.requests)


def test_a_stream_at_another_url(server):
    llm = server.endpoint(stream={**STREAM, "url": server.url + "/other"})
    list(llm.stream("a"))
    llm.invoke("a")
    assert [request.path for request in server.requests] == ["/other", "/v1"]


def test_an_endpoint_without_a_stream_gives_its_text_at_once(server):
    assert list(server.endpoint().stream("abc")) == ["ABC"]


def test_invoke_streams_where_somebody_listens(server):
    class Listener(BaseCallbackHandler):
        tokens: list[str] = []  # noqa: RUF012

        def on_llm_new_token(self, token, **_):
            self.tokens.append(token)

    async def events():
        llm = server.endpoint(stream=STREAM)
        return [
            event["data"]["chunk"]
            async for event in llm.astream_events("abc", version="v2")
            if event["event"] == "on_llm_stream"
        ]

    assert len(asyncio.run(events())) == 3
    server.endpoint(stream=STREAM, callbacks=[Listener()]).invoke("abc")
    assert "".join(Listener.tokens) == "ABC"


# --- tokens ---


def test_tokens():
    with serving(lambda talk: talk.whole({"tokens": [1] * len(talk.request.json["content"])})) as s:
        llm = s.endpoint(
            tokenizer={"url": s.url + "/tokenize", "body": {"content": "{text}", "m": "{model}"}},
            api_key="the-key",
        )
        for _ in range(3):
            assert llm.get_num_tokens("{text} é") == 8
        assert s.connections == 1
        assert s.requests[0].path == "/tokenize"
        assert s.requests[0].json == {"content": "{text} é"}
        assert s.requests[0].headers["authorization"] == "Bearer the-key"


def test_tokens_that_the_server_does_not_count(server):
    with pytest.raises(NotImplementedError, match="HTTPEndpoint cannot count tokens"):
        server.endpoint().get_num_tokens("a")


@pytest.mark.parametrize("answer", [{}, {"tokens": 3}, {"tokens": ["a"]}, [1]])
def test_answers_without_token_ids(answer):
    with serving(fixed(answer)) as server:
        llm = server.endpoint(tokenizer={"url": server.url, "body": {"t": "{text}"}})
        with pytest.raises(ModelAPIError, match="answered with no token ids at 'tokens'"):
            llm.get_num_tokens("a")


# --- declaring ---


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"url": "host:8000"}, "must begin with http"),
        ({"url": "ftp://host"}, "must begin with http"),
        ({"url": "http://"}, "must begin with http"),
        ({"url": "http://[::1"}, "no URL|must begin"),
        ({"url": "http://box:99999/x"}, "ports are from 1 to 65535"),
        ({"url": "http://me:se/cret@box"}, "write / as %2F"),
        ({"body": {"a": 1}}, r"has no \{prompt\}"),
        ({"text": "a["}, r"'a\[' is no JMESPath"),
        ({"stream": {"text": "a["}}, r"'a\[' is no JMESPath"),
        ({"stream": {"forma": "sse"}}, "forma"),
        ({"stream": {"url": "nowhere"}}, "must begin with http"),
        ({"tokenizer": {"url": "nowhere", "body": 1}}, "must begin with http"),
        ({"text": None}, "neither text= nor stream="),
        ({"params": {"temprature": 1}, "body_params": ["temperature"]}, "Did you mean"),
        ({"params": {"stop": ["a"]}, "body": ["{prompt}", "{stop}"]}, "params names 'stop'"),
        ({"body": ["{prompt}"], "body_params": ["x"]}, "need a body that is a mapping"),
        ({"body": "{prompt}", "stream": {"body": {"s": 1}}}, "need a body that is a mapping"),
        ({"texts": "a", "body": {"p": "<s>{prompt}"}}, "within a longer text"),
        ({"headers": {"X Y": "a"}}, "no name of a header"),
        ({"headers": {"X": "a\nb"}}, "no header can hold"),
        ({"headers": {"X": "é"}}, "no header can hold"),
        ({"auth": "X Y"}, "neither 'bearer' nor"),
        ({"proxy": "ftp://x"}, "a proxy's URL"),
        ({"modle": "m"}, "Did you mean 'model'"),
        ({"read_timeout": 0}, "greater than 0"),
    ],
)
def test_mistakes_in_a_declaration(fields, words):
    with pytest.raises(ValidationError, match=words):
        HTTPEndpoint(**{"url": "http://host", **fields})


def test_copies_and_pickles(server):
    llm = server.endpoint(stream=STREAM, api_key="sk-secret-12345", model="m")
    assert llm.invoke("a") == "A"
    for twin in (copy.copy(llm), copy.deepcopy(llm), pickle.loads(pickle.dumps(llm))):
        assert twin.invoke("b") == "B"
        assert twin == llm
        assert twin.api_key.get_secret_value() == "sk-secret-12345"
    assert llm.model_copy(update={"model": "n"}).model == "n"


def test_configurable_fields(server):
    llm = server.endpoint(
        body={"prompt": "{prompt}", "model": "{model}"}, stream=STREAM, model="m"
    ).configurable_fields(model=ConfigurableField(id="model"))
    assert llm.invoke("a") == "A"
    assert llm.invoke("a", config={"configurable": {"model": "n"}}) == "A"
    assert [request.json["model"] for request in server.requests] == ["m", "n"]
    assert list(llm.with_config(configurable={"model": "o"}).stream("ab")) == ["A", "B"]


def test_identity():
    llm = HTTPEndpoint("http://u:hidden-1@host/v1?key=hidden-2", headers={"X": "hidden-3"})
    assert llm._llm_type == "http-endpoint"
    assert llm._identifying_params["url"] == "http://**********@host/v1?key=**********"
    for shown in (repr(llm), str(llm), str(llm.asdict()), str(llm.to_json())):
        assert "hidden" not in shown
