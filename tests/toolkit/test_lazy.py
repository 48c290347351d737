"""Attributes are read once, when asked for; what is large may be given up, and is then read again."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from xpcs_dask.toolkit import lazy
from xpcs_dask.toolkit.lazy import Lazy, Loads
from xpcs_dask.toolkit.memory_monitor import DataCache

LARGE = 2**18 + 1


class Thing(Loads):
    small = Lazy(lambda self: self.load("small", 10))
    large = Lazy(lambda self: self.load("large", LARGE))
    nothing = Lazy(lambda self: self.load("nothing", None))

    def __init__(self, path="here", state=1):
        super().__init__(path, state)
        self.reads = []

    def load(self, name, size):
        self.reads.append(name)
        return None if size is None else np.arange(size, dtype=np.float32)


@pytest.fixture(autouse=True)
def cache(monkeypatch):
    own = DataCache(max_memory_mb=3)
    monkeypatch.setattr(lazy, "SHARED", own)
    return own


def test_nothing_is_read_before_it_is_asked_for_and_then_once():
    thing = Thing()
    assert thing.reads == []
    assert thing.small is thing.small
    assert thing.large is thing.large
    assert thing.nothing is None
    assert thing.nothing is None
    assert thing.reads == ["small", "large", "nothing"]


def test_small_ones_belong_to_the_object_and_may_be_changed(cache):
    thing = Thing()
    thing.small[0] = 7
    assert thing.small[0] == 7
    assert cache.get_stats()["items"] == 0


def test_large_ones_are_shared_and_read_only(cache):
    one, other, changed = Thing(), Thing(), Thing(state=2)
    assert one.large is other.large
    assert (one.reads, other.reads) == (["large"], [])
    with pytest.raises(ValueError, match="read-only"):
        one.large[0] = 7
    assert changed.large is not one.large
    assert cache.get_stats()["items"] == 2
    assert one.at_hand()["large"][0] is one.large
    assert changed.at_hand()["large"][0] is changed.large
    assert list(one.at_hand()) == ["large"]


def test_what_was_given_up_is_read_again(cache):
    thing = Thing()
    before = thing.large
    cache.clear()
    assert np.array_equal(thing.large, before)
    assert thing.reads == ["large", "large"]


def test_what_the_cache_has_no_room_for_is_not_kept(cache):
    cache.max_memory_mb = 0.5
    thing = Thing()
    assert thing.large.size == thing.large.size
    assert thing.reads == ["large", "large"]
    assert thing.at_hand() == {}


def test_setting_wins_and_survives(cache):
    thing = Thing()
    assert thing.small.size == 10
    thing.small = "mine"
    thing.forget(lambda name: True)
    assert thing.small == "mine"
    assert thing.at_hand() == {"small": ("mine", "user")}


def test_forgetting_by_name(cache):
    thing = Thing()
    assert thing.small.size
    assert thing.large.size
    assert {name: keeper for name, (_, keeper) in thing.at_hand().items()} == {"small": "object", "large": "cache"}
    thing.forget(lambda name: name == "large")
    assert set(thing.at_hand()) == {"small"}
    assert Thing(path="elsewhere").at_hand() == {}


def test_pickle_takes_what_was_set_and_nothing_that_was_read():
    thing = Thing()
    assert thing.small.size
    assert thing.large.size
    thing.nothing = "mine"
    packed = pickle.dumps(thing)
    assert len(packed) < 500
    found = pickle.loads(packed)
    assert found.nothing == "mine"
    assert found.at_hand().keys() == {"nothing", "large"}, "the process still has the large one"
    assert thing.at_hand().keys() == {"small", "large", "nothing"}, "pickling takes nothing away"


def test_the_class_gives_the_descriptor():
    assert isinstance(Thing.small, Lazy)
