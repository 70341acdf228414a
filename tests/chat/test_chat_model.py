"""The chat face over an LLM: every path, its callbacks, its limits and its errors."""

from __future__ import annotations

import asyncio
import copy
import json
import pickle
import threading
import time

import pytest
from langchain_core.caches import InMemoryCache
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.exceptions import ModelTimeoutError
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage, SystemMessage
from langchain_core.outputs import GenerationChunk
from pydantic import Field, SecretStr, ValidationError
from scripted import LONG

from langchain_wrap import LLM, ChatModel, wrap


class Echo(LLM):
    """Says the last line of the user, two characters at a time."""

    closed: int = 0

    def _stream(self, prompt):
        said = prompt.rpartition("User: ")[2].partition("\n\nAssistant:")[0]
        try:
            for i in range(0, len(said), 2):
                yield said[i : i + 2]
        finally:
            self.closed += 1


class Heard(BaseCallbackHandler):
    """Writes down what it is told."""

    def __init__(self):
        self.events = []
        self.runs = set()

    def on_chat_model_start(self, serialized, messages, *, run_id, **kwargs):
        self.runs.add(run_id)
        self.events.append("start")
        self.kwargs = kwargs

    def on_llm_start(self, *args, **kwargs):
        self.events.append("llm start")

    def on_llm_new_token(self, token, **kwargs):
        self.events.append(token)

    def on_llm_end(self, response, **kwargs):
        self.events.append("end")
        self.message = response.generations[0][0].message

    def on_llm_error(self, error, **kwargs):
        self.events.append(repr(error))


def merged(chunks) -> AIMessageChunk:
    first, *rest = chunks
    return first + rest if rest else first


async def every_path(chat, given, **kwargs) -> dict[str, AIMessage]:
    """The answer of each path."""
    return {
        "invoke": await asyncio.to_thread(chat.invoke, given, **kwargs),
        "ainvoke": await chat.ainvoke(given, **kwargs),
        "batch": (await asyncio.to_thread(chat.batch, [given], **kwargs))[0],
        "abatch": (await chat.abatch([given], **kwargs))[0],
        "stream": merged(await asyncio.to_thread(lambda: list(chat.stream(given, **kwargs)))),
        "astream": merged([c async for c in chat.astream(given, **kwargs)]),
        "generate": (await asyncio.to_thread(chat.generate, [[HumanMessage(given)]], **kwargs))
        .generations[0][0]
        .message,
    }


class Reporting(LLM):
    """Reports what it knows about its completions."""

    def _stream(self, prompt):
        yield "a"
        usage = {"prompt_tokens": 5, "completion_tokens": 2}
        yield GenerationChunk(
            text="b",
            generation_info={"token_usage": usage, "finish_reason": "stop", "model_name": "r1"},
        )


async def test_every_path_gives_the_same_answer_with_usage_and_facts():
    answers = await every_path(Reporting().as_chat(), "hi")
    for path, answer in answers.items():
        assert answer.text == "ab", path
        assert answer.usage_metadata == {
            "input_tokens": 5,
            "output_tokens": 2,
            "total_tokens": 7,
        }, path
        assert answer.response_metadata["finish_reason"] == "stop", path
        assert answer.response_metadata["model_name"] == "r1", path


async def test_stops_are_enforced_in_every_path_also_those_of_the_fields():
    chat = Echo(stop=["!!"]).as_chat(stop=["??"])
    for given, stop in [("one two", ["tw"]), ("one !!two", None), ("one ??two", ["x"])]:
        for path, answer in (await every_path(chat, given, stop=stop)).items():
            assert answer.text == "one ", (path, given)
            assert answer.response_metadata["finish_reason"] == "stop"


def test_the_model_is_not_let_to_answer_for_the_user():
    said = "Paris.\n\nUser: And Spain?\n\nAssistant: Madrid."
    assert wrap(lambda prompt: said, name="f").as_chat().invoke("France?").text == "Paris."


def test_a_stream_has_one_id_and_ends_with_a_last_chunk():
    chunks = list(Reporting().as_chat().stream("hi"))
    assert len({chunk.id for chunk in chunks}) == 1
    assert [chunk.chunk_position for chunk in chunks] == [None] * (len(chunks) - 1) + ["last"]


def test_callbacks_are_told_each_chunk_once_before_it_goes_out():
    heard = Heard()
    for chunk in Echo().as_chat().stream("abcd", {"callbacks": [heard]}):
        assert heard.events[-1] == chunk.content
    assert heard.events == ["start", "ab", "cd", "", "end"]
    heard = Heard()
    Echo().as_chat().invoke("abcd", {"callbacks": [heard]})
    assert heard.events == ["start", "end"]
    assert heard.message.text == "abcd"


async def test_invoke_streams_to_those_who_listen():
    chat = Echo().as_chat()
    events = [e async for e in chat.astream_events("abcd", version="v2")]
    said = [e["data"]["chunk"].text for e in events if e["event"] == "on_chat_model_stream"]
    assert "".join(said) == "abcd"


@pytest.mark.parametrize("is_async", [False, True])
async def test_leaving_a_stream_early_closes_the_model_and_ends_the_run_normally(is_async):
    llm, heard = Echo(), Heard()
    chat = llm.as_chat()
    if is_async:
        stream = chat.astream("abcdef", {"callbacks": [heard]})
        await anext(stream)
        await stream.aclose()
    else:
        stream = chat.stream("abcdef", {"callbacks": [heard]})
        next(stream)
        stream.close()
    assert llm.closed == 1
    assert heard.events[-1] == "end"
    assert heard.message.text == "ab"
    assert heard.message.response_metadata["finish_reason"] == "cancelled"


async def test_cancelling_a_task_stops_the_model():
    stopped = threading.Event()

    def slow(prompt, cancel):
        if cancel.wait(LONG):
            stopped.set()
        return "late"

    task = asyncio.create_task(wrap(slow).as_chat().ainvoke("hi"))
    await asyncio.sleep(0.1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await asyncio.to_thread(stopped.wait, LONG)


class Meeting(LLM):
    """Answers once so many calls are inside at the same time."""

    size: int = 8

    def model_post_init(self, context):
        super().model_post_init(context)
        self._barrier = threading.Barrier(self.size)

    _barrier: threading.Barrier = None

    def _call(self, prompt):
        self._barrier.wait(LONG)
        return prompt.rpartition("User: ")[2].partition("\n")[0]


async def test_a_batch_runs_side_by_side_in_order():
    chat = Meeting(size=48).as_chat()
    asked = [str(n) for n in range(48)]
    assert [m.text for m in await asyncio.to_thread(chat.batch, asked)] == asked
    assert [m.text for m in await chat.abatch(asked)] == asked


async def test_max_concurrency_bounds_a_batch():
    inside, most, lock = 0, 0, threading.Lock()

    def count(prompt):
        nonlocal inside, most
        with lock:
            inside += 1
            most = max(most, inside)
        time.sleep(0.02)
        with lock:
            inside -= 1
        return "x"

    chat = wrap(count).as_chat()
    await asyncio.to_thread(chat.batch, ["a"] * 9, {"max_concurrency": 3})
    await chat.abatch(["a"] * 9, {"max_concurrency": 3})
    assert most == 3
    with pytest.raises(ValueError, match="max_concurrency"):
        chat.batch(["a"], {"max_concurrency": 0})


class InLists(LLM):
    """Answers lists of prompts, and remembers how long they were."""

    sizes: list[int] = Field(default_factory=list)

    def _batch(self, prompts):
        self.sizes.append(len(prompts))
        return ["bad" if "bad" in p else "ok" for p in prompts]


async def test_a_batch_is_one_list_for_a_batch_method():
    llm = InLists()
    chat = llm.as_chat()
    await asyncio.to_thread(chat.batch, ["a"] * 16)
    await chat.abatch(["a"] * 16)
    await asyncio.to_thread(chat.batch, ["a"] * 10, {"max_concurrency": 4})
    assert llm.sizes == [16, 16, 4, 4, 2]


def test_a_member_of_a_batch_that_fails_before_the_model_does_not_hold_up_the_others():
    llm = InLists()
    got = llm.as_chat().batch(["a", [], "b"], return_exceptions=True)
    assert [getattr(m, "text", type(m).__name__) for m in got] == ["ok", "ValueError", "ok"]
    assert llm.sizes == [2]


def test_one_failure_loses_nothing_else():
    def fails(prompt):
        if "bad" in prompt:
            raise RuntimeError("no")
        return "ok"

    chat = wrap(fails).as_chat()
    got = chat.batch(["a", "bad", "c"], return_exceptions=True)
    assert [getattr(m, "text", repr(m)) for m in got] == ["ok", "RuntimeError('no')", "ok"]
    with pytest.raises(RuntimeError, match="no"):
        chat.batch(["a", "bad", "c"])


def test_the_first_failure_of_a_batch_ends_what_is_running():
    running, stopped = threading.Event(), threading.Event()

    def work(prompt, cancel):
        if "bad" in prompt:
            running.wait(LONG)
            raise RuntimeError("no")
        running.set()
        if cancel.wait(LONG):
            stopped.set()
        return "ok"

    with pytest.raises(RuntimeError):
        wrap(work).as_chat().batch(["good", "bad"])
    assert stopped.wait(LONG)


def test_the_limits_of_the_llm_hold_for_the_chat():
    llm = wrap(lambda prompt: time.sleep(LONG), timeout=0.05)
    with pytest.raises(ModelTimeoutError):
        llm.as_chat().invoke("hi")
    with pytest.raises(ValidationError, match="timeout is a field of the LLM"):
        wrap(lambda prompt: prompt).as_chat(timeout=5)


def test_retries_of_the_llm_hold_for_the_chat():
    calls = []

    def flaky(prompt):
        calls.append(prompt)
        if len(calls) < 3:
            raise ConnectionError("again")
        return "ok"

    assert wrap(flaky, max_retries=2).as_chat().invoke("hi").text == "ok"
    assert len(calls) == 3


def test_parameters_go_to_the_llm_and_unknown_ones_are_an_error():
    def f(prompt, temperature=1.0):
        return str(temperature)

    chat = wrap(f).as_chat()
    assert chat.invoke("hi", temperature=0.5).text == "0.5"
    assert chat.bind(temperature=0.2).invoke("hi").text == "0.2"
    with pytest.raises(TypeError, match="takes no parameter 'temprature'"):
        chat.invoke("hi", temprature=0.5)


class Keyed(LLM):
    api_key: SecretStr = SecretStr("sk-very-secret-1")

    def _call(self, prompt, user_key=None):
        if "fail" in prompt:
            raise RuntimeError(f"401 for {self.api_key.get_secret_value()} {user_key}")
        return "ok"


def test_no_secret_shows():
    heard, cache = Heard(), InMemoryCache()
    chat = Keyed().as_chat(cache=cache, callbacks=[heard])
    chat.invoke("hi", user_key=SecretStr("sk-very-secret-2"))
    with pytest.raises(RuntimeError) as caught:
        chat.invoke("fail", user_key=SecretStr("sk-very-secret-2"))
    with pytest.raises(RuntimeError) as plain:
        chat.invoke("fail", user_key="sk-very-secret-3")
    bound = chat.bind(user_key="sk-very-secret-3")
    shown = [
        repr(chat),
        str(chat),
        repr(bound),
        str(caught.value),
        str(plain.value),
        repr(caught.value.__context__),
        repr(heard.events),
        repr(heard.kwargs),
        repr(cache._cache),
        json.dumps(chat.to_json(), default=str),
        repr(chat.asdict()),
    ]
    assert not [text for text in shown if "very-secret" in text]


def test_the_cache_tells_configurations_and_parameters_apart():
    calls = []

    class Counting(LLM):
        flavour: str = "plain"

        def _call(self, prompt, temperature=1.0):
            calls.append(prompt)
            return f"{self.flavour} {temperature}"

    cache = InMemoryCache()
    one = Counting().as_chat(cache=cache)
    assert one.invoke("hi").text == one.invoke("hi").text == "plain 1.0"
    assert len(calls) == 1
    assert one.invoke("hi", temperature=0.5).text == "plain 0.5"
    assert Counting(flavour="other").as_chat(cache=cache).invoke("hi").text == "other 1.0"
    assert one.invoke("hi", stop=["l"]).text == "p"
    assert Counting().as_chat(cache=cache, template="chatml").invoke("hi").text == "plain 1.0"
    assert len(calls) == 5


def test_what_the_llm_shares_is_taken_over():
    heard, cache = Heard(), InMemoryCache()
    llm = Echo(callbacks=[heard], cache=cache, tags=["t"], metadata={"m": 1}, name="echo")
    chat = llm.as_chat()
    chat.invoke("hi")
    assert heard.events == ["start", "end"]
    assert (chat.cache, chat.tags, chat.metadata["m"], chat.name) == (cache, ["t"], 1, "echo")


def test_copies_and_pickles_work():
    chat = Echo().as_chat(template="chatml")
    for other in (copy.copy(chat), copy.deepcopy(chat), pickle.loads(pickle.dumps(chat))):
        assert "hi" in other.invoke("hi").text
        assert other == chat


def test_tokens_are_counted_by_the_llms_own_tokenizer_where_it_does_not_report_them():
    class Counts:
        def generate(self, prompt):
            return "four"

        def tokenize(self, text):
            return list(text.encode())

    chat = wrap(Counts()).as_chat(template="{% for m in messages %}{{ m.content }}{% endfor %}")
    assert chat.invoke("hello").usage_metadata == {
        "input_tokens": 5,
        "output_tokens": 4,
        "total_tokens": 9,
    }
    assert chat.get_num_tokens_from_messages([HumanMessage("hello")]) == 5
    with pytest.raises(NotImplementedError):
        Echo().as_chat().get_num_tokens_from_messages([HumanMessage("hello")])


def test_a_reasoning_model_gives_its_reasoning_apart():
    chat = wrap(lambda prompt: "<think>\nhm\n</think>\n\nyes", name="f").as_chat()
    for answer in (chat.invoke("x"), merged(list(chat.stream("x")))):
        assert answer.text == "yes"
        assert answer.additional_kwargs["reasoning_content"].strip() == "hm"
        assert [b["type"] for b in answer.content_blocks] == ["reasoning", "text"]
    answer = wrap(lambda prompt: "<think>a</think>b", name="f").as_chat(reasoning_tags=None)
    assert answer.invoke("x").text == "<think>a</think>b"
    begun = wrap(lambda prompt: "hm</think>yes", name="f").as_chat(
        template="{{ messages[0].content }}<think>\n"
    )
    assert begun.invoke("x").text == "yes"


def test_content_blocks_v1():
    chat = wrap(lambda prompt: "<think>hm</think>yes", name="f").as_chat(output_version="v1")
    wanted = [("reasoning", "hm"), ("text", "yes")]
    for answer in (chat.invoke("x"), merged(list(chat.stream("x")))):
        blocks = [(b["type"], b[b["type"]]) for b in answer.content]
        assert blocks == wanted


def test_a_template_is_a_family_or_a_text():
    shown = wrap(lambda prompt: prompt, name="f")
    loud = wrap(lambda prompt: prompt.upper(), name="f")
    own = loud.as_chat(template="{% for m in messages %}{{ m.role }} {{ m.content }}. {% endfor %}")
    assert own.invoke([SystemMessage("s"), HumanMessage("h")]).text == "SYSTEM S. USER H. "
    assert "<|im_start|>" in shown.as_chat(template="chatml", stop=None).invoke("h").text
    with pytest.raises(ValidationError, match="no template family 'chatmll'"):
        shown.as_chat(template="chatmll")
    with pytest.raises(ValidationError, match="has no field 'templat'"):
        shown.as_chat(templat="chatml")


class Templated(LLM):
    def _chat_template(self):
        return "{{ bos_token }}{% for m in messages %}({{ m.content }}){% endfor %}{{ mood }}"

    def _special_tokens(self):
        return {"bos_token": "<s>"}

    def _call(self, prompt):
        return prompt


def test_the_models_own_template_comes_first():
    assert Templated().as_chat().invoke("hi").text == "<s>(hi)"
    chat = Templated().as_chat(template_parameters={"mood": "!"})
    assert chat.invoke("hi").text == "<s>(hi)!"


def test_messages_that_are_no_text_are_refused():
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA"}}
    with pytest.raises(ValueError, match="image"):
        Echo().as_chat().invoke([HumanMessage([{"type": "text", "text": "see"}, image])])


def test_a_class_without_chat_is_an_error_that_says_what_to_write():
    class Nothing(ChatModel):
        pass

    with pytest.raises(TypeError, match="Nothing has no `_chat"):
        Nothing()


def test_an_empty_answer_is_an_answer():
    chat = wrap(lambda prompt: "", name="f").as_chat()
    assert chat.invoke("x").text == ""
    assert merged(list(chat.stream("x"))).text == ""


def test_text_before_an_error_in_a_stream_is_delivered_and_told():
    def breaks(prompt):
        yield "some"
        raise RuntimeError("line cut")

    heard = Heard()
    stream = wrap(breaks).as_chat().stream("x", {"callbacks": [heard]})
    assert next(stream).text == "some"
    with pytest.raises(RuntimeError, match="line cut"):
        next(stream)
    assert heard.events == ["start", "some", "RuntimeError('line cut')"]


def test_langsmith_is_told_the_model():
    def f(prompt, temperature=1.0):
        return "x"

    params = wrap(f, name="mine").as_chat()._get_ls_params(stop=["a"], temperature=0.5)
    assert params["ls_model_type"] == "chat"
    assert params["ls_model_name"] == "mine"


def test_what_a_template_cannot_take_is_not_promised():
    with pytest.raises(ValidationError, match="takes is for a `_chat` of your own"):
        Echo().as_chat(takes=("image",))
