"""Whether a store is there at all, told in seconds and in one line before anything else is done."""

from __future__ import annotations

import http.client
import os
import ssl
import urllib.error
import urllib.request
from importlib.util import find_spec
from typing import Any

from apache_beam.io.filesystem import FileSystem

from earmark.shared import shared
from earmark.transforms.storage.clients import GCS, boto_client, root_of
from earmark.transforms.storage.object_stores import probe_container
from earmark.transforms.storage.paths import ListingError, is_web, local_path, scheme, shown
from earmark.transforms.storage.stored import STORE_ERRORS, reason
from earmark.transforms.text import printable

_EXTRAS = {
    "gs": ("google.auth", "earmark[gcp]"),
    "s3": ("boto3", "earmark[aws]"),
    "azfs": ("azure.storage.blob", "apache-beam[azure]"),
    "hdfs": ("hdfs", "apache-beam[hadoop]"),
}
_BUILT_IN = ("az", "abfs", "abfss", "http", "https")

_ANSWER_S = 5.0
"""How long a store may take to answer that it is there."""


def check_known(uri: str) -> None:
    """Check that there is a filesystem for a URI, and what it needs is installed.

    Raises:
      ListingError: there isn't; the message says what to install.
    """
    name = scheme(uri)
    if name is None or name in _BUILT_IN or local_path(uri) is not None:
        return
    module, extra = _EXTRAS.get(name, ("", ""))
    if module and not _is_installed(module):
        raise ListingError(f"{shown(uri)}: {name}:// needs an extra: pip install '{extra}'")
    known = {filesystem.scheme() for filesystem in FileSystem.get_all_subclasses()}
    if name not in known:
        there = ", ".join(
            f"{each}://" for each in sorted({*_EXTRAS, *_BUILT_IN, *known} - _NO_STORES)
        )
        raise ListingError(
            f"{shown(uri)}: no filesystem is known for it; known are paths, file:///, {there}"
        )


_NO_STORES = {None, "earmark-options"}


def check_reachable(uri: str) -> None:
    """Ask a store once whether it is there; its library would try for minutes.

    Raises:
      ListingError: nobody answers there, or there are no credentials, or no such bucket.
    """
    name = scheme(uri)
    if name == "gs":
        _check_answers(os.environ.get("STORAGE_EMULATOR_HOST") or GCS, uri)
    elif name == "s3":
        _check_bucket(uri)
    elif is_web(uri):
        _check_answers(root_of(uri), uri)
    elif name in ("az", "abfs", "abfss"):
        try:
            probe_container(uri)
        except STORE_ERRORS as error:
            raise ListingError(f"{shown(uri)}: {reason(error)}") from error


def _check_bucket(uri: str) -> None:
    from botocore.exceptions import BotoCoreError, ClientError

    bucket = root_of(uri).partition("://")[2]
    try:
        _, client = boto_client()
        _check_answers(client.meta.endpoint_url, uri)
        client.head_bucket(Bucket=bucket)
    except ClientError as error:
        if error.response.get("Error", {}).get("Code") in ("404", "NoSuchBucket"):
            raise ListingError(f"{shown(uri)}: there is no bucket {printable(bucket)}") from error
    except ListingError:
        raise
    except (BotoCoreError, ValueError) as error:  # ValueError: an endpoint that is no URL
        raise ListingError(f"{shown(uri)}: {reason(error)}") from error


def _check_answers(endpoint: str, uri: str) -> None:
    """See once whether anybody answers at an endpoint, whatever it is; nothing secret is sent."""
    endpoint = endpoint if "://" in endpoint else f"http://{endpoint}"
    if endpoint in shared(_Answered):
        return
    try:
        request = urllib.request.Request(endpoint, method="HEAD")
        _asking().open(request, timeout=_ANSWER_S).close()
    except urllib.error.HTTPError:  # an answer
        pass
    except (OSError, http.client.HTTPException, ValueError) as error:
        cause = getattr(error, "reason", error)
        cause = getattr(cause, "strerror", None) or cause
        raise ListingError(
            f"{shown(uri)}: nobody answers at {printable(endpoint)}: {printable(cause, 200)}"
        ) from error
    shared(_Answered).add(endpoint)


def _asking() -> urllib.request.OpenerDirector:
    """Asks without following to other places, or checking certificates: the library does that."""
    return urllib.request.build_opener(
        _Stay, urllib.request.HTTPSHandler(context=ssl._create_unverified_context())
    )


class _Stay(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        """Take a redirection as an answer."""


class _Answered(set[str]):
    """Endpoints that are there."""


def _is_installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:
        return False
