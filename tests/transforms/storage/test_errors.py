"""What is said where a store refuses."""

from __future__ import annotations

import pytest
from obstore.exceptions import PermissionDeniedError

from earmark.transforms.decoding.local_copies import local_copy
from earmark.transforms.elements import AudioObject
from earmark.transforms.errors import ReadError
from earmark.transforms.storage import StoreError, look_up, object_stores, open_file, reason
from earmark.transforms.storage.clients import forget_clients

URI = "s3://b/a.wav"


class Refusing:
    """Stands for a client of obstore."""

    def head(self, key: str, **_: object) -> None:
        raise PermissionDeniedError(f"not for you: {key}")

    get = head


@pytest.fixture
def refusing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(object_stores, "placed", lambda _: (Refusing(), "a.wav"))


@pytest.mark.usefixtures("refusing")
def test_an_error_begins_with_what_it_is_about() -> None:
    with pytest.raises(StoreError) as failed:
        open_file(URI)
    assert str(failed.value) == f"{URI}: not for you: a.wav"
    assert reason(failed.value) == "not for you: a.wav"


@pytest.mark.usefixtures("refusing")
def test_where_that_is_said_already_it_is_not_said_again() -> None:
    with pytest.raises(ReadError) as failed, local_copy(AudioObject(URI, 9, "")):
        pass
    assert str(failed.value) == f"{URI}: not for you: a.wav"


@pytest.mark.parametrize(
    "uri", ["az://c/a.wav", "az:///a.wav", "abfss://c@/a.wav", "s3://a b/a.wav", "gs:///a.wav"]
)
def test_an_object_of_which_no_store_can_be_asked_is_one_that_is_not_there(
    monkeypatch: pytest.MonkeyPatch, uri: str
) -> None:
    for name in ("AZURE_STORAGE_ACCOUNT_NAME", "AZURE_STORAGE_USE_EMULATOR"):
        monkeypatch.delenv(name, raising=False)
    forget_clients()
    assert look_up(uri) == AudioObject(uri, None, "")
    with pytest.raises(StoreError) as failed:
        open_file(uri)
    assert "\n" not in str(failed.value)
