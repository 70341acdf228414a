from __future__ import annotations

import copy
import pickle

from langchain_core.caches import InMemoryCache
from langchain_core.rate_limiters import InMemoryRateLimiter
from scripted import KINDS, Recorder

Model = KINDS["_call"]


def test_a_rate_limiter_travels_by_its_settings():
    limiter = InMemoryRateLimiter(
        requests_per_second=50, check_every_n_seconds=0.01, max_bucket_size=7
    )
    there = pickle.loads(pickle.dumps(Model(rate_limiter=limiter)))
    assert there.invoke("p") == Model().invoke("p")
    assert there.rate_limiter is not limiter
    assert (there.rate_limiter.requests_per_second, there.rate_limiter.max_bucket_size) == (50, 7)
    assert there.rate_limiter.check_every_n_seconds == 0.01


def test_without_one_nothing_is_made_up():
    assert pickle.loads(pickle.dumps(Model())).rate_limiter is None


def test_a_deep_copy_shares_what_is_meant_to_be_shared():
    recorder = Recorder()
    llm = Model(
        rate_limiter=InMemoryRateLimiter(requests_per_second=1000),
        cache=InMemoryCache(),
        callbacks=[recorder],
        tags=["a"],
    )
    other = copy.deepcopy(llm)
    assert other.rate_limiter is llm.rate_limiter
    assert other.cache is llm.cache
    assert other.callbacks is llm.callbacks
    assert other.tags == llm.tags
    assert other.tags is not llm.tags
    other.invoke("p")
    assert recorder.names[-1] == "end"
