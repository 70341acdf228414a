"""Streams: several at once, left early, failing, at the end of the process and after a fork."""

from __future__ import annotations

import asyncio
import os
import textwrap
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from torch_tiny import NO_END, eventually, facts, tiny

from langchain_wrap import Timeout
from langchain_wrap.models import Transformers

PROMPTS = ["a", "the cat", "né €", "hello", "in the end", "0123456789" * 4, "", "x y z"]


def generating() -> list[threading.Thread]:
    return [one for one in threading.enumerate() if one.name == "transformers-generate"]


@pytest.fixture(scope="module")
def endless() -> Transformers:
    model, own = tiny(max_position_embeddings=100_000)
    return Transformers(
        model=model, tokenizer=own, temperature=0, max_new_tokens=50_000, generation=NO_END
    )


def test_it_is_a_stream(llm):
    pieces = list(llm.stream("hello"))
    assert "".join(pieces) == llm.invoke("hello")
    assert len([piece for piece in pieces if piece]) > 4


def test_the_first_piece_comes_before_the_last(endless):
    stream = endless.stream("hello")
    assert next(stream)
    assert len(generating()) == 1
    stream.close()
    assert not generating()


def test_several_at_once_give_what_they_give_alone(llm):
    alone = [llm.invoke(prompt) for prompt in PROMPTS]
    streams = [llm.stream(prompt) for prompt in PROMPTS]
    texts = [""] * len(PROMPTS)
    live = set(range(len(PROMPTS)))
    while live:  # a piece of each in turn
        for number in sorted(live):
            piece = next(streams[number], None)
            if piece is None:
                live.remove(number)
            else:
                texts[number] += piece
    assert texts == alone
    assert not generating()


def test_from_many_threads_and_with_batches_in_between(llm):
    drawn = {"temperature": 1.1, "seed": 3}
    alone = [llm.invoke(prompt, **drawn) for prompt in PROMPTS]

    def ask(number: int) -> bool:
        which = number % len(PROMPTS)
        if number % 3 == 0:
            return llm.batch(PROMPTS, **drawn) == alone
        return "".join(llm.stream(PROMPTS[which], **drawn)) == alone[which]

    with ThreadPoolExecutor(8) as threads:
        assert all(threads.map(ask, range(40)))


def test_many_async_streams(llm):
    alone = [llm.invoke(prompt) for prompt in PROMPTS]

    async def read(prompt: str) -> str:
        return "".join([piece async for piece in llm.astream(prompt)])

    async def main() -> list[str]:
        return await asyncio.gather(*(read(prompt) for prompt in PROMPTS))

    assert asyncio.run(main()) == alone


class TestLeaving:
    def test_the_generation_ends_at_the_next_token(self, endless):
        for _ in range(5):
            stream = endless.stream("hello")
            next(stream)
            stream.close()
            assert not generating()

    def test_a_generator_that_is_dropped(self, endless):
        stream = endless.stream("hello")
        next(stream)
        del stream
        assert eventually(lambda: not generating())

    def test_a_task_that_is_cancelled(self, endless):
        async def read() -> None:
            async for _ in endless.astream("hello"):
                pass

        async def main() -> None:
            task = asyncio.create_task(read())
            while not generating():
                await asyncio.sleep(0.01)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

        asyncio.run(main())
        assert eventually(lambda: not generating())

    def test_a_stop(self, endless):
        text = ""
        for piece in endless.stream("hello"):
            text += piece
            if len(text) > 8:
                break
        stop = text[3:6]
        assert "".join(endless.stream("hello", stop=[stop])) == text[: text.index(stop)]
        assert eventually(lambda: not generating())

    def test_a_timeout(self, endless):
        from langchain_core.exceptions import ModelTimeoutError

        short = endless.model_copy(update={"timeout": Timeout(total=0.3)})
        with pytest.raises(ModelTimeoutError):
            list(short.stream("hello"))
        assert eventually(lambda: not generating())

    def test_usage_of_what_was_read_until_a_stop(self, llm):
        """The last step never comes where a stop closes the stream."""
        from langchain_core.tracers.run_collector import RunCollectorCallbackHandler

        stop = llm.invoke("hello")[2:4]
        seen = RunCollectorCallbackHandler()
        list(llm.stream("hello", stop=[stop], config={"callbacks": [seen]}))
        found = seen.traced_runs[0].outputs["generations"][0][0]["generation_info"]
        assert found["token_usage"]["prompt_tokens"] == 5
        assert 1 < found["token_usage"]["completion_tokens"] < 12
        assert found["finish_reason"] == "stop"


class TestErrors:
    def test_one_in_the_thread_reaches_the_caller(self):
        model, own = tiny()
        llm = Transformers(model=model, tokenizer=own, temperature=0, max_new_tokens=9)
        steps = []

        def look(*_: object) -> None:
            steps.append(1)
            if len(steps) == 3:
                raise RuntimeError("the card fell off the bus")

        handle = model.register_forward_pre_hook(look)
        with pytest.raises(RuntimeError, match="fell off"):
            list(llm.stream("hello"))
        handle.remove()
        assert not generating()
        assert "".join(llm.stream("hello")) == llm.invoke("hello")

    def test_memory_is_not_halved_but_told(self):
        import torch

        model, own = tiny()
        llm = Transformers(model=model, tokenizer=own)

        def look(*_: object) -> None:
            raise torch.OutOfMemoryError("CUDA out of memory")

        model.register_forward_pre_hook(look)
        with pytest.raises(torch.OutOfMemoryError):
            list(llm.stream("hello"))

    def test_before_the_thread(self, llm):
        with pytest.raises(ValueError, match="top_p"):
            list(llm.stream("hello", top_p=7))
        assert not generating()


TINY = """
import sys, threading
from torch_tiny import NO_END, tiny
from langchain_wrap.models import Transformers
model, tokenizer = tiny(max_position_embeddings=100_000)
llm = Transformers(
    model=model, tokenizer=tokenizer, temperature=0, max_new_tokens=50_000, generation=NO_END
)
"""


@pytest.mark.parametrize(
    "way",
    [
        "stream = llm.stream('hello'); next(stream); keep = stream",
        "threading.Thread(target=llm.invoke, args=('hello',), daemon=True).start(); "
        "import time; time.sleep(1)",
        "s = llm.stream('hello'); next(s); threading.stack_size(); sys.exit(0)",
    ],
)
def test_the_process_ends_while_it_generates(run_python, way):
    done = run_python(TINY + way + "\nprint('done')\n")
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_after_a_fork(run_python):
    """Torch's own threads do not come along into the child."""
    code = TINY + textwrap.dedent("""
        import os, torch, warnings
        warnings.simplefilter("ignore")
        short = llm.model_copy(update={"max_new_tokens": 20})
        torch.mm(torch.rand(900, 900), torch.rand(900, 900))
        text = short.invoke("hello " * 200)
        stream = llm.stream("hello")
        next(stream)
        child = os.fork()
        if not child:
            same = "".join(short.stream("hello " * 200)) == text == short.invoke("hello " * 200)
            os._exit(0 if same else 1)
        stream.close()
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
    """)
    done = run_python(code)
    assert done.stdout == "0\n", done.stderr


def test_it_costs_the_same_at_the_end_as_at_the_beginning(endless):
    """No re-decoding of the whole text: what is decoded at a step is bounded."""
    engine = endless._engine()
    seen = []
    plain = engine.decode
    try:
        engine.decode = lambda tokens: seen.append(len(tokens)) or plain(tokens)
        facts(endless, "hello", max_new_tokens=300)
        started = time.monotonic()
        list(endless.stream("hello", max_new_tokens=300))
        assert time.monotonic() - started < 60
    finally:
        del engine.decode
    assert max(seen) <= 64
