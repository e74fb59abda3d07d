"""Listings in the orders that stores have, which may break off."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timezone
from typing import Any

import pytest
from obstore.exceptions import GenericError

from earmark.transforms.storage import StoreError, list_below, object_stores

NAMES = [
    "a",
    "site-1/x.wav",
    *(f"site/{number}.wav" for number in range(5)),
    "site-0.wav",
    "site.wav",
    "site/deep-1.wav",
    "site/deep/1.wav",
    "site/deep/2/3.wav",
    "site0.wav",
    "site1/x.wav",
    "z",
]


def by_step(name: str) -> list[str]:
    return name.split("/")


class Listing:
    """Stands for a client of obstore whose listings break off once, behind so many objects."""

    def __init__(self, names: list[str], breaks_off_behind: int, per_page: int = 2) -> None:
        self.names, self._left, self._per_page = names, breaks_off_behind, per_page
        self.asked = 0

    def list(
        self, prefix: str | None, *, offset: str | None, chunk_size: int
    ) -> Iterator[list[dict[str, Any]]]:
        self.asked += 1
        beginning = "" if prefix is None else f"{prefix}/"
        found = [
            {"path": name, "size": 1, "last_modified": NOW, "e_tag": None}
            for name in self.names
            if name.startswith(beginning) and (offset is None or name > offset)
        ]
        for start in range(0, len(found), self._per_page):
            if self._left <= start and self.asked == 1:
                self.changed()
                raise GenericError("the connection is closed")
            yield found[start : start + self._per_page]

    def changed(self) -> None:
        """What happens while the connection is broken."""


NOW = datetime.now(timezone.utc)
BEGINNINGS = ["", "site", "site-", "site-1", "site/", "site/d", "site/deep", "site/deep/", "s", "x"]


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tenacity.nap.time.sleep", lambda _: None)


@pytest.mark.parametrize("behind", [*range(0, len(NAMES), 2), 99])
@pytest.mark.parametrize("beginning", BEGINNINGS)
@pytest.mark.parametrize(
    ("root", "key"), [("az://c", by_step), ("az://c", str), ("s3://b", str), ("gs://b", str)]
)
def test_each_object_is_listed_once_in_whatever_order(
    monkeypatch: pytest.MonkeyPatch, root: str, key: Any, beginning: str, behind: int
) -> None:
    client = Listing(sorted(NAMES, key=key), behind)
    monkeypatch.setattr(object_stores, "client_of", lambda _: client)
    found = [each.uri for each in list_below(f"{root}/{beginning}")]
    assert sorted(found) == sorted(f"{root}/{name}" for name in NAMES if name.startswith(beginning))


@pytest.mark.parametrize("key", [by_step, str])
def test_in_azure_a_listing_ends_behind_what_is_wanted(
    monkeypatch: pytest.MonkeyPatch, key: Any
) -> None:
    names = sorted([*NAMES, *(f"z{number:05}" for number in range(100))], key=key)
    client = Listing(names, 10)
    client.asked = 1  # so that it does not break off
    monkeypatch.setattr(object_stores, "client_of", lambda _: client)
    taken = []
    pages = client.list

    def counted(*arguments: Any, **named: Any) -> Iterator[Any]:
        for page in pages(*arguments, **named):
            taken.append(page)
            yield page

    monkeypatch.setattr(client, "list", counted)
    assert len(list(list_below("az://c/site"))) == len([n for n in NAMES if n.startswith("site")])
    assert len(taken) <= len(NAMES) // 2 + 2


def test_where_the_place_of_the_break_is_gone_that_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    client = Listing(sorted(NAMES, key=by_step), 4)
    client.changed = lambda: client.names.remove(client.names[3])  # type: ignore[method-assign]
    monkeypatch.setattr(object_stores, "client_of", lambda _: client)
    with pytest.raises(StoreError, match="changed while it was listed"):
        list(list_below("az://c/"))
