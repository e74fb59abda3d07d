from __future__ import annotations

from contextlib import ExitStack

import pytest

from earmark.transforms.elements import AudioObject, Found, PlannedObject
from earmark.transforms.output.history import Processed
from earmark.transforms.planning.plan import PlanError, Planned, Retry, new_plan
from earmark.transforms.storage.paths import KINDS, OTHERS


def found(uri: str, version: str = "1-1", skipped_as: str | None = None, size: int | None = 10):
    return Found(AudioObject(uri, size, version), skipped_as)


def planned(listed, processed=(), retry=Retry.UNREADABLE) -> tuple[list[PlannedObject], Planned]:
    with new_plan() as plan:
        plan.look(listed)
        plan.note(processed)
        return list(plan.due(retry)), plan.count(retry)


def test_a_plan_has_each_object_once_by_uri():
    listed = [found("/b"), found("/a"), found("/ä\udcff"), found("/b"), found("/c", size=None)]
    due, counts = planned(listed)
    assert [each.object.uri for each in due] == ["/a", "/b", "/c", "/ä\udcff"]
    assert counts == Planned(objects=4, size_bytes=30, done=0, changed=0, retried=0)


@pytest.mark.parametrize("order", [1, -1])
def test_what_one_pattern_means_is_due_even_if_another_leaves_it_out(order):
    with new_plan() as plan:
        both = [found("/a.dat", skipped_as=".dat"), found("/a.dat")][::order]
        plan.look([*both, found("/b.txt", skipped_as=".txt")])
        assert [each.object.uri for each in plan.due(Retry.UNREADABLE)] == ["/a.dat"]
        assert plan.skipped() == {".txt": 1}


def test_of_many_kinds_the_most_frequent_are_told_apart_and_all_are_counted():
    listed = [found(f"/{number}.x{number}", skipped_as=f".x{number}") for number in range(5000)]
    listed += [found(f"/{number}.txt", skipped_as=".txt") for number in range(3)]
    with new_plan() as plan:
        plan.look(listed)
        skipped = plan.skipped()
        assert (len(skipped), sum(skipped.values())) == (KINDS + 1, 5003)
        assert skipped[".txt"] == 3
        plan.look([*listed, *(found(f"/{n}.y", skipped_as=".y") for n in range(100))])
        later = plan.skipped()
    assert later == {**skipped, OTHERS: skipped[OTHERS] + 100}


@pytest.mark.parametrize(
    ("before", "now"),
    [
        ("9-1700000000000", "9-1700000000000-abc"),  # rows of S3 from before etags
        ("9-1700000000123", "9-1700000000000-abc"),  # the same of GCS
        ("9-1700000000000-abc", "9-1700000000000"),  # a name that only Beam's filesystem takes
        ("9-1700000000000-abc-2", "9-1800000000000-abc-2"),  # copied onto itself
        ("9-1700000000123/5-77", "9-1700000000000-a%2Fc/5-77"),  # a member of an archive
    ],
)
def test_a_version_that_says_the_same_in_another_way_is_no_other(before, now):
    _, counts = planned([found("s3://b/a", now)], [Processed("s3://b/a", before, None, "old")])
    assert counts == Planned(objects=0, size_bytes=0, done=1, changed=0, retried=0)


@pytest.mark.parametrize(
    ("before", "now"),
    [
        ("9-1700000000000", "9-1700000001000-abc"),
        ("9-1700000000000", "8-1700000000000-abc"),
        ("9-1700000000000-abc", "9-1700000000000-def"),
        ("9-1700000000000-abc", "8-1700000000000-abc"),
        ("9-1700000000000/5-77", "9-1700000000000-abc/5-78"),
        ("9-1700000000000000001", "9-1700000000000000002"),  # nanoseconds of a local file
    ],
)
def test_one_that_says_something_else_is_another(before, now):
    _, counts = planned([found("s3://b/a", now)], [Processed("s3://b/a", before, None, "old")])
    assert (counts.objects, counts.changed) == (1, 1)


@pytest.mark.parametrize("order", [1, -1])
def test_of_two_versions_the_later_is_meant(order):
    due, _ = planned([found("/a", "7-1"), found("/a", "7-2")][::order])
    assert [each.object.version for each in due] == ["7-2"]


@pytest.mark.parametrize(
    ("version", "reason", "retry", "is_due"),
    [
        ("1-1", None, Retry.UNREADABLE, False),
        ("1-1", None, Retry.FAILED, False),
        ("2-2", None, Retry.UNREADABLE, True),
        ("1-1", "io", Retry.UNREADABLE, True),
        ("1-1", "killed", Retry.UNREADABLE, True),
        ("1-1", "killed", Retry.NOTHING, False),
        ("1-1", "damaged", Retry.UNREADABLE, False),
        ("1-1", "damaged", Retry.FAILED, True),
        ("2-2", "damaged", Retry.UNREADABLE, True),
    ],
)
def test_what_is_done_is_not_due_again(version, reason, retry, is_due):
    gone = Processed("/gone", "1-1", None, "x.parquet")
    processed = [Processed("/a", version, reason, "old.parquet"), gone]
    due, counts = planned([found("/a"), found("/new")], processed, retry)
    again, new = PlannedObject(found("/a").object, "old.parquet"), PlannedObject(found("/new")[0])
    assert due == ([again, new] if is_due else [new])
    assert counts.done == (not is_due)
    assert counts.changed == (is_due and version != "1-1")
    assert counts.retried == (is_due and version == "1-1")


def test_a_full_disk_is_told_in_one_line_wherever_it_is_met():
    resources = ExitStack()
    plan = resources.enter_context(new_plan())
    with resources:
        plan._database.execute("pragma max_page_count = 12")
        with pytest.raises(
            PlanError, match="cannot store the list of objects in the temporary folder"
        ):
            plan.look(found(f"/{'long' * 100}{number}.wav") for number in range(1000))
