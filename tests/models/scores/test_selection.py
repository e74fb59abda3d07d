"""Which classes count, and from which score on."""

from __future__ import annotations

from fnmatch import fnmatch

import numpy as np
import pytest

from earmark.models.errors import ModelError
from earmark.models.running.interpreters import Output
from earmark.models.scores.heads import Head
from earmark.models.scores.selection import parse_label_list, parse_thresholds, score_thresholds

BIRDS = ("wren", "Winter wren", "crow", "robin, European", "wren [song]", "wren?", "*")
HOURS = ("dawn", "crow")
NO = np.inf


def head(
    name: str = "birds", labels: tuple[str, ...] = BIRDS, threshold: float | None = None
) -> Head:
    return Head(name, Output(0, len(labels)), labels, score_threshold=threshold)


def counting(**lists: list[str]) -> list[str]:
    """The labels of the birds that count."""
    least = score_thresholds([head()], 0.5, **lists)
    assert set(least) <= {0.5, NO}
    return [label for label, score in zip(BIRDS, least, strict=True) if score < NO]


def test_all_classes_count_from_the_default_on_where_nothing_is_said() -> None:
    least = score_thresholds([head()])
    np.testing.assert_array_equal(least, np.full(7, 0.1, np.float32))
    assert least.dtype == np.float32


@pytest.mark.parametrize(("given", "least"), [(None, [0.3] * 7 + [0.1] * 2), (0.2, [0.2] * 9)])
def test_what_the_metadata_says_of_a_head_counts_where_nobody_says_otherwise(given, least) -> None:
    heads = [head(threshold=0.3), head("hours", HOURS)]
    np.testing.assert_array_equal(score_thresholds(heads, given), np.array(least, np.float32))


@pytest.mark.parametrize("threshold", [0.0, -5.0, 3.5])
def test_a_threshold_of_the_metadata_may_be_any_number(threshold) -> None:
    assert set(score_thresholds([head(threshold=threshold)])) == {threshold}


def test_thresholds_are_of_single_labels_in_each_head_that_has_them() -> None:
    heads = [head(), head("hours", HOURS, 0.25)]
    least = score_thresholds(heads, None, {"crow": 0.75, "robin, European": 0.0})
    expected = [0.1, 0.1, 0.75, 0, 0.1, 0.1, 0.1, 0.25, 0.75]
    np.testing.assert_array_equal(least, np.array(expected, np.float32))


def test_a_threshold_wins_over_min_score_but_not_over_a_list() -> None:
    least = score_thresholds([head()], 0.5, {"crow": 0.25, "wren": 0.75}, deny=["crow"])
    assert (least[0], least[1], least[2]) == (0.75, 0.5, NO)


@pytest.mark.parametrize(
    "pattern", ["w*", "*wren", "cro?", "?ren", "*e*", "robin*", "* *", "*, *", "c*w"]
)
def test_patterns_match_as_those_of_file_names_do(pattern) -> None:
    fits = [label for label in BIRDS if fnmatch(label, pattern)]
    assert fits
    assert counting(allow=[pattern]) == fits
    assert counting(deny=[pattern]) == [label for label in BIRDS if label not in fits]


@pytest.mark.parametrize(
    ("listed", "fits"),
    [
        (["wren [song]"], ["wren [song]"]),
        (["*[song]"], ["wren [song]"]),
        (["wren [*"], ["wren [song]"]),
        (["robin, European"], ["robin, European"]),
        (["robin*pean"], ["robin, European"]),
        (["wren?"], ["wren?"]),
        (["*"], ["*"]),
        (["wren", "crow"], ["wren", "crow"]),
        (["crow", "cro*", "crow"], ["crow"]),
    ],
)
def test_commas_and_brackets_are_signs_like_others_and_a_whole_label_comes_first(
    listed, fits
) -> None:
    assert counting(allow=listed) == fits


def test_lists_are_of_all_heads() -> None:
    heads = [head(), head("hours", HOURS)]
    assert list(score_thresholds(heads, 0.5, allow=["dawn", "crow"])) == [
        NO,
        NO,
        0.5,
        *[NO] * 4,
    ] + [
        0.5,
        0.5,
    ]
    assert list(score_thresholds(heads, 0.5, deny=["crow"])) == [0.5, 0.5, NO, *[0.5] * 5, NO]


def test_no_class_has_to_count() -> None:
    labels = ("wren", "crow")
    assert list(score_thresholds([head(labels=labels)], deny=["*"])) == [NO, NO]


def test_no_head_has_no_classes() -> None:
    assert score_thresholds([]).shape == (0,)
    with pytest.raises(ModelError, match=r"the model has no label 'wren'$"):
        score_thresholds([], allow=["wren"])


@pytest.mark.parametrize(
    ("listed", "says"),
    [
        ("Wren", "the model has no label 'Wren'; did you mean 'wren'?"),
        ("winter wren", "the model has no label 'winter wren'; did you mean 'Winter wren'?"),
        ("robin European", "no label 'robin European'; did you mean 'robin, European'?"),
        ("quagga", "the model has no label 'quagga'"),
        ("W?EN", "no label of the model fits the pattern 'W?EN'"),
        ("[wc]*", "no label of the model fits the pattern '[wc]*'"),
    ],
)
def test_case_counts_and_a_label_that_is_none_is_refused_with_the_nearest(listed, says) -> None:
    for given in ({"allow": [listed]}, {"deny": ["crow", listed]}):
        with pytest.raises(ModelError) as refused:
            score_thresholds([head()], **given)
        assert says in str(refused.value)
        assert "\n" not in str(refused.value)


def test_a_threshold_takes_no_pattern() -> None:
    with pytest.raises(ModelError, match="no label 'wr'; did you mean"):
        score_thresholds([head()], thresholds={"wr": 0.1})
    assert score_thresholds([head()], 0.5, {"*": 0.25}).tolist() == [0.5] * 6 + [0.25]


@pytest.mark.parametrize(
    ("text", "thresholds"),
    [
        ("label,min_score\nwren,0.3\ncrow,.25\n", {"wren": 0.3, "crow": 0.25}),
        ("\ufeffwren,0.3", {"wren": 0.3}),
        ("wren, 0.3\r\n\r\ncrow , -1e-2\r\n", {"wren": 0.3, "crow": -0.01}),
        ("\n  \nwren,0.3\n\t\n", {"wren": 0.3}),
        ('"robin, European",0.3\n"the ""wren""",1\n', {"robin, European": 0.3, 'the "wren"': 1}),
        ("wren,0.3\nlabel,1\n", {"wren": 0.3, "label": 1}),
    ],
)
def test_thresholds_are_csv(text, thresholds) -> None:
    assert parse_thresholds(text) == thresholds


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("wren;0.3", "line 1 is 'wren;0.3', not label,min_score"),
        ("wren,0.3\n\ncrow,0.3,\n", "line 3 is 'crow,0.3,', not label,min_score"),
        ("wren,1e308", "line 1: the min_score '1e308' is not a number that float32 holds"),
        ("wren,-inf", "line 1: the min_score '-inf' is not a number"),
        ("wren,", "line 1: the min_score '' is not a number"),
        ("wren,1\rcrow,1", "line 1 is not CSV"),
        (f"{'a' * 200_000},1", "line 1 is not CSV"),
        (" \n\n", "it holds no thresholds"),
    ],
)
def test_what_is_no_csv_of_thresholds_is_refused_with_its_line(text, says) -> None:
    with pytest.raises(ModelError) as refused:
        parse_thresholds(text)
    assert says in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("text", "labels"),
    [
        ("wren\ncrow\n", ["wren", "crow"]),
        ("\ufeff wren \r\n\r\n\tcrow", ["wren", "crow"]),
        ("robin, European\nwr*\n# rain\n", ["robin, European", "wr*", "# rain"]),
        (" \n\n", []),
        ("", []),
    ],
)
def test_a_list_is_a_label_a_line(text, labels) -> None:
    assert parse_label_list(text) == labels
