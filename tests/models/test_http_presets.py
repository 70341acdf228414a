"""Presets, against servers that answer as the real ones do (from their documents and source)."""

from __future__ import annotations

import json

import pytest
from http_helpers import serving
from langchain_core.exceptions import (
    ContextOverflowError,
    ModelAPIError,
    ModelNotFoundError,
    ModelRateLimitError,
)

from langchain_wrap.models import HTTPEndpoint


def lines(*values, done=""):
    return [f"data: {json.dumps(value)}\n\n" for value in values] + ([done] if done else [])


def info(llm, prompt="p", **params):
    result = llm.generate([prompt], **params)
    return result.generations[0][0].text, result.generations[0][0].generation_info


async def streamed(llm, prompt="p", **params):
    chunks = [chunk async for chunk in llm._astream(prompt, **params)]
    facts = {}
    for chunk in chunks:
        facts.update(chunk.generation_info or {})
    return [chunk.text for chunk in chunks if chunk.text], facts


# --- OpenAI's /v1/completions, as vLLM answers ---


def vllm(talk):
    body = talk.request.json
    head = {"id": "cmpl-1", "object": "text_completion", "created": 1, "model": body.get("model")}

    def choice(text, index=0, reason=None):
        return {"index": index, "text": text, "logprobs": None, "finish_reason": reason,
                "stop_reason": None, "prompt_logprobs": None}  # fmt: skip

    if talk.request.path == "/tokenize":
        ids = list(range(len(body["prompt"])))
        return talk.whole({"count": len(ids), "max_model_len": 4096, "tokens": ids})
    if body["prompt"] == "long":
        message = "This model's maximum context length is 4096 tokens. However, you requested more"
        return talk.whole({"object": "error", "message": message, "type": "BadRequestError",
                           "param": None, "code": 400}, 400, "Bad Request")  # fmt: skip
    if body["model"] == "other":
        message = "The model `other` does not exist."
        error = {"message": message, "type": "NotFoundError", "param": None, "code": 404}
        return talk.whole({"error": error}, 404, "Not Found")
    usage = {"prompt_tokens": 5, "total_tokens": 7, "completion_tokens": 2,
             "prompt_tokens_details": None}  # fmt: skip
    if isinstance(body["prompt"], list):
        found = [choice(p.upper(), i, "stop") for i, p in enumerate(body["prompt"])]
        return talk.whole({**head, "choices": found[::-1], "usage": usage})
    if not body.get("stream"):
        return talk.whole({**head, "choices": [choice(" Paris", 0, "length")], "usage": usage})
    if body["prompt"] == "crash":
        error = {"message": "EngineCore died", "type": "InternalServerError", "code": 500}
        return talk.stream(*lines({**head, "choices": [choice("a")]}, {"error": error}),
                           "data: [DONE]\n\n")  # fmt: skip
    return talk.stream(
        *lines(
            {**head, "choices": [choice(" Par")]},
            {**head, "choices": [choice("is", 0, "length")]},
            {**head, "choices": [], "usage": usage},
            done="data: [DONE]\n\n",
        )
    )


async def test_openai():
    with serving(vllm) as server:
        llm = HTTPEndpoint.openai(
            server.url + "/v1/", "m", api_key="k-123456", trust_env=False, body_params=["own"]
        )
        text, facts = info(llm, temperature=0, top_k=3, own=[1], stop=["\n"])
        assert text == " Paris"
        assert facts["finish_reason"] == "length"
        assert facts["token_usage"]["total_tokens"] == 7
        assert facts["model_name"] == "m"
        assert server.requests[0].path == "/v1/completions"
        assert server.requests[0].headers["authorization"] == "Bearer k-123456"
        assert server.requests[0].json == {
            "model": "m", "prompt": "p", "stop": ["\n"], "temperature": 0, "top_k": 3, "own": [1],
        }  # fmt: skip
        texts, facts = await streamed(llm, temperature=0)
        assert texts == [" Par", "is"]
        assert facts["finish_reason"] == "length"
        assert facts["token_usage"]["completion_tokens"] == 2
        assert server.requests[1].json == {
            "model": "m", "prompt": "p", "temperature": 0, "stream": True,
            "stream_options": {"include_usage": True},
        }  # fmt: skip
        with pytest.raises(ContextOverflowError, match="maximum context length"):
            llm.invoke("long")
        with pytest.raises(ModelNotFoundError, match="The model `other` does not exist"):
            llm.invoke("p", model="other")
        with pytest.raises(ModelAPIError, match="EngineCore died") as caught:
            list(llm.stream("crash"))
        assert caught.value.partial_text == "a"
        assert llm.get_num_tokens("four") == 4


@pytest.mark.parametrize("index", [lambda n: n, lambda n: None, None])
def test_a_completion_without_a_text_is_an_error_of_its_own(index):
    def answer(talk):
        prompts = talk.request.json["prompt"]
        prompts = prompts if isinstance(prompts, list) else [prompts]
        choices = [{"text": None if p == "b" else f"<{p}>"} for p in prompts]
        for number, choice in enumerate(choices):
            choice.update({} if index is None else {"index": index(number)})
        talk.whole({"choices": choices})

    with serving(answer) as server:
        llm = HTTPEndpoint.openai(server.url + "/v1", "m", max_batch_size=3, trust_env=False)
        first, error, last = llm.batch(["a", "b", "c"], return_exceptions=True)
        assert (first, last) == ("<a>", "<c>")
        assert isinstance(error, ModelAPIError)
        assert llm.batch(["a", "c"]) == ["<a>", "<c>"]


def test_openai_in_lists():
    with serving(vllm) as server:
        llm = HTTPEndpoint.openai(server.url + "/v1", "m", max_batch_size=3, trust_env=False)
        assert llm.batch(list("abcd")) == [*"ABC", " Paris"]
        assert [r.json["prompt"] for r in server.requests] == [["a", "b", "c"], "d"]


# --- Ollama's /api/generate ---


def ollama(talk):
    body = talk.request.json
    head = {"model": body["model"], "created_at": "2026-01-01T00:00:00.000000Z"}
    end = {**head, "response": "", "done": True, "done_reason": "stop", "context": [1, 2],
           "total_duration": 5, "load_duration": 1, "prompt_eval_count": 26,
           "prompt_eval_duration": 1, "eval_count": 3, "eval_duration": 2}  # fmt: skip
    if body["model"] == "other":
        return talk.whole({"error": "model 'other' not found"}, 404, "Not Found")
    if not body.get("stream", True):
        return talk.whole({**end, "response": "The sky"})
    parts = [{**head, "response": piece, "done": False} for piece in ("The", " sky")]
    if body["prompt"] == "crash":
        end = {"error": "an error was encountered while running the model: unexpected EOF"}
    return talk.stream(
        *(json.dumps(part) + "\n" for part in [*parts, end]), content_type="application/x-ndjson"
    )


async def test_ollama():
    with serving(ollama) as server:
        llm = HTTPEndpoint.ollama(server.url, "llama3", trust_env=False, params={"num_ctx": 512})
        text, facts = info(llm, temperature=0, system="s", stop=["x"])
        assert text == "The sky"
        assert facts["finish_reason"] == "stop"
        assert facts["token_usage"] == {
            "prompt_tokens": 26, "completion_tokens": 3, "total_tokens": 29,
        }  # fmt: skip
        assert server.requests[0].path == "/api/generate"
        assert server.requests[0].json == {
            "model": "llama3", "prompt": "p", "stream": False, "system": "s",
            "options": {"stop": ["x"], "temperature": 0, "num_ctx": 512},
        }  # fmt: skip
        texts, facts = await streamed(llm)
        assert texts == ["The", " sky"]
        assert facts["token_usage"]["completion_tokens"] == 3
        assert server.requests[1].json["stream"] is True
        with pytest.raises(ModelNotFoundError, match="model 'other' not found"):
            llm.invoke("p", model="other")
        with pytest.raises(ModelAPIError, match=r"unexpected EOF \(after 7 characters of text\)"):
            list(llm.stream("crash"))


# --- llama-server's /completion ---


def llama_server(talk):
    body = talk.request.json
    if talk.request.path == "/tokenize":
        return talk.whole({"tokens": list(range(len(body["content"])))})
    if body["prompt"] == "long":
        error = {"code": 400, "message": "the request exceeds the available context size",
                 "type": "exceed_context_size_error", "n_prompt_tokens": 9, "n_ctx": 8}  # fmt: skip
        return talk.whole({"error": error}, 400, "Bad Request")
    if body["prompt"] == "loading":
        error = {"code": 503, "message": "Loading model", "type": "unavailable_error"}
        return talk.whole({"error": error}, 503, "Service Unavailable")
    end = {"index": 0, "content": "", "tokens": [], "id_slot": 0, "stop": True, "model": "gpt-3.5",
           "tokens_predicted": 4, "tokens_evaluated": 6, "generation_settings": {}, "prompt": "p",
           "has_new_line": False, "truncated": False, "stopping_word": "", "tokens_cached": 9,
           "stop_type": body["prompt"], "timings": {}}  # fmt: skip
    if not body.get("stream"):
        return talk.whole({**end, "content": " a tree"})
    if body["prompt"] == "crash":
        return talk.stream(*lines({"content": "a", "stop": False}),
                           'error: {"code": 500, "message": "broken"}\n\n')  # fmt: skip
    parts = [{"index": 0, "content": c, "tokens": [1], "stop": False, "id_slot": -1,
              "tokens_predicted": 1, "tokens_evaluated": 6} for c in (" a", " tree")]  # fmt: skip
    return talk.stream(*lines(*parts, end))


@pytest.mark.parametrize(
    ("stop_type", "reason"), [("limit", "length"), ("eos", "stop"), ("word", "stop")]
)
async def test_llama_server(stop_type, reason):
    with serving(llama_server) as server:
        llm = HTTPEndpoint.llama_server(server.url + "/", trust_env=False)
        text, facts = info(llm, stop_type, n_predict=4, grammar="g")
        assert text == " a tree"
        assert facts["finish_reason"] == reason
        assert facts["token_usage"]["total_tokens"] == 10
        assert server.requests[0].path == "/completion"
        assert server.requests[0].json == {"prompt": stop_type, "n_predict": 4, "grammar": "g"}
        texts, facts = await streamed(llm, stop_type)
        assert texts == [" a", " tree"]
        assert facts["finish_reason"] == reason
        assert facts["token_usage"]["completion_tokens"] == 4
        assert llm.get_num_tokens("four") == 4


def test_llama_servers_errors():
    with serving(llama_server) as server:
        llm = HTTPEndpoint.llama_server(server.url, trust_env=False)
        with pytest.raises(ContextOverflowError):
            llm.invoke("long")
        with pytest.raises(ModelAPIError, match="Loading model") as caught:
            llm.invoke("loading")
        assert caught.value.is_retryable
        with pytest.raises(ModelAPIError, match="broken") as caught:
            list(llm.stream("crash"))
        assert caught.value.partial_text == "a"


# --- TGI's /generate and /generate_stream ---


def tgi(talk):
    body = talk.request.json
    if talk.request.path == "/tokenize":
        text = body["inputs"]
        tokens = [{"id": i, "text": c, "start": i, "stop": i + 1} for i, c in enumerate(text)]
        return talk.whole(tokens)
    reason = body["inputs"]
    if reason == "long":
        message = "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 4096"
        return talk.whole({"error": message.replace("`", ""), "error_type": "validation"}, 422)
    if reason == "busy":
        return talk.whole({"error": "Model is overloaded", "error_type": "overloaded"}, 429)
    details = {"finish_reason": reason, "generated_tokens": 3, "seed": None}
    if talk.request.path == "/generate":
        return talk.whole({"generated_text": " a tree", "details": {
            **details, "prefill": [], "tokens": [], "best_of_sequences": None}})  # fmt: skip

    def token(index, text, special=False, **more):
        return {"index": index, "token": {"id": 1, "text": text, "logprob": -0.1,
                "special": special}, "generated_text": None, "details": None, **more}  # fmt: skip

    if reason == "crash":
        error = {"error": "Request failed during generation: x", "error_type": "generation"}
        return talk.stream(*lines(token(1, "a"), error))
    end = token(3, "</s>", True, generated_text=" a tree", details={**details, "input_length": 5})
    parts = lines(token(1, " a"), token(2, " tree"), end)
    return talk.stream(*(part.replace("data: ", "data:") for part in parts))


@pytest.mark.parametrize(
    ("told", "reason"), [("length", "length"), ("eos_token", "stop"), ("stop_sequence", "stop")]
)
async def test_tgi(told, reason):
    with serving(tgi) as server:
        llm = HTTPEndpoint.tgi(server.url, trust_env=False)
        text, facts = info(llm, told, max_new_tokens=3, stop=["x"])
        assert text == " a tree"
        assert facts["finish_reason"] == reason
        assert facts["token_usage"] == {"completion_tokens": 3}
        assert server.requests[0].path == "/generate"
        assert server.requests[0].json == {
            "inputs": told,
            "parameters": {"stop": ["x"], "details": True, "max_new_tokens": 3},
        }
        texts, facts = await streamed(llm, told)
        assert texts == [" a", " tree"]
        assert facts["finish_reason"] == reason
        assert facts["token_usage"] == {"prompt_tokens": 5, "completion_tokens": 3}
        assert server.requests[1].path == "/generate_stream"
        assert llm.get_num_tokens("four") == 4


def test_tgis_errors():
    with serving(tgi) as server:
        llm = HTTPEndpoint.tgi(server.url, trust_env=False)
        with pytest.raises(ContextOverflowError):
            llm.invoke("long")
        with pytest.raises(ModelRateLimitError, match="Model is overloaded"):
            llm.invoke("busy")
        with pytest.raises(ModelAPIError, match="failed during generation") as caught:
            list(llm.stream("crash"))
        assert caught.value.partial_text == "a"


# --- fields of one's own ---


@pytest.mark.parametrize("name", ["stream", "stream_format"])
def test_fields_count_before_a_presets(name):
    llm = HTTPEndpoint.openai("http://host/v1", "m", **{name: None})
    assert llm.stream_format is None
    assert llm.tokenizer.url == "http://host/tokenize"
    own = {"format": "ndjson"}
    assert HTTPEndpoint.tgi("http://host", **{name: own}).stream_format.format == "ndjson"


@pytest.mark.parametrize(
    "make",
    [
        lambda **fields: HTTPEndpoint.openai("http://host/v1", "m", **fields),
        lambda **fields: HTTPEndpoint.ollama("http://host", "m", **fields),
        lambda **fields: HTTPEndpoint.llama_server("http://host", **fields),
        lambda **fields: HTTPEndpoint.tgi("http://host", **fields),
    ],
)
def test_a_preset_is_only_fields(make):
    llm = make(params={"temperature": 0})
    assert type(llm) is HTTPEndpoint
    assert HTTPEndpoint(**{name: getattr(llm, name) for name in llm.model_fields_set}) == llm
    with pytest.raises(ValueError, match="Did you mean 'temperature'"):
        make(params={"temprature": 0})
