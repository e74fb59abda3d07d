"""What is said where a store refuses."""

from __future__ import annotations

import pytest
from obstore.exceptions import PermissionDeniedError

from earmark.transforms.decoding.local_copies import local_copy
from earmark.transforms.errors import ReadError
from earmark.transforms.storage import StoreError, object_stores, open_file, reason

URI = "s3://b/a.wav"


class Refusing:
    """Stands for a client of obstore."""

    def head(self, key: str) -> None:
        raise PermissionDeniedError(f"not for you: {key}")

    get = head


@pytest.fixture(autouse=True)
def _refusing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(object_stores, "placed", lambda _: (Refusing(), "a.wav"))


def test_an_error_begins_with_what_it_is_about() -> None:
    with pytest.raises(StoreError) as failed:
        open_file(URI)
    assert str(failed.value) == f"{URI}: not for you: a.wav"
    assert reason(failed.value) == "not for you: a.wav"


def test_where_that_is_said_already_it_is_not_said_again() -> None:
    with pytest.raises(ReadError) as failed, local_copy(URI):
        pass
    assert str(failed.value) == f"{URI}: not for you: a.wav"
