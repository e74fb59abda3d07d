"""Rounds and what is made of them."""

from __future__ import annotations

import pytest

from benchmarks.pairing import in_rounds, ratio, slopes


def test_every_second_round_goes_the_other_way_about():
    calls = []
    contenders = {name: (lambda name=name: calls.append(name)) for name in "abc"}
    in_rounds(contenders, 3)
    assert "".join(calls) == "abccbaabc"


def test_what_a_contender_gave_is_kept_by_round():
    numbers = iter(range(4))
    measured = in_rounds({"a": lambda: next(numbers), "b": lambda: next(numbers)}, 2)
    assert measured == {"a": [0, 3], "b": [1, 2]}


def test_ratios_are_made_within_a_round():
    # the machine was three times as slow in the second round: that must not show
    assert ratio([2.0, 6.0, 2.0], [1.0, 3.0, 1.0]) == (2.0, 2.0, 2.0)


def test_a_ratio_tells_how_far_its_rounds_lie_apart():
    assert ratio([1.0, 2.0, 9.0], [1.0, 1.0, 1.0]) == (2.0, 1.0, 9.0)


def test_rounds_that_do_not_match_are_refused():
    with pytest.raises(ValueError, match="shorter"):
        ratio([1.0, 2.0], [1.0])


def test_a_slope_leaves_out_what_both_sizes_have_in_common():
    # 3 s of start-up, and half a second for each of 40 and of 120 files; then all of it doubled
    assert slopes([23, 46], [63, 126], 80) == [0.5, 1]


def test_sizes_of_rounds_that_do_not_match_are_refused():
    with pytest.raises(ValueError, match="shorter"):
        slopes([1.0, 2.0], [1.0], 1)
