"""What paths in clips/ are relative to."""

from __future__ import annotations

import pytest

from earmark.transforms.listing import roots_of
from earmark.transforms.storage import relative_path

SIGNED = "https://h/cards/a.wav?X-Amz-Signature=1&X-Amz-Credential=2"


@pytest.mark.parametrize(
    ("patterns", "uri", "path"),
    [
        (["/cards"], "/cards/1/a.wav", "1/a.wav"),
        (["/cards/"], "/cards/a.wav", "a.wav"),
        (["/cards/**/*.wav"], "/cards/1/a.wav", "1/a.wav"),
        (["/cards/2024*/x?/*.wav"], "/cards/2024-05/x1/a.wav", "2024-05/x1/a.wav"),
        (["/cards/1/a.wav"], "/cards/1/a.wav", "a.wav"),
        (["/cards/1.tar"], "/cards/1.tar!/d/a.wav", "1.tar!/d/a.wav"),
        (["/cards/1.tar"], "/cards/1.tar!/", "1.tar!/"),
        (["/cards/1.tar!/d/*.wav"], "/cards/1.tar!/d/a.wav", "1.tar!/d/a.wav"),
        (["/cards/*.zip!/d"], "/cards/1.zip!/d/a.wav", "1.zip!/d/a.wav"),
        (["/"], "/a.wav", "a.wav"),
        (["/"], "file:///d/%FF.wav", "d/%FF.wav"),
        (["/cards"], "file:///cards/1/%FF.wav", "1/%FF.wav"),
        (["/cards\udcff/**"], "file:///cards%FF/a.wav", "a.wav"),
        (["s3://b/cards"], "s3://b/cards/1/a.wav", "1/a.wav"),
        (["s3://b"], "s3://b/1/a.wav", "1/a.wav"),
        (["gs://b/cards/*.wav"], "gs://b/cards/a.wav", "a.wav"),
        ([SIGNED], "https://h/cards/a.wav", "a.wav"),
        (["/cards/1", "/cards/**/*.flac"], "/cards/1/a.flac", "1/a.flac"),
        (["/lists/m.csv"], "/lists/cards/a.wav", "cards/a.wav"),
        (["/lists/m.csv"], "/cards/1/a.wav", "cards/1/a.wav"),
        (["/lists/m.csv"], "s3://b/cards/a.wav", "cards/a.wav"),
        (["/lists/m.csv", "/lists/cards"], "/lists/cards/a.wav", "a.wav"),
        (["/card"], "/cards/a.wav", "cards/a.wav"),
        ([], "/cards/a.wav", "cards/a.wav"),
    ],
)
def test_a_path_is_relative_to_the_root_of_what_was_listed(patterns, uri, path):
    assert relative_path(uri, roots_of(patterns)) == path


def test_a_name_with_signs_of_patterns_is_its_own_root_where_it_exists(tmp_path):
    (tmp_path / "a[1]*").mkdir()
    root = str(tmp_path / "a[1]*")
    assert relative_path(f"{root}/x.wav", roots_of([root])) == "x.wav"
