from __future__ import annotations

import copy
import pickle

from langchain_wrap.pipeline.live import Live


def test_the_gate_is_one_and_follows_the_bounds():
    live = Live()
    gate = live.gate(2, 5)
    assert live.gate(3, None) is gate
    assert (gate.limit, gate.max_queued) == (3, None)


def test_what_is_live_never_travels():
    live = Live()
    gate = live.gate(1, None)
    for twin in (copy.copy(live), copy.deepcopy(live), pickle.loads(pickle.dumps(live))):
        assert isinstance(twin, Live)
        assert twin.gate(1, None) is not gate


def test_what_is_live_makes_no_two_models_differ():
    assert Live() == Live()
    assert hash(Live()) == hash(Live())


def test_in_another_process_it_begins_anew(monkeypatch):
    live = Live()
    gate = live.gate(1, None)
    gate._inside = 1
    monkeypatch.setattr("os.getpid", lambda: -1)
    assert live.gate(1, None) is not gate
    assert live.gate(1, None).inside == 0
    assert live.abandoned == 0
