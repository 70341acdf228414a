"""`wrap`: what can be wrapped, how it is read, and what it refuses."""

import asyncio
import copy
import functools
import multiprocessing
import pickle

import pytest
from langchain_core.caches import InMemoryCache
from langchain_core.language_models.fake_chat_models import FakeListChatModel
from langchain_core.language_models.llms import LLM as CoreLLM
from langchain_core.runnables import RunnableLambda
from pydantic import ValidationError

from langchain_wrap import LLM, CancelToken, wrap


def plain(prompt):
    return prompt + "!"


async def coroutine(prompt):
    await asyncio.sleep(0)
    return prompt + "!"


def generator(prompt):
    yield from prompt
    yield "!"


async def async_generator(prompt):
    for letter in prompt:
        yield letter
    yield "!"


def iterator(prompt):
    return iter([*prompt, "!"])


def many(prompts):
    return [prompt + "!" for prompt in prompts]


async def amany(prompts):
    return [prompt + "!" for prompt in prompts]


KINDS = {
    "plain": (plain, {}),
    "coroutine": (coroutine, {}),
    "generator": (generator, {}),
    "async generator": (async_generator, {}),
    "iterator": (iterator, {"stream": True}),
    "batch": (many, {"batch": True}),
    "async batch": (amany, {"batch": True}),
    "lambda": (lambda prompt: prompt + "!", {}),
    "partial": (functools.partial(lambda mark, prompt: prompt + mark, "!"), {}),
    "partial of a generator": (functools.partial(generator), {}),
    "bound method": ("{}!".format, {}),
}


@pytest.mark.parametrize("kind", KINDS)
async def test_every_kind_works_on_every_path(kind):
    target, options = KINDS[kind]
    llm = wrap(target, **options)
    assert isinstance(llm, CoreLLM)
    assert llm.invoke("hey") == "hey!"
    assert await llm.ainvoke("hey") == "hey!"
    assert llm.batch(["a", "b"]) == ["a!", "b!"]
    assert await llm.abatch(["a", "b"]) == ["a!", "b!"]
    assert "".join(llm.stream("hey")) == "hey!"
    assert "".join([piece async for piece in llm.astream("hey")]) == "hey!"
    assert llm.invoke("hey", stop=["y"]) == "he"


@pytest.mark.parametrize("kind", ["generator", "async generator", "iterator"])
def test_streams_come_piece_by_piece(kind):
    target, options = KINDS[kind]
    assert list(wrap(target, **options).stream("hey")) == ["h", "e", "y", "!"]


def test_a_function_gets_only_what_it_names():
    seen = {}

    def listening(text, stop, cancel, temperature=0.0):
        seen.update(stop=stop, cancel=cancel, temperature=temperature)
        return text

    llm = wrap(listening)
    llm.invoke("p", stop=["x"], temperature=0.5)
    assert seen["stop"] == ["x"]
    assert isinstance(seen["cancel"], CancelToken)
    assert seen["temperature"] == 0.5


def test_open_parameters_are_passed_on():
    llm = wrap(lambda prompt, **parameters: repr(parameters))
    assert llm.invoke("p", top_k=3) == "{'top_k': 3}"


def test_an_unknown_parameter_is_refused_by_name():
    llm = wrap(lambda prompt, temperature=0.0: prompt, name="mine")
    with pytest.raises(TypeError, match=r"no parameter 'temprature'.*temperature"):
        llm.invoke("p", temprature=1)


def test_as_a_decorator():
    @wrap
    def bare(prompt):
        return prompt

    @wrap(name="other", concurrency=3, stop=["."])
    def called(prompt):
        return prompt

    assert bare.invoke("x.y") == "x.y"
    assert bare.name == "bare"
    assert (called.name, called.concurrency) == ("other", 3)
    assert called.invoke("x.y") == "x"


class Service:
    """An in-house client with several ways to be asked."""

    def generate(self, prompt):
        return f"generate {prompt}"

    def stream(self, prompt):
        yield from ("stream", prompt)

    async def agenerate(self, prompt):
        return f"agenerate {prompt}"

    def batch(self, prompts):
        return [f"batch {prompt}" for prompt in prompts]

    def tokenize(self, text):
        return [len(word) for word in text.split()]


async def test_an_object_with_fitting_methods():
    llm = wrap(Service())
    assert llm.invoke("p") == "batch p"
    assert list(llm.stream("p")) == ["stream", "p"]
    assert llm.get_num_tokens("one two three") == 3


async def test_an_object_that_can_be_called():
    class Model:
        async def __call__(self, prompt):
            return prompt.upper()

    assert await wrap(Model()).ainvoke("p") == "P"
    assert wrap(Model()).invoke("p") == "P"


def test_an_llm_of_langchain_core_is_adopted():
    class Theirs(CoreLLM):
        n: int = 3

        def _call(self, prompt, stop=None, run_manager=None, **kwargs):
            return prompt[: self.n]

        @property
        def _llm_type(self):
            return "theirs"

    llm = wrap(Theirs(n=2))
    assert isinstance(llm, LLM)
    assert llm.batch(["hello", "world"]) == ["he", "wo"]
    assert llm.invoke("hello", stop=["e"]) == "h"


def test_an_llm_of_ours_is_kept_or_copied_with_other_fields():
    llm = wrap(plain)
    assert wrap(llm) is llm
    other = wrap(llm, concurrency=2)
    assert (other.concurrency, llm.concurrency) == (2, None)
    assert other.invoke("x") == "x!"


@pytest.mark.parametrize(
    ("target", "says"),
    [
        ("model.gguf", "cannot wrap 'model.gguf'"),
        (42, "cannot wrap 42"),
        (object(), "cannot wrap object"),
        (Service, r"wrap\(Service\(\.\.\.\)\)"),
        (lambda: "x", "takes no prompt"),
        (lambda *, prompt: prompt, "takes no prompt"),
        (lambda prompt, style: prompt, "needs 'style'"),
        (RunnableLambda(plain), "Runnable already"),
        (FakeListChatModel(responses=["x"]), "Runnable already"),
    ],
)
def test_what_cannot_be_wrapped_is_refused_at_once(target, says):
    with pytest.raises(TypeError, match=says):
        wrap(target)


def test_a_generator_is_no_batch_function():
    with pytest.raises(TypeError, match="batch=True"):
        wrap(generator, batch=True)
    with pytest.raises(TypeError, match="exclude"):
        wrap(plain, batch=True, stream=True)


def test_options_are_checked():
    with pytest.raises(TypeError, match=r"no option 'concurency'.*'concurrency'"):
        wrap(plain, concurency=1)
    with pytest.raises(ValidationError):
        wrap(plain, concurrency=0)


def test_a_wrong_result_names_the_function():
    @wrap
    def number(prompt):
        return 42

    with pytest.raises(TypeError, match=r"number\(\) must return a str, but it gave 42 \(int\)"):
        number.invoke("p")


def test_functions_that_differ_share_no_cache_entry():
    cache = InMemoryCache()

    def make(suffix):
        return wrap(lambda prompt: prompt + suffix, cache=cache)

    one, two, again = make("1"), make("2"), make("1")
    assert [llm.invoke("p") for llm in (one, two, again)] == ["p1", "p2", "p1"]
    assert len(cache._cache) == 2


def test_identity_is_the_same_for_equal_functions():
    assert wrap(plain)._identifying_params == wrap(plain)._identifying_params
    assert wrap(plain)._identifying_params["model_name"] == "plain"


@wrap(concurrency=2)
def decorated(prompt):
    return prompt + "?"


@pytest.mark.parametrize("llm", [wrap(plain), decorated, wrap(decorated, concurrency=1)])
def test_pickle_and_copies(llm):
    expected = llm.invoke("p")
    for other in (pickle.loads(pickle.dumps(llm)), copy.deepcopy(llm), copy.copy(llm)):
        assert other is not llm
        assert other.invoke("p") == expected
        assert other.concurrency == llm.concurrency


def test_another_process():
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.apply(decorated.invoke, ("p",)) == "p?"
