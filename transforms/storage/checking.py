"""Whether a URI is one that a store can be asked for."""

from __future__ import annotations

from earmark.transforms.storage.paths import ListingError, is_web, shown
from earmark.transforms.storage.reachability import check_known, check_reachable
from earmark.transforms.text import holds_credentials


def check_store(uri: str, *, to_write: bool = False) -> None:
    """Check that a URI holds no credentials, and that somebody answers where it leads.

    Raises:
      ListingError: it does, no store is known for it, the store cannot be reached, or is a web
        server and to be written to.
    """
    if holds_credentials(uri):
        raise ListingError(f"{shown(uri)}: credentials don't go into URIs")
    check_known(uri)
    if to_write and is_web(uri):
        raise ListingError(f"{shown(uri)}: files on web servers can be read, not written")
    check_reachable(uri)
