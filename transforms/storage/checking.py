"""Whether a store can be used, told in seconds and in one line before anything else is done."""

from __future__ import annotations

from importlib.util import find_spec

from earmark.transforms.storage.clients import SCHEMES, is_object_store, probe, root_of
from earmark.transforms.storage.paths import ListingError, is_web, local_path, scheme, shown
from earmark.transforms.storage.stored import reason, unusable_errors
from earmark.transforms.text import holds_credentials

_EXTRAS = {
    "gs": ("google.auth", "earmark[gcp]"),
    "s3": ("boto3", "earmark[aws]"),
    "azfs": ("azure.storage.blob", "apache-beam[azure]"),
    "hdfs": ("hdfs", "apache-beam[hadoop]"),
}


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


def check_known(uri: str) -> None:
    """Check that there is a filesystem for a URI, and what it needs is installed.

    Raises:
      ListingError: there isn't; the message says what to install.
    """
    name = scheme(uri)
    if name is None or local_path(uri) is not None:
        return
    module, extra = _EXTRAS.get(name, ("", ""))
    if module and not _is_installed(module):
        raise ListingError(f"{shown(uri)}: {name}:// needs an extra: pip install '{extra}'")
    if name not in SCHEMES and name not in (others := _schemes_of_beam()):
        there = ", ".join(f"{each}://" for each in sorted({*_EXTRAS, *SCHEMES, *others}))
        raise ListingError(
            f"{shown(uri)}: no filesystem is known for it; known are paths, file:///, {there}"
        )


def check_reachable(uri: str) -> None:
    """Ask a store once whether it is there; its library would try for minutes.

    Raises:
      ListingError: nobody answers there, or there are no credentials, or no such bucket.
    """
    root = root_of(uri)
    try:
        if is_object_store(root):
            probe(root)
    except unusable_errors() as error:
        raise ListingError(f"{shown(uri)}: {reason(error)}") from error


def check_server(uri: str) -> None:
    """Ask a web server once whether it is there, if the URI is of one; raises as the above does."""
    if is_web(uri):
        check_reachable(uri)


def _schemes_of_beam() -> set[str]:
    from earmark.transforms.storage.beam_filesystems import beam_schemes

    return beam_schemes()


def _is_installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:
        return False
