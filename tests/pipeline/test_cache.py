from __future__ import annotations

import pytest
from langchain_core.caches import InMemoryCache
from langchain_core.globals import set_llm_cache
from langchain_core.outputs import GenerationChunk

from langchain_wrap.pipeline.cache import CacheEntry, resolve
from langchain_wrap.pipeline.shell import SyncShell
from langchain_wrap.pipeline.waiter import run_sync


def test_what_the_field_says():
    own, everybodys = InMemoryCache(), InMemoryCache()
    assert resolve(None) is None
    set_llm_cache(everybodys)
    assert resolve(None) is resolve(True) is everybodys
    assert resolve(False) is None
    assert resolve(own) is own


@pytest.mark.parametrize("wrong", ["yes", 1, object()])
def test_what_can_be_no_cache_is_refused(wrong):
    with pytest.raises(ValueError, match="cache must be"):
        resolve(wrong)


def test_true_needs_a_global_cache():
    with pytest.raises(ValueError, match="set_llm_cache"):
        resolve(True)


@pytest.mark.parametrize(
    ("info", "kept"),
    [
        (None, True),
        ({"finish_reason": "stop"}, True),
        ({"finish_reason": "length"}, False),
        ({"finish_reason": "cancelled"}, False),
    ],
)
def test_only_a_whole_completion_is_kept(info, kept):
    entry = CacheEntry(InMemoryCache(), "p", "key")
    run_sync(entry.store(SyncShell(), GenerationChunk(text="x", generation_info=info)))
    found = run_sync(entry.look_up(SyncShell()))
    assert (found is not None) == kept
    if kept:
        assert found == GenerationChunk(text="x", generation_info=info)


def test_prompt_and_key_make_the_place():
    cache = InMemoryCache()
    run_sync(CacheEntry(cache, "p", "key").store(SyncShell(), GenerationChunk(text="x")))
    assert run_sync(CacheEntry(cache, "q", "key").look_up(SyncShell())) is None
    assert run_sync(CacheEntry(cache, "p", "other").look_up(SyncShell())) is None
