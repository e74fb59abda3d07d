"""The one door to stores: whatever is read, written or listed elsewhere goes through here.

S3, GCS, Azure and web servers are reached by obstore. Beam's filesystems serve other URIs, such as
hdfs://, and objects in S3 and GCS whose names obstore can't take.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from typing import BinaryIO

from tenacity import Retrying

from earmark.transforms.elements import ByteRange
from earmark.transforms.storage.beam_files import BeamFiles
from earmark.transforms.storage.clients import is_object_store
from earmark.transforms.storage.object_stores import ObjectStores, OddNameError
from earmark.transforms.storage.paths import local_path, scheme
from earmark.transforms.storage.retrying import TRIES, retrying
from earmark.transforms.storage.stored import STORE_ERRORS, Reading, Store, Stored


def look(uri: str) -> Stored:
    """What there is at a URI.

    Raises:
      FileNotFoundError: nothing.
      StoreError: it cannot be looked up.
      ValueError: no filesystem is known for it.
    """
    return _store(uri).look(uri)


def exists(path: str) -> bool:
    """Whether there is a file at a path or a URI; raises as look."""
    local = local_path(path)
    if local is not None:
        return os.path.exists(local)
    try:
        look(path)
    except FileNotFoundError:
        return False
    return True


def list_below(beginning: str) -> Iterator[Stored]:
    """All objects whose URIs begin like this, at any depth; raises as look."""
    last = None
    try:
        for last in _store(beginning).list_below(beginning):
            yield last
    except OddNameError:
        if scheme(beginning) not in ("s3", "gs"):
            raise
        # these list by names, so what has come is known
        for each in _BEAM.list_below(beginning):
            if last is None or each.uri > last.uri:
                yield each


def read(uri: str, part: ByteRange | None = None) -> Reading:
    """An object, or a part of it, to be read once from its beginning to its end; raises as look."""
    return _store(uri).read(uri, part)


def open_file(path: str) -> BinaryIO:
    """A file or an object, to be read from any position; raises OSError, or as look."""
    local = local_path(path)
    return _store(path).open(path) if local is None else open(local, "rb")


def create(uri: str) -> AbstractContextManager[BinaryIO]:
    """An object to be written, which is there once the context ends well; raises as look."""
    return _store(uri).create(uri)


def create_if_absent(uri: str, content: bytes) -> bool:
    """Write an object unless one of that name is there; of several that try at once, one does.

    Raises:
      StoreError: it cannot be written, or the store knows no way to do that.
    """
    return _store(uri).create_if_absent(uri, content)


def make_store_folder(folder: str) -> None:
    """Make a folder in a store that has such things."""
    _store(folder).make_folder(folder)


def rename(moves: Sequence[tuple[str, str]]) -> None:
    """Give objects other names in their bucket; objects that have these are replaced.

    Raises:
      FileNotFoundError: one isn't there.
      StoreError: one cannot be renamed.
    """
    _store(moves[0][0]).rename(moves)


def delete_objects(uris: Sequence[str]) -> None:
    """Delete objects; where the store minds, those that aren't there are an error."""
    if uris:
        _store(uris[0]).delete(uris)


def persisting(path: str) -> Retrying:
    """Does again, from its beginning, what may be done twice: writing an object, or a commit.

    An upload whose last answer is lost fails when it is asked after, and a deletion that is sent
    again finds nothing. What fails on this machine is not tried again.
    """
    tries = 1 if local_path(path) is not None else TRIES
    return retrying(lambda error: isinstance(error, STORE_ERRORS), tries)


def _store(uri: str) -> Store:
    return _OBJECTS if is_object_store(uri) else _BEAM


_OBJECTS, _BEAM = ObjectStores(), BeamFiles()
