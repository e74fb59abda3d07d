"""What obstore does not reach, or whose names it can't take, through Beam."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import BinaryIO, cast

from apache_beam.io.filesystem import CompressionTypes, FileMetadata, FileSystem

from earmark.transforms.elements import ByteRange
from earmark.transforms.storage.beam_filesystems import beam_filesystem
from earmark.transforms.storage.retrying import retrying
from earmark.transforms.storage.stored import READ_BYTES, Reading, Stored, StoreError
from earmark.transforms.storage.telling import told


class BeamFiles:
    """A Store of whatever Beam has a filesystem for."""

    def look(self, uri: str) -> Stored:
        """What there is at a URI."""
        filesystem = beam_filesystem(uri)
        with told(uri):
            if filesystem.has_dirs() and not filesystem.exists(uri):  # of which HDFS has no code
                raise FileNotFoundError("is not there")
            return _stored(filesystem.metadata(uri))

    def list_below(self, beginning: str) -> Iterator[Stored]:
        """All files whose URIs begin like this, at any depth."""
        filesystem = beam_filesystem(beginning)
        if filesystem.has_dirs():
            folder = beginning[: beginning.rindex("/") + 1]
            with told(beginning):
                is_there = filesystem.exists(folder)
            yield from _walk(filesystem, folder) if is_there else ()
            return
        for file in _listed(filesystem, beginning):
            if not file.uri.endswith("/"):  # an object store's stand-in for a folder
                yield file

    def read(self, uri: str, part: ByteRange | None) -> Reading:
        """A file, or a part of it, to its end; a broken connection is taken up again."""
        stored = self.look(uri)
        return Reading(stored, self._chunks(stored, *(part or (0, stored.size_bytes))))

    def open(self, uri: str) -> BinaryIO:
        """A file to be read from any position."""
        with told(uri):
            opened = beam_filesystem(uri).open(uri, compression_type=CompressionTypes.UNCOMPRESSED)
        return cast(BinaryIO, opened)

    def create(self, uri: str) -> AbstractContextManager[BinaryIO]:
        """A file to be written."""
        filesystem = beam_filesystem(uri)
        with told(uri):
            if filesystem.has_dirs():  # where nothing is written over
                self.delete(filter(filesystem.exists, [uri]))
            created = filesystem.create(uri, compression_type=CompressionTypes.UNCOMPRESSED)
        return cast(AbstractContextManager[BinaryIO], created)

    def create_if_absent(self, uri: str, content: bytes) -> bool:
        """Write a file unless one of that name is there: Beam knows no way."""
        raise StoreError("it isn't known how to create a file there only if there is none")

    def make_folder(self, folder: str) -> None:
        """Make a folder, where the filesystem has such things."""
        filesystem = beam_filesystem(folder)
        with told(folder):
            if not filesystem.exists(folder):
                filesystem.mkdirs(folder)

    def rename(self, moves: Sequence[tuple[str, str]]) -> None:
        """Give files other names; files that have these are replaced."""
        sources, targets = (list(uris) for uris in zip(*moves, strict=True))
        filesystem = beam_filesystem(targets[0])
        with told(targets[0]):
            if filesystem.has_dirs():  # which renames onto nothing
                self.delete(filter(filesystem.exists, targets))
            filesystem.rename(sources, targets)

    def delete(self, uris: Iterable[str]) -> None:
        """Delete files."""
        if files := list(uris):
            with told(files[0]):
                beam_filesystem(files[0]).delete(files)

    def _chunks(self, stored: Stored, start: int, stop: int) -> Iterator[bytes]:
        done = start
        for attempt in retrying(_passes):
            with attempt, told(stored.uri), self.open(stored.uri) as file:
                file.seek(done)
                while chunk := file.read(min(READ_BYTES, stop - done)):
                    done += len(chunk)
                    yield chunk
        if self.look(stored.uri) != stored:
            raise StoreError("has changed while it was read")
        if done != stop:
            raise StoreError(f"{done - start} bytes came, not {stop - start}")


def _stored(file: FileMetadata) -> Stored:
    return Stored(file.path, file.size_in_bytes, _changed_s(file))


def _changed_s(file: FileMetadata) -> float:
    """When a file was changed; on S3 in whole seconds, since some S3-like stores say no more."""
    changed_s = file.last_updated_in_seconds or 0.0
    return float(int(changed_s)) if file.path.startswith("s3://") else changed_s


def _walk(filesystem: FileSystem, folder: str) -> Iterator[Stored]:
    """The files in a folder at any depth; a listing shows folders, too, as empty files."""
    for file in _listed(filesystem, folder):
        yield from [file] if file.size_bytes else _inside(filesystem, file)


def _inside(filesystem: FileSystem, file: Stored) -> list[Stored]:
    """The files in what may be a folder; itself if it is none."""
    try:
        return list(_walk(filesystem, f"{file.uri}/")) or [file]
    except OSError:
        return [file]


def _listed(filesystem: FileSystem, beginning: str) -> Iterator[Stored]:
    """What a filesystem lists, by the method that each must have for it.

    Beam's match, which calls it, holds the whole list in memory, and finds nothing in a folder
    whose name has one of the signs of its patterns.
    """
    with told(beginning):
        yield from map(_stored, filesystem._list(beginning))


def _passes(error: BaseException) -> bool:
    """Whether it failed in a way that passes: neither Beam nor the store has refused it."""
    cause = error.__cause__ or error
    refused = (FileNotFoundError, PermissionError, IsADirectoryError)
    # Beam's own errors come once it has tried what can be tried
    return isinstance(error, OSError) and not (
        isinstance(cause, refused) or getattr(cause, "exception_details", None)
    )
