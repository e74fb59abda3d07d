"""Members of tar, tar.gz and zip files, as objects of their own: `archive.tar!/a/b.flac`."""

from __future__ import annotations

import os
import re
import threading
from collections import OrderedDict, deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO, NamedTuple, Protocol
from urllib.parse import quote

from earmark.shared import shared
from earmark.transforms.archives.bounded_files import HOSTILE_ARCHIVE_ERRORS
from earmark.transforms.archives.gzip_streams import GzipReader
from earmark.transforms.archives.index import ArchiveIndex, IndexBuilder, Member, check_path
from earmark.transforms.archives.tar_members import tar_members
from earmark.transforms.archives.zip_members import open_zip_member, zip_members
from earmark.transforms.elements import Address, AudioObject
from earmark.transforms.errors import (
    AudioError,
    DamagedError,
    EmptyFileError,
    ReadError,
    UnsupportedError,
)
from earmark.transforms.storage import (
    APPLE_DOUBLE,
    file_kind,
    local_path,
    look_up,
    open_file,
    store_errors,
    temporary_copy,
    without_signature,
)

MAX_MEMBERS = 10_000_000
"""Members beyond this number are refused."""

MAX_NAME_CHARACTERS = 4096
"""Members from a longer name on are refused; no filesystem allows such names."""

INDEX_BYTES = 256 << 20
"""About how much memory a process spends on indexes of archives."""

_CHUNK_BYTES = 1 << 20
_ARCHIVE_END = re.compile(r"\.(?:tar|tar\.gz|tgz|zip)(?=!/|\Z)", re.IGNORECASE)


class Place(NamedTuple):
    """A member of an archive.

    Attributes:
      archive: the archive, as it was looked up.
      name: the member's; empty for the unreadable rest of the archive.
    """

    archive: AudioObject
    name: str


def is_archive(uri: str) -> bool:
    """Whether an object is an archive by its name."""
    ends = [match.end() for match in _ARCHIVE_END.finditer(uri)]
    return len(uri) in ends and file_kind(uri) != APPLE_DOUBLE


def place_of(uri: str, address: Address | None = None) -> Place | None:
    """The archive and the member that a URI names; None if it names no member of an archive.

    An existing object of exactly that name is not taken for a member.

    Args:
      uri: of the object.
      address: of the object or its archive, where it has one.
    """
    if address is not None:
        archive, _ = without_signature(address.url)
        return None if archive == uri else Place(look_up(address.url), uri[len(archive) + 2 :])
    path = local_path(uri)
    whole = uri if path is None else path
    places = split_at_archives(whole)
    if not places or _is_there(whole):
        return None
    for archive, name in places:
        found = look_up(archive)
        if found.size_bytes is not None:
            return Place(found, name)
    return None


def split_at_archives(pattern: str) -> list[tuple[str, str]]:
    """All ways to split a path, URI or pattern into an archive and a part inside it."""
    ends = [match.end() for match in _ARCHIVE_END.finditer(pattern)]
    return [(pattern[:end], pattern[end + 2 :]) for end in ends if end < len(pattern)]


def archives_of(uri: str) -> set[str]:
    """The archives, by their names, that an object may be a member of."""
    return {archive for archive, _ in split_at_archives(uri)}


def member_uri(archive: str, name: str) -> str:
    """The URI of a member; with an empty name, of the unreadable rest of the archive."""
    return f"{archive}!/{quote(name) if archive.startswith('file:') else name}"


@contextmanager
def member_copy(place: Place) -> Iterator[str]:
    """The path of a local file with the content of a member of an archive.

    It is unpacked in full into a temporary file that is deleted afterwards.

    Raises:
      ReadError: the archive cannot be read, the member isn't in it, or is a pipe or a device; or
        there is no room for it among the temporary files.
      DamagedError: its data is damaged; or it is the rest of a damaged archive.
      UnsupportedError: it is encrypted, compressed with an unsupported method, or refused.
    """
    index, member = _found(place)
    with temporary_copy(member.size_bytes) as copy:
        for chunk in _content(place.archive.source, index, member):
            copy.write(chunk)
        yield copy.name


def member_chunks(place: Place) -> Iterator[bytes]:
    """The content of a member of an archive.

    Raises:
      AudioError: as member_copy, but not for lack of room.
    """
    yield from _content(place.archive.source, *_found(place))


def list_members(archive: AudioObject) -> Iterator[tuple[str, AudioObject]]:
    """The names and objects of an archive's members, as they are found.

    If not all could be read, the last one has no name, the archive's URI with nothing after the
    `!/`, and no size. Decoding it raises the reason.
    """
    rest = archive._replace(uri=member_uri(archive.uri, ""), size_bytes=None)
    # a folder x.tar! beside x.tar: what is in it has the members' names
    if archive.address is None and _is_there(rest.uri):
        yield "", rest
        return
    scan = _Scan(archive)
    for member in scan:
        yield member.name, _object(member_uri(archive.uri, member.name), archive, member)
    if scan.trouble is not None:
        yield "", rest


def look_up_member(place: Place) -> AudioObject:
    """One member; of unknown size and without a version if it isn't there."""
    uri = member_uri(place.archive.uri, place.name)
    member = _index(place.archive).find(place.name)
    if member is None:
        return AudioObject(uri, None, "", place.archive.address)
    return _object(uri, place.archive, member)


def trouble_with_member(member: AudioObject) -> str | None:
    """Why a member cannot be read; None if it can, or if it is not a member."""
    place = place_of(member.uri, member.address)
    try:
        if place is not None:
            next(member_chunks(place), b"")
    except AudioError as error:
        return str(error) if str(error).startswith("is ") else f"cannot be read: {error}"
    return None


def _found(place: Place) -> tuple[ArchiveIndex, Member]:
    """A member that can be read, and the index of its archive."""
    index = _index(place.archive)
    if place.name:
        check_path(place.name)
    member = index.find(place.name)
    if member is None:
        index.raise_trouble()
        raise ReadError("is not in the archive, or links to something that is not")
    member.check()
    return index, member


def _object(uri: str, archive: AudioObject, member: Member) -> AudioObject:
    version = f"{archive.version}/{member.size_bytes}-{member.mark}"
    size_bytes = member.size_bytes if member.has_size else None
    return AudioObject(uri, size_bytes, version, archive.address)


def _is_there(uri: str) -> bool:
    """Whether there is a file, or locally also a folder or a link, of exactly that name."""
    path = local_path(uri)
    return look_up(uri).size_bytes is not None if path is None else os.path.lexists(path)


# reading archives


class _Scan:
    """Reads through an archive once, and then has an index of its members.

    Attributes:
      trouble: why the archive could not be read to its end.
      index: of its members.
    """

    def __init__(self, archive: AudioObject) -> None:
        self._archive = archive
        self._builder = IndexBuilder()
        self._gzip: GzipReader | None = None
        self._is_zip = False
        self.trouble: AudioError | None = None
        self.index = self._builder.build()

    def __iter__(self) -> Iterator[Member]:
        try:
            with open_file(self._archive.source) as file:
                for member in self._members(file):
                    if len(self._builder) == MAX_MEMBERS:
                        raise UnsupportedError(f"refused: more than {MAX_MEMBERS:,} members")
                    if len(member.name) > MAX_NAME_CHARACTERS:
                        raise UnsupportedError(
                            f"refused: a name of {len(member.name):,} characters"
                        )
                    self._builder.add(member)
                    yield member
        except AudioError as error:
            self._stop(error)
        except store_errors() as error:
            self._stop(ReadError(_words(error)))
        except HOSTILE_ARCHIVE_ERRORS as error:
            self._stop(DamagedError(_words(error)))
        points = None if self._gzip is None else tuple(self._gzip.points)
        self.index = self._builder.build(points, self._is_zip, self.trouble)
        if not isinstance(self.trouble, ReadError):  # which may go better the next time
            shared(_Indexes).put(self._archive, self.index)

    def _members(self, file: BinaryIO) -> Iterator[Member]:
        start = file.read(4)
        file.seek(0)
        if not start:
            raise EmptyFileError("the archive is empty")
        if start.startswith(b"\x1f\x8b"):
            self._gzip = GzipReader(file)
            return tar_members(self._gzip)
        self._is_zip = start.startswith(b"PK") or self._archive.uri.lower().endswith("zip")
        return zip_members(file) if self._is_zip else tar_members(file)

    def _check(self, member: Member) -> None:
        if len(self._builder) == MAX_MEMBERS:
            raise UnsupportedError(f"refused: more than {MAX_MEMBERS:,} members")
        if len(member.name) > MAX_NAME_CHARACTERS:
            raise UnsupportedError(f"refused: a name of {len(member.name):,} characters")

    def _stop(self, error: AudioError) -> None:
        told = f"no more than {len(self._builder)} members of the archive can be read: {error}"
        self.trouble = type(error)(told)


def _content(archive: str, index: ArchiveIndex, member: Member) -> Iterator[bytes]:
    left = member.size_bytes
    try:
        with open_file(archive) as file:
            source = _opened(file, index, member)
            while chunk := source.read(min(left, _CHUNK_BYTES)):
                left -= len(chunk)
                yield chunk
            if isinstance(source, GzipReader):
                index.note(source.fresh)
    except store_errors() as error:
        raise ReadError(_words(error)) from error
    except HOSTILE_ARCHIVE_ERRORS as error:
        raise DamagedError(f"damaged in the archive: {_words(error)}") from error
    if left:
        raise DamagedError("the archive ends within it")


def _opened(file: BinaryIO, index: ArchiveIndex, member: Member) -> _Source:
    """A file to read a member's content from."""
    if index.is_zip:
        return open_zip_member(file, member)
    source = GzipReader(file, index.points()) if index.is_gzip else file
    source.seek(member.offset)
    return source


class _Source(Protocol):
    def read(self, size: int, /) -> bytes: ...


def _words(error: Exception) -> str:
    said = getattr(error, "strerror", None) or " ".join(str(error).split())
    return said or type(error).__name__


# what is known of archives


class _Indexes:
    """The indexes of the archives used last, in all not much more than INDEX_BYTES."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._indexes: OrderedDict[AudioObject, ArchiveIndex] = OrderedDict()
        self._turns = [threading.Lock() for _ in range(64)]
        self._memory_bytes = 0

    def turn(self, archive: AudioObject) -> threading.Lock:
        """Held by the one thread that finds out about an archive."""
        return self._turns[hash(archive.uri) % len(self._turns)]

    def get(self, archive: AudioObject) -> ArchiveIndex | None:
        with self._lock:
            index = self._indexes.get(archive)
            if index is not None:
                self._indexes.move_to_end(archive)
            return index

    def put(self, archive: AudioObject, index: ArchiveIndex) -> None:
        with self._lock:
            before = self._indexes.pop(archive, None)
            self._memory_bytes += index.memory_bytes - (before.memory_bytes if before else 0)
            self._indexes[archive] = index
            while self._memory_bytes > INDEX_BYTES and len(self._indexes) > 1:
                _, oldest = self._indexes.popitem(last=False)
                self._memory_bytes -= oldest.memory_bytes


def _index(archive: AudioObject) -> ArchiveIndex:
    """The index of an archive; only one thread builds it."""
    indexes = shared(_Indexes)
    with indexes.turn(archive):
        index = indexes.get(archive)
        if index is None:
            scan = _Scan(archive)
            deque(scan, maxlen=0)
            index = scan.index
        return index
