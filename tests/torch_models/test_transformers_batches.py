"""Which prompts are computed together, and what happens where memory is too small for them."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch_tiny import NO_END, eventually, tiny

from langchain_wrap.models import Transformers
from langchain_wrap.models.transformers_batch import together
from langchain_wrap.models.transformers_engine import is_out_of_memory

PROMPTS = [("abcdefghij" * 5)[: 3 * number + 2] for number in range(13)]


@given(
    st.lists(st.integers(1, 50), max_size=20),
    st.integers(1, 20),
    st.integers(1, 300),
    st.none() | st.integers(10, 80),
)
def test_bounds(lengths, room, most_tokens, context):
    parts = list(together(lengths, room, most_tokens, context))
    assert sorted(row for part in parts for row in part) == list(range(len(lengths)))
    for part in parts:
        width = max(lengths[row] for row in part) + room
        assert len(part) == 1 or width * len(part) <= most_tokens
        assert len(part) == 1 or context is None or width <= context
    in_order = [lengths[row] for part in parts for row in part]
    assert in_order == sorted(lengths, reverse=True)


@contextmanager
def watched(llm: Transformers, most_rows: int | None = None) -> Iterator[list[tuple[int, ...]]]:
    """Note the shapes of what the model is given; more rows than it may have are too many."""
    shapes: list[tuple[int, ...]] = []

    def look(module: Any, args: Any, kwargs: Any) -> None:
        shape = tuple(kwargs["input_ids"].shape)
        if shape[1] > 1:
            shapes.append(shape)
        if most_rows is not None and shape[0] > most_rows:
            raise torch.OutOfMemoryError(f"CUDA out of memory: {shape}")

    handle = llm.model.register_forward_pre_hook(look, with_kwargs=True)
    try:
        yield shapes
    finally:
        handle.remove()


@pytest.fixture
def llm() -> Transformers:
    model, own = tiny()
    return Transformers(model=model, tokenizer=own, temperature=0, max_new_tokens=6)


def test_they_are_real_batches(llm):
    alone = [llm.invoke(prompt) for prompt in PROMPTS]
    with watched(llm) as shapes:
        assert llm.batch(PROMPTS) == alone
    assert shapes == [(13, 38)]


def test_they_are_bounded_by_count(llm):
    few = llm.model_copy(update={"max_batch_size": 5})
    with watched(few) as shapes:
        assert few.batch(PROMPTS) == llm.batch(PROMPTS)
    assert [shape[0] for shape in shapes][:3] == [5, 5, 3]


def test_they_are_bounded_by_tokens(llm):
    few = llm.model_copy(update={"max_batch_tokens": 100})
    alone = [llm.invoke(prompt) for prompt in PROMPTS]
    with watched(few) as shapes:
        assert few.batch(PROMPTS) == alone
    assert all(rows == 1 or rows * (width + 6) <= 100 for rows, width in shapes)
    assert len(shapes) < 13


def test_short_prompts_are_not_padded_to_long_ones(llm):
    few = llm.model_copy(update={"max_batch_tokens": 120})
    with watched(few) as shapes:
        few.batch(["a" * 50, "bb", "c" * 50, "dd", "ee"])
    assert shapes == [(2, 50), (3, 2)]


def test_callers_at_once_share_a_batch(llm):
    """What comes while the model is busy goes in together."""
    with watched(llm) as shapes:
        threads = [threading.Thread(target=llm.invoke, args=(prompt,)) for prompt in PROMPTS]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sum(rows for rows, _ in shapes) == 13
    assert len(shapes) < 13


class TestMemory:
    @pytest.mark.parametrize("most_rows", [1, 2, 3, 7, 12])
    def test_a_batch_that_is_too_wide_is_halved(self, llm, most_rows):
        alone = [llm.invoke(prompt) for prompt in PROMPTS]
        with watched(llm, most_rows) as shapes:
            assert llm.batch(PROMPTS) == alone
        done = [rows for rows, _ in shapes if rows <= most_rows]
        assert sum(done) == 13  # nothing is computed twice

    def test_it_is_halved_by_us_and_not_by_the_pipeline_as_well(self, llm, monkeypatch):
        calls = []
        plain = Transformers._batch
        monkeypatch.setattr(
            Transformers,
            "_batch",
            lambda self, prompts, **given: calls.append(1) or plain(self, prompts, **given),
        )
        with watched(llm, 3):
            llm._batch(PROMPTS)
        assert len(calls) == 1

    def test_what_is_too_much_alone_is_an_error_of_its_own(self, llm):
        good = llm.invoke("short")

        def look(module: Any, args: Any, kwargs: Any) -> None:
            if kwargs["input_ids"].shape[1] > 30:
                raise RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate")

        handle = llm.model.register_forward_pre_hook(look, with_kwargs=True)
        found = llm.batch(["short", "x" * 40, "short"], return_exceptions=True)
        handle.remove()
        assert [found[0], found[2]] == [good, good]
        assert "not enough memory" in str(found[1])

    def test_in_the_middle_of_a_completion(self, llm):
        """A cache that grows may be too large late; the halves begin anew."""
        alone = [llm.invoke(prompt) for prompt in PROMPTS]
        steps = []

        def look(module: Any, args: Any, kwargs: Any) -> None:
            steps.append(1)
            if len(steps) == 4:
                raise torch.OutOfMemoryError("CUDA out of memory")

        handle = llm.model.register_forward_pre_hook(look, with_kwargs=True)
        assert llm.batch(PROMPTS) == alone
        handle.remove()

    def test_other_errors_are_not_taken_for_it(self, llm):
        def look(module: Any, args: Any, kwargs: Any) -> None:
            raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

        handle = llm.model.register_forward_pre_hook(look, with_kwargs=True)
        with pytest.raises(RuntimeError, match="mat1"):
            llm.batch(["a", "b"])
        handle.remove()

    def test_what_it_is(self):
        assert is_out_of_memory(torch.cuda.OutOfMemoryError("x"))
        assert is_out_of_memory(MemoryError())
        assert is_out_of_memory(RuntimeError("MPS backend out of memory (MPS allocated: 1 GB)"))
        assert not is_out_of_memory(ValueError("out of memory"))
        assert not is_out_of_memory(RuntimeError("something else"))
        with pytest.raises(RuntimeError) as real:
            torch.empty(2**48, dtype=torch.float64)
        assert is_out_of_memory(real.value)


def test_cancelling_all_of_a_batch_ends_it():
    """The model stops at the next token, not after three thousand of them."""
    import asyncio

    model, own = tiny(max_position_embeddings=100_000)
    endless = Transformers(model=model, tokenizer=own, max_new_tokens=50_000, generation=NO_END)
    steps: list[float] = []
    model.register_forward_pre_hook(lambda *_: steps.append(time.monotonic()))

    async def main() -> None:
        task = asyncio.create_task(endless.abatch(["a", "b"]))
        while len(steps) < 5:
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert eventually(lambda: steps[-1] < time.monotonic() - 0.5)
    assert len(steps) < 5000
