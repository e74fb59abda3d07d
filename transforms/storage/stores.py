"""The one door to stores: whatever is read, written or listed elsewhere goes through here.

S3, GCS, Azure and web servers are reached by obstore. Beam's filesystems serve other URIs, such as
hdfs://, and objects in S3 and GCS whose names obstore can't take.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import cache
from typing import TYPE_CHECKING, BinaryIO, TypeAlias, Union

from tenacity import Retrying

from earmark.transforms.errors import store_errors
from earmark.transforms.storage.clients import is_object_store
from earmark.transforms.storage.object_stores import ObjectStores
from earmark.transforms.storage.paths import local_path, scheme
from earmark.transforms.storage.retrying import TRIES, retrying
from earmark.transforms.storage.stored import Stored
from earmark.transforms.storage.telling import OddNameError

if TYPE_CHECKING:
    from earmark.transforms.storage.beam_files import BeamFiles

Store: TypeAlias = Union[ObjectStores, "BeamFiles"]
"""What reads and writes objects by URIs; its methods raise as `store_of(uri).look` does."""


def store_of(uri: str) -> Store:
    """The store of a URI, which may turn out not to know it.

    `store_of(uri).look(uri)`, like its other methods, raises

      FileNotFoundError: there is no such object.
      StoreError: the store cannot be reached, or refuses.
      ValueError: no filesystem is known for it.
    """
    return _OBJECTS if is_object_store(uri) else _beam_files()


def exists(path: str) -> bool:
    """Whether there is a file at a path or a URI; raises as store_of(uri).look."""
    local = local_path(path)
    if local is not None:
        return os.path.exists(local)
    try:
        store_of(path).look(path)
    except FileNotFoundError:
        return False
    return True


def list_below(beginning: str) -> Iterator[Stored]:
    """All objects whose URIs begin like this, at any depth; raises as store_of(uri).look."""
    last = None
    try:
        for last in store_of(beginning).list_below(beginning):
            yield last
    except OddNameError:
        if scheme(beginning) not in ("s3", "gs"):
            raise
        # these list by names, so what has come is known
        for each in _beam_files().list_below(beginning):
            if last is None or each.uri > last.uri:
                yield each


def open_file(path: str) -> BinaryIO:
    """A file or an object to be read from any position; raises OSError too."""
    local = local_path(path)
    return store_of(path).open(path) if local is None else open(local, "rb")


def persisting(path: str) -> Retrying:
    """Does again, from its beginning, what may be done twice: writing an object, or a commit.

    An upload whose last answer is lost fails when it is asked after, and a deletion that is sent
    again finds nothing. What fails on this machine is not tried again.
    """
    tries = 1 if local_path(path) is not None else TRIES
    return retrying(lambda error: isinstance(error, store_errors()), tries)


_OBJECTS = ObjectStores()


@cache
def _beam_files() -> BeamFiles:
    """Made when a URI needs it: Beam takes a second to import."""
    from earmark.transforms.storage.beam_files import BeamFiles

    return BeamFiles()
