"""Recordings as local files, which is what decoders read fastest."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

from apache_beam.io.filesystem import CompressionTypes
from apache_beam.io.filesystems import FileSystems

from transforms.archives import member_copy, place_of
from transforms.elements import AudioObject
from transforms.errors import ReadError
from transforms.patterns import local_path, shown
from transforms.stores import (
    READ_BYTES,
    STORE_ERRORS,
    UNUSABLE_ERRORS,
    open_object,
    reason,
    retrying,
    stat_object,
    version_of,
)


@contextmanager
def local_copy(uri: str, listed: AudioObject | None = None) -> Iterator[str]:
    """The path of a local file with an object's content.

    A local object is that file itself. A remote one is read once, from its beginning to its end,
    into a temporary file that is gone afterwards. Where the connection breaks it is read on from
    there. A member of an archive is unpacked into such a file.

    Args:
      uri: of the object.
      listed: what the listing said of it, which it must still be; None asks for it now.

    Raises:
      ReadError: the object could not be read, or is another by now.
      AudioError: a member of an archive cannot be unpacked.
    """
    place = place_of(uri)
    if place is not None:
        with member_copy(place) as unpacked:
            yield unpacked
        return
    path = local_path(uri)
    if path is not None:
        yield path
        return
    with tempfile.NamedTemporaryFile(prefix="earmark-") as copy:
        try:
            _fetch(uri, copy, listed.version if listed else "")
        except UNUSABLE_ERRORS as error:
            raise ReadError(f"{shown(uri)}: {reason(error)}") from error
        yield copy.name


def read_uri(uri: str) -> bytes:
    """The whole content at a URI of any filesystem that Beam knows; for what is small.

    Raises:
      OSError: it cannot be read.
      ValueError: no filesystem is known for it.
    """
    path = local_path(uri)
    if path is not None:
        with FileSystems.open(path, compression_type=CompressionTypes.UNCOMPRESSED) as source:
            return bytes(source.read())
    with tempfile.TemporaryFile(prefix="earmark-") as copy:
        try:
            _fetch(uri, copy, "")
        except ReadError as error:
            raise OSError(str(error)) from error
        except STORE_ERRORS as error:
            raise OSError(reason(error)) from error
        copy.seek(0)
        return copy.read()


def _fetch(uri: str, copy: IO[bytes], version: str) -> None:
    """Copy an object, all of one version."""
    version = version or _version_now(uri)
    for attempt in retrying():
        with attempt:
            _read_on(uri, copy)
    now = _version_now(uri)
    if now != version:
        raise ReadError(f"{shown(uri)}: has changed since it was listed")
    size_bytes = int(now.partition("-")[0])
    if copy.tell() != size_bytes:
        raise OSError(f"{copy.tell()} bytes came, not {size_bytes}")
    copy.flush()


def _read_on(uri: str, copy: IO[bytes]) -> None:
    """Append what is still missing."""
    with open_object(uri) as remote:
        remote.seek(copy.tell())
        while chunk := remote.read(READ_BYTES):
            copy.write(chunk)


def _version_now(uri: str) -> str:
    for attempt in retrying():
        with attempt:
            file = stat_object(uri)
    return version_of(file)
