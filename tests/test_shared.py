"""What threads of a process share: made once, found by its owner, closed when that is over."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

from earmark.shared import _REGISTRY, forget, is_inherited, lending, lent, shared


class Thing:
    made = 0

    def __init__(self) -> None:
        Thing.made += 1
        self.is_closed = False

    def close(self) -> None:
        self.is_closed = True


def test_all_who_ask_get_the_same_and_it_is_made_once():
    before = Thing.made
    with ThreadPoolExecutor(8) as threads:
        things = list(threads.map(lambda _: shared(Thing, "run"), range(100)))
    assert {id(thing) for thing in things} == {id(shared(Thing, "run"))}
    assert Thing.made == before + 1
    forget("run")


def test_runs_share_nothing_with_each_other_or_the_process():
    things = [shared(Thing, owner) for owner in ("a", "b")] + [shared(Thing)]
    assert len({id(thing) for thing in things}) == 3
    forget("a")
    assert [thing.is_closed for thing in things] == [True, False, False]
    assert lent(Thing, "a") is None
    assert lent(Thing, "b") is things[1]
    assert shared(Thing, "a") is not things[0]
    forget("a")
    forget("b")


def test_what_is_lent_takes_the_place_of_another_for_a_while():
    first = shared(Thing, "run")
    with lending(Thing(), "run") as second:
        assert shared(Thing, "run") is second
    assert shared(Thing, "run") is first
    forget("run")
    with lending(Thing(), "run") as third:
        assert lent(Thing, "run") is third
    assert lent(Thing, "run") is None


def test_a_forked_process_begins_with_nothing():
    mine = shared(Thing)
    assert not is_inherited(Thing)
    with _REGISTRY.lock:  # as another thread may hold it at that moment
        if not (pid := os.fork()):
            ok = is_inherited(Thing) and lent(Thing, "") is None and shared(Thing) is not mine
            forget()
            os._exit(0 if ok and not mine.is_closed else 1)
    assert os.waitpid(pid, 0)[1] == 0
    assert shared(Thing) is mine
