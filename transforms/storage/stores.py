"""Objects in stores such as S3 and GCS, through Beam's filesystems, with patience.

Beam and the stores' own libraries try failed requests again; this adds what they leave out.
"""

from __future__ import annotations

import http.client
import os
import ssl
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any, BinaryIO, cast

from apache_beam.io.filesystem import CompressionTypes, FileMetadata, FileSystem
from apache_beam.io.filesystems import FileSystems
from tenacity import (
    Retrying,
    retry_if_exception,
    retry_if_exception_type,
    stop_after_attempt,
    wait_exponential_jitter,
)

from earmark.shared import shared
from earmark.transforms.errors import store_errors
from earmark.transforms.storage.paths import ListingError, local_path, scheme, shown
from earmark.transforms.text import printable

STORE_ERRORS: tuple[type[Exception], ...] = (OSError, http.client.HTTPException, *store_errors())
"""What reading and writing objects raises."""

UNUSABLE_ERRORS: tuple[type[Exception], ...] = (*STORE_ERRORS, ValueError)
"""The same, and what a URI raises that no store can take."""

READ_BYTES = 8 << 20
"""How much of an object is asked for at once."""

_EXTRAS = {
    "gs": ("google.cloud.storage", "earmark[gcp]"),
    "s3": ("boto3", "earmark[aws]"),
    "azfs": ("azure.storage.blob", "apache-beam[azure]"),
    "hdfs": ("hdfs", "apache-beam[hadoop]"),
}

_GCS = "https://storage.googleapis.com"
_ANSWER_S = 5.0
"""How long a store may take to answer that it is there."""

_TRIES = 4
_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.5, 20.0


def open_object(uri: str) -> BinaryIO:
    """An object, to be read from any position; its bytes as they are stored.

    Raises:
      STORE_ERRORS: it cannot be opened.
      ValueError: no filesystem is known for it.
    """
    filesystem = FileSystems.get_filesystem(uri)
    if _is_s3(filesystem):
        opened = _s3(filesystem).open(uri, "rb", read_buffer_size=READ_BYTES)
    else:
        opened = filesystem.open(uri, compression_type=CompressionTypes.UNCOMPRESSED)
    return cast(BinaryIO, opened)


def stat_object(uri: str) -> FileMetadata:
    """An object's size and the time of its last change, by one request.

    Raises:
      STORE_ERRORS: it cannot be looked up, or isn't there.
      ValueError: no filesystem is known for it.
    """
    filesystem = FileSystems.get_filesystem(uri)
    if not _is_s3(filesystem):
        return filesystem.metadata(uri)
    status = _s3(filesystem)._status(uri)
    return FileMetadata(uri, status["size"], status["last_updated"])


def version_of(file: FileMetadata) -> str:
    """What changes when an object does: SIZE-MILLISECONDS.

    On S3 in whole seconds, since some S3-like stores say less when they are asked for one object
    than when they list it.
    """
    changed_s = file.last_updated_in_seconds or 0
    changed_ms = int(changed_s) * 1000 if scheme(file.path) == "s3" else round(changed_s * 1000)
    return f"{file.size_in_bytes}-{changed_ms}"


def retrying() -> Retrying:
    """Tries again what failed in a way that passes, after longer and longer waits.

    Not what Beam or a store's library has tried for minutes, nor what the store refuses.
    """
    return Retrying(
        retry=retry_if_exception(_passes),
        stop=stop_after_attempt(_TRIES),
        wait=wait_exponential_jitter(_FIRST_WAIT_S, _LONGEST_WAIT_S),
        reraise=True,
    )


def persisting(path: str) -> Retrying:
    """Does again, from its beginning, what may be done twice: writing an object, or a commit.

    An upload whose last answer is lost fails when it is asked after, and a deletion that is sent
    again finds nothing. What fails on this machine is not tried again.
    """
    return Retrying(
        retry=retry_if_exception_type(STORE_ERRORS),
        stop=stop_after_attempt(1 if local_path(path) is not None else _TRIES),
        wait=wait_exponential_jitter(_FIRST_WAIT_S, _LONGEST_WAIT_S),
        reraise=True,
    )


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
    known = {filesystem.scheme() for filesystem in FileSystem.get_all_subclasses()}
    if name not in known:
        there = ", ".join(f"{each}://" for each in sorted({*_EXTRAS, *known} - {None}))
        raise ListingError(
            f"{shown(uri)}: no filesystem is known for it; known are paths, file:///, {there}"
        )


def check_reachable(uri: str) -> None:
    """Ask a store whether it is there; Beam would try for minutes, even without credentials.

    Raises:
      ListingError: nobody answers there, or there are no credentials, or no such bucket.
    """
    if scheme(uri) == "gs":
        _check_answers(os.environ.get("STORAGE_EMULATOR_HOST") or _GCS, uri)
    elif scheme(uri) == "s3":
        _check_bucket(uri)


def _check_bucket(uri: str) -> None:
    from botocore.exceptions import BotoCoreError, ClientError

    bucket = uri.partition("://")[2].partition("/")[0]
    try:
        client = _s3(FileSystems.get_filesystem(uri)).client.client
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


def is_missing(error: BaseException) -> bool:
    """Whether a store says with an error that there is no such object."""
    return any(
        isinstance(each, (FileNotFoundError, NotADirectoryError))
        or getattr(each, "code", None) == http.client.NOT_FOUND
        for each in _causes(error)
    )


def reason(error: BaseException) -> str:
    """What went wrong: the first line of the first thing, without secrets."""
    said = str(_causes(error)[0]).strip().partition("\n")[0]
    return printable(" ".join(said.split()))


def _causes(error: BaseException) -> list[BaseException]:
    """What Beam has wrapped into an error; itself if nothing."""
    return list((getattr(error, "exception_details", None) or {"": error}).values())


class _Kept(threading.local):
    """What a thread asks S3 through, and the options that it was made with."""

    s3: Any = None
    options: Any = None


def _is_s3(filesystem: FileSystem) -> bool:
    return bool(filesystem.scheme() == "s3")


def _s3(filesystem: FileSystem) -> Any:
    """Beam's S3IO, one for each thread.

    Beam's filesystem makes one for each call, which takes 0.1 s, a new connection, and on EC2 two
    requests for credentials.
    """
    from apache_beam.io.aws.s3io import S3IO

    options = filesystem._options
    kept = shared(_Kept)
    if kept.s3 is None or kept.options is not options:
        kept.options, kept.s3 = options, S3IO(options=options)
    return kept.s3


def _passes(error: BaseException) -> bool:
    """Whether it can be another time; a connection that broke can."""
    if isinstance(error, (FileNotFoundError, PermissionError, IsADirectoryError)):
        return False
    if getattr(error, "exception_details", None):  # Beam's: it has tried what can be tried
        return False
    passing: tuple[type[Exception], ...] = (
        OSError,
        http.client.HTTPException,
        *_connection_errors(),
    )
    return isinstance(error, passing)


def _connection_errors() -> Iterator[type[Exception]]:
    try:
        from urllib3.exceptions import HTTPError
    except ImportError:
        return
    yield HTTPError
