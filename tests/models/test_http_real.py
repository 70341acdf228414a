"""A real server: llama.cpp's own, with a real model, and another client of the same."""

from __future__ import annotations

import asyncio

import pytest
from langchain_core.exceptions import ContextOverflowError, ModelAuthenticationError
from llama_helpers import eventually
from llama_server import llama_server

from langchain_wrap.models import HTTPEndpoint

xllamacpp = pytest.importorskip("xllamacpp")

KEY = "sk-a1b2c3d4e5f6"
PROMPTS = ["The capital of France is", "Once upon a time", "def add(a, b):\n", 'Naïve "☃" 🙂 {x}']
TOKENS = 24


@pytest.fixture(scope="module")
def url(model_file):
    server = llama_server(model_file, KEY, n_ctx=512)
    return Held(server.listening_address, server)


class Held(str):
    """The server's URL, which keeps the server."""

    __slots__ = ("server",)

    def __new__(cls, url, server):
        made = super().__new__(cls, url)
        made.server = server
        return made


@pytest.fixture(scope="module")
def ours(url):
    return HTTPEndpoint.openai(
        f"{url}/v1", api_key=KEY, trust_env=False, params={"temperature": 0, "cache_prompt": False}
    )


@pytest.fixture(scope="module")
def theirs(url):
    langchain_openai = pytest.importorskip("langchain_openai")
    import httpx

    with httpx.Client(trust_env=False) as client:
        yield langchain_openai.OpenAI(
            base_url=f"{url}/v1",
            api_key=KEY,
            model="any",
            temperature=0,
            max_tokens=TOKENS,
            extra_body={"cache_prompt": False},
            http_client=client,
        )


@pytest.fixture(scope="module")
def native(url):
    params = {"temperature": 0, "n_predict": TOKENS, "cache_prompt": False}
    return HTTPEndpoint.llama_server(str(url), api_key=KEY, trust_env=False, params=params)


@pytest.mark.parametrize("prompt", PROMPTS)
@pytest.mark.parametrize("stop", [None, [" the"], ["\n", ".", "é"]])
def test_the_same_text_as_langchain_openai(ours, theirs, native, prompt, stop):
    expected = theirs.invoke(prompt, stop=stop)
    assert ours.invoke(prompt, stop=stop, max_tokens=TOKENS) == expected
    assert "".join(ours.stream(prompt, stop=stop, max_tokens=TOKENS)) == expected
    assert "".join(theirs.stream(prompt, stop=stop)) == expected
    assert native.invoke(prompt, stop=stop) == expected
    assert "".join(native.stream(prompt, stop=stop)) == expected


def test_the_same_in_batches(ours, theirs):
    expected = [theirs.invoke(prompt) for prompt in PROMPTS]
    assert ours.batch(PROMPTS, max_tokens=TOKENS) == expected
    lists = ours.model_copy(update={"max_batch_size": 3})
    assert lists.batch(PROMPTS, max_tokens=TOKENS) == expected


def test_the_same_facts(ours, theirs, native):
    result = theirs.generate(PROMPTS[:1])
    expected = result.llm_output["token_usage"]
    for llm, params in ((ours, {"max_tokens": TOKENS}), (native, {})):
        told = llm.generate(PROMPTS[:1], **params)
        assert told.generations[0][0].generation_info["finish_reason"] == "length"
        for name in ("prompt_tokens", "completion_tokens", "total_tokens"):
            assert told.llm_output["token_usage"][name] == expected[name]


@pytest.mark.parametrize("text", ["", *PROMPTS, "a\0b", " leading", "<|im_start|>user"])
def test_the_same_tokens_as_the_engine(llm, ours, native, text):
    assert native.get_token_ids(text) == ours.get_token_ids(text) == llm.get_token_ids(text)


def test_the_usage_counts_the_tokens_of_the_tokenizer(native):
    counted = native.generate(PROMPTS[:1]).llm_output["token_usage"]["prompt_tokens"]
    assert counted == native.get_num_tokens(PROMPTS[0])


def test_a_wrong_key(url):
    llm = HTTPEndpoint.llama_server(str(url), api_key="sk-wrong-12345", trust_env=False)
    with pytest.raises(ModelAuthenticationError, match="Invalid API Key") as caught:
        llm.invoke("a")
    assert "wrong-12345" not in str(caught.value)


@pytest.mark.parametrize("call", ["whole", "streamed"])
def test_a_prompt_that_is_too_long(ours, native, call):
    for llm in (ours, native):
        with pytest.raises(ContextOverflowError, match="context size"):
            llm.invoke("a b " * 1000) if call == "whole" else list(llm.stream("a b " * 1000))


def busy_slots(url):
    import httpx

    with httpx.Client(trust_env=False, headers={"authorization": f"Bearer {KEY}"}) as client:
        return sum(slot["is_processing"] for slot in client.get(f"{url}/slots").json())


def test_the_engine_stops_when_nobody_reads_on(url, native):
    long = {"n_predict": 400, "ignore_eos": True}
    stream = native.stream("Once upon a time", **long)
    next(stream)
    assert busy_slots(url) == 1
    stream.close()
    assert eventually(lambda: busy_slots(url) == 0, patience=30)

    # Of a whole answer, this server looks for a closed connection only when it has ended.
    streamed = native.model_copy(update={"text": None})

    async def cancelled():
        task = asyncio.create_task(streamed.ainvoke("Once upon a time", **long))
        while not await asyncio.to_thread(busy_slots, url):
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancelled())
    assert eventually(lambda: busy_slots(url) == 0, patience=30)
