"""One completion through all stages, over random texts, cuts, facts and stops."""

from __future__ import annotations

import asyncio
import itertools
from functools import reduce
from operator import add

from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_core.outputs import GenerationChunk
from scripted import Recorder, read

from langchain_wrap import LLM

infos = st.none() | st.fixed_dictionaries(
    {},
    optional={
        "finish_reason": st.sampled_from(["length", "stop", None]),
        "model_name": st.just("m"),
        "logprobs": st.just({"tokens": ["t"]}),
        "usage": st.fixed_dictionaries({"output_tokens": st.integers(0, 9)}),
    },
)
scripts = st.lists(st.tuples(st.text("ab.", max_size=4), infos), max_size=8)
stop_sets = st.lists(st.text("ab.", min_size=1, max_size=4), max_size=3)


def told(script):
    return [GenerationChunk(text=text, generation_info=info) for text, info in script]


class Sync(LLM):
    script: list = []  # noqa: RUF012

    def _stream(self, prompt):
        yield from told(self.script)


class Async(LLM):
    script: list = []  # noqa: RUF012

    async def _astream(self, prompt):
        for chunk in told(self.script):
            yield chunk


def reference(text, stops, include):
    for end in range(1, len(text) + 1):
        complete = [stop for stop in stops if text[:end].endswith(stop)]
        if complete:
            longest = max(complete, key=len)
            return text[: end if include else end - len(longest)], longest
    return text, None


def run(model, script, stops, include, timeout=None):
    recorder = Recorder()
    llm = model(script=script, include_stop=include, timeout=timeout)
    texts = list(llm.stream("p", {"callbacks": [recorder]}, stop=stops))
    return texts, recorder


@settings(max_examples=150, deadline=None)
@given(scripts, stop_sets, st.booleans())
def test_text_chunks_and_facts_fit_together(script, stops, include):
    texts, recorder = run(Sync, script, stops, include)
    expected, hit = reference("".join(text for text, _ in script), stops, include)
    chunks = recorder.chunks
    assert "".join(texts) == expected == recorder.end.text
    assert texts == recorder.tokens == [chunk.text for chunk in chunks]
    assert len(chunks) >= 1
    if len(chunks) > 1:  # no chunk is empty for nothing
        assert all(chunk.text or chunk.generation_info for chunk in chunks)
    info = reduce(add, chunks).generation_info or {}
    end = recorder.end.generation_info or {}
    if hit is None:
        assert info == end
    else:
        assert info.items() <= end.items()
        assert end["finish_reason"] == "stop"
        assert end["stop_reason"] == hit
    for chunk in chunks[:-1]:
        assert set(chunk.generation_info or {}) <= {"logprobs"}


@settings(max_examples=60, deadline=None)
@given(scripts, stop_sets, st.booleans())
def test_sync_async_and_threads_deliver_the_same_chunks(script, stops, include):
    here, recorder = run(Sync, script, stops, include)
    for model, timeout in ((Sync, 20.0), (Async, None), (Async, 20.0)):
        there, other = run(model, script, stops, include, timeout)
        assert there == here
        assert other.end == recorder.end
        assert [c.generation_info for c in other.chunks] == [
            c.generation_info for c in recorder.chunks
        ]
    for model in (Sync, Async):
        llm = model(script=script, include_stop=include)
        assert asyncio.run(read(llm.astream("p", stop=stops))) == here


@settings(max_examples=100, deadline=None)
@given(st.text("ab.", max_size=20), stop_sets, st.lists(st.integers(0, 20), max_size=6))
def test_the_text_does_not_depend_on_how_it_was_cut(text, stops, cuts):
    edges = [0, *sorted(min(cut, len(text)) for cut in cuts), len(text)]
    pieces = [(text[a:b], None) for a, b in itertools.pairwise(edges)]
    whole, one = run(Sync, [(text, None)], stops, include=False)
    cut, many = run(Sync, pieces, stops, include=False)
    assert "".join(whole) == "".join(cut)
    assert one.end == many.end


def test_a_chunk_goes_out_before_the_next_is_asked_for():
    asked = []

    class Noting(LLM):
        def _stream(self, prompt):
            for letter in "abc":
                asked.append(letter)
                yield letter

    stream = Noting().stream("p")
    assert next(stream) == "a"
    assert asked == ["a"]
    assert next(stream) == "b"
    assert asked == ["a", "b"]
    stream.close()
