from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines import rounds
from pipelines.rounds import FIRST_ROUND_BYTES, ROUND_OBJECTS, ROUND_S, new_plan
from transforms.elements import AudioObject
from transforms.matching import Found


def found(uri: str, version: str = "1-1", skipped_as: str | None = None, size: int | None = 10):
    return Found(AudioObject(uri, size, version), skipped_as)


def test_a_plan_has_each_object_once_by_uri():
    with new_plan() as plan:
        plan.add([found("/b"), found("/a"), found("/ä\udcff"), found("/b"), found("/c", size=None)])
        assert [o.uri for o in plan.objects()] == ["/a", "/b", "/c", "/ä\udcff"]
        assert plan.size() == (4, 30)


@pytest.mark.parametrize("order", [1, -1])
def test_what_one_pattern_means_is_heard_even_if_another_leaves_it_out(order):
    with new_plan() as plan:
        plan.add([found("/a.dat", skipped_as=".dat"), found("/a.dat")][::order])
        plan.add([found("/b.txt", skipped_as=".txt")])
        assert [o.uri for o in plan.objects()] == ["/a.dat"]
        assert plan.skipped() == {".txt": 1}


@pytest.mark.parametrize("order", [1, -1])
def test_of_two_versions_the_later_is_meant(order):
    with new_plan() as plan:
        plan.add([found("/a", "7-1"), found("/a", "7-2")][::order])
        assert [o.version for o in plan.objects()] == ["7-2"]


@given(sizes=st.lists(st.one_of(st.none(), st.integers(0, 3 << 30)), max_size=50))
def test_rounds_hold_every_object_once_in_order(sizes):
    objects = [AudioObject(f"/{i}", size, "v") for i, size in enumerate(sizes)]
    made = list(rounds.rounds(objects, clock=iter(range(10**6)).__next__))
    assert [o for each in made for o in each] == objects
    assert all(made)


def test_a_round_takes_as_many_bytes_as_the_last_ones_speed_allows():
    gigabyte = 1 << 30
    objects = [AudioObject(f"/{i}", gigabyte // 4, "v") for i in range(100)]
    lengths: list[int] = []

    def clock() -> float:
        """Twenty objects fill a round."""
        return sum(lengths) * (ROUND_S / 20)

    for each in rounds.rounds(objects, clock):
        lengths.append(len(each))
    assert lengths[0] == FIRST_ROUND_BYTES // (gigabyte // 4)
    assert lengths[1:-1] == [20] * (len(lengths) - 2)


def test_a_round_has_no_more_objects_than_memory_allows():
    objects = (AudioObject(f"/{i}", 1, "v") for i in range(2 * ROUND_OBJECTS + 1))
    made = list(rounds.rounds(objects, clock=iter(range(10**6)).__next__))
    assert [len(each) for each in made] == [ROUND_OBJECTS, ROUND_OBJECTS, 1]


def test_an_object_larger_than_a_round_is_a_round_by_itself():
    sizes = [1, FIRST_ROUND_BYTES * 2, 1]
    objects = [AudioObject(f"/{i}", size, "v") for i, size in enumerate(sizes)]
    made = list(rounds.rounds(objects, clock=iter(range(10**6)).__next__))
    assert [o for each in made for o in each] == objects
    assert all(
        sum(o.size_bytes for o in each) <= FIRST_ROUND_BYTES or len(each) == 1 for each in made[:2]
    )
