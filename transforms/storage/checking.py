"""Whether a URI is one that a store can be asked for."""

from __future__ import annotations

from earmark.transforms.storage.paths import ListingError, shown
from earmark.transforms.storage.stores import check_known, check_reachable
from earmark.transforms.text import holds_credentials


def check_store(uri: str) -> None:
    """Check that a URI holds no credentials, and that somebody answers where it leads.

    Raises:
      ListingError: it does, no store is known for it, or the store cannot be reached.
    """
    if holds_credentials(uri):
        raise ListingError(f"{shown(uri)}: credentials don't go into URIs")
    check_known(uri)
    check_reachable(uri)
