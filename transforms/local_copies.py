"""Recordings as local files, which is what decoders read fastest."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from apache_beam.io.filesystem import CompressionTypes
from apache_beam.io.filesystems import FileSystems

from earmark.transforms.archives import member_copy, place_of
from earmark.transforms.elements import AudioObject
from earmark.transforms.errors import ReadError
from earmark.transforms.patterns import local_path, shown
from earmark.transforms.stores import (
    READ_BYTES,
    STORE_ERRORS,
    UNUSABLE_ERRORS,
    open_object,
    reason,
    retrying,
    stat_object,
    version_of,
)
from earmark.transforms.temporary_copies import TemporaryCopy, temporary_copy


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
      ReadError: the object could not be read, or is another by now, or there is no room for a copy.
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
    with ExitStack() as stack:
        try:
            copy = stack.enter_context(_fetched(uri, listed.version if listed else ""))
        except UNUSABLE_ERRORS as error:
            raise ReadError(f"{shown(uri)}: {reason(error)}") from error
        yield copy.name


def read_uri(uri: str) -> bytes:
    """The whole content at a URI of any filesystem that Beam knows; for what is small.

    Raises:
      OSError: it cannot be read, or there is no room for a copy of it.
      ValueError: no filesystem is known for it.
    """
    path = local_path(uri)
    if path is not None:
        with FileSystems.open(path, compression_type=CompressionTypes.UNCOMPRESSED) as source:
            return bytes(source.read())
    try:
        with _fetched(uri, "") as copy:
            return Path(copy.name).read_bytes()
    except ReadError as error:
        raise OSError(str(error)) from error
    except STORE_ERRORS as error:
        raise OSError(reason(error)) from error


@contextmanager
def _fetched(uri: str, version: str) -> Iterator[TemporaryCopy]:
    """A copy of an object, all of one version."""
    version = version or _version_now(uri)
    with temporary_copy(_size_bytes(version)) as copy:
        for attempt in retrying():
            with attempt:
                _read_on(uri, copy)
        now = _version_now(uri)
        if now != version:
            raise ReadError(f"{shown(uri)}: has changed since it was listed")
        if copy.written_bytes != _size_bytes(now):
            raise OSError(f"{copy.written_bytes} bytes came, not {_size_bytes(now)}")
        yield copy


def _read_on(uri: str, copy: TemporaryCopy) -> None:
    """Append what is still missing."""
    with open_object(uri) as remote:
        remote.seek(copy.written_bytes)
        while chunk := remote.read(READ_BYTES):
            copy.write(chunk)


def _size_bytes(version: str) -> int | None:
    """An object's size by its version: see `version_of`."""
    size = version.partition("-")[0]
    return int(size) if size.isdecimal() else None


def _version_now(uri: str) -> str:
    for attempt in retrying():
        with attempt:
            file = stat_object(uri)
    return version_of(file)
