"""Runs that come to an output in a store at the same time."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest

from earmark.transforms.output import LockedError, locked
from earmark.transforms.output import lock as output_lock
from earmark.transforms.storage import StoreError, store_of
from earmark.transforms.storage.object_stores import ObjectStores
from tests.stores.faults import Faults, Store

RUNS = [f"20261101T120000Z-0000000{number}" for number in range(4)]


@pytest.mark.parametrize("faults", [Faults(), Faults(refused=0.1, cut=0.05)], ids=["well", "badly"])
def test_of_runs_that_come_at_once_one_is_let_in(store: Store, faults: Faults) -> None:
    at_once, decided = threading.Barrier(len(RUNS)), threading.Barrier(len(RUNS))

    def come(run_id: str) -> bool:
        at_once.wait()
        try:
            with locked(store.uri("out"), run_id):
                decided.wait()
        except LockedError:
            decided.wait()
            return False
        return True

    store.proxy.misbehave(faults)
    with ThreadPoolExecutor(len(RUNS)) as threads:
        assert sum(threads.map(come, RUNS)) == 1
    assert store.get_all() == {}


def test_of_those_that_create_an_object_at_once_one_does(store: Store) -> None:
    contents = [str(number).encode() for number in range(8)]
    with ThreadPoolExecutor(8) as threads:
        create = partial(store_of(store.url).create_if_absent, store.uri("a"))
        made = list(threads.map(create, contents))
    (content,) = (each for each, is_made in zip(contents, made, strict=True) if is_made)
    assert store.get_all() == {"a": content}


def test_a_token_that_a_dead_run_has_left_locks_nobody_out(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(output_lock, "_TURN_S", 0.1)
    store.put("out/_locks/turn", b"another run")
    with locked(store.uri("out"), RUNS[0]):
        assert set(store.get_all()) == {f"out/_locks/{RUNS[0]}.json"}


def test_a_store_that_knows_no_turns_has_runs_look_for_each_other_all_the_same(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> bool:
        raise StoreError("501 Not Implemented")

    monkeypatch.setattr(ObjectStores, "create_if_absent", refuse)
    with locked(store.uri("out"), RUNS[0]):
        with pytest.raises(LockedError), locked(store.uri("out"), RUNS[1]):
            pass
        assert set(store.get_all()) == {f"out/_locks/{RUNS[0]}.json"}
