"""What objects share: as long as there is one of them, and no longer."""

from __future__ import annotations

import copy
import gc
import pickle
import weakref

from langchain_wrap.models.held import Held, hold


class Engine:
    pass


def test_who_names_the_same_shares_an_engine():
    one, two, other = hold(("m", 1), "m"), hold(("m", 1), "m"), hold(("m", 2), "m")
    one.engine = Engine()
    assert two.engine is one.engine
    assert other.engine is None
    assert one.named == "m"


def test_it_is_let_go_with_the_last_of_them():
    one, two = hold("k", "m"), hold("k", "m")
    one.engine = Engine()
    engine = weakref.ref(one.engine)
    del one
    gc.collect()
    assert engine() is not None
    del two
    gc.collect()
    assert engine() is None
    assert hold("k", "m").engine is None


def test_a_copy_shares_and_a_pickle_finds_its_own():
    one = hold("k", "m")
    one.engine = object()
    assert copy.deepcopy(one) is one
    assert copy.copy([one])[0] is one
    again = pickle.loads(pickle.dumps(one))
    assert (again.named, again.engine) == (None, None)


def test_it_makes_no_difference_between_models():
    assert hold("k", "m") == hold("l", "n") == Held()
    assert hash(hold("k", "m")) == hash(Held())
    assert Held() != "m"
