from __future__ import annotations

from itertools import chain, combinations

import pytest

from langchain_wrap.pipeline.source import METHODS, choose

ALL = list(METHODS)
SETS = [set(c) for c in chain.from_iterable(combinations(ALL, n) for n in range(1, 7))]


@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize("streamed", [False, True])
def test_any_set_of_methods_serves_any_call(streamed, is_async):
    for implemented in SETS:
        method = choose(implemented, streamed=streamed, is_async=is_async)
        assert method.name in implemented


@pytest.mark.parametrize("is_async", [False, True])
def test_who_streams_is_asked_for_chunks_where_somebody_listens(is_async):
    for implemented in SETS:
        method = choose(implemented, streamed=True, is_async=is_async)
        can = implemented & {"_stream", "_astream"}
        assert (method.gives == "chunks") == bool(can)
        if len(can) == 2:
            assert method.is_async == is_async


@pytest.mark.parametrize("is_async", [False, True])
def test_a_whole_text_is_asked_of_who_gives_one(is_async):
    for implemented in SETS:
        method = choose(implemented, streamed=False, is_async=is_async)
        if implemented & {"_batch", "_abatch"} and not is_async and "_batch" in implemented:
            assert method.name == "_batch"
        if implemented == {"_call", "_stream"}:
            assert method.name == "_call"
        if implemented == {"_acall", "_call"}:
            assert method.is_async == is_async
