"""Objects in S3, GCS and Azure, and files on web servers, by obstore."""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from enum import Enum, auto
from typing import Any, BinaryIO, NamedTuple, cast

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError, InvalidPathError

from earmark.transforms.elements import ByteRange
from earmark.transforms.storage.clients import Client, client_of, placed, root_of
from earmark.transforms.storage.paths import is_web, scheme
from earmark.transforms.storage.retrying import TRIES, retrying
from earmark.transforms.storage.signed_urls import without_signature
from earmark.transforms.storage.stored import (
    READ_BYTES,
    Reading,
    Stored,
    StoreError,
    is_same_version,
)
from earmark.transforms.storage.telling import told

_PAGE = 1000


class ObjectStores:
    """A Store of the objects that obstore can reach, which tries failed requests again itself."""

    def look(self, uri: str) -> Stored:
        """What there is at a URI."""
        with told(uri):
            return _stored(uri, _head(*placed(uri), uri))

    def list_below(self, beginning: str) -> Iterator[Stored]:
        """All objects whose URIs begin like this, at any depth.

        Raises:
          OddNameError: one has a name that obstore cannot take.
        """
        if is_web(beginning):
            raise StoreError("a web server has no listing: name each file, here or in a manifest")
        root = root_of(beginning)
        key = beginning[len(root) + 1 :]
        with told(beginning):
            for meta in _without_folders(_listed(client_of(root), key, _Order.of(root))):
                yield _stored(f"{root}/{meta['path']}", meta)

    def read(self, uri: str, part: ByteRange | None) -> Reading:
        """An object, or a part of it, to its end; a broken connection is taken up again."""
        with told(uri):
            client, key = placed(uri)
            answer = client.get(key, options={"range": part} if part else None)
        stored = _stored(uri, answer.meta)
        part = part or (0, stored.size_bytes)
        return Reading(stored, _chunks(_Object(uri, stored), part, answer))

    def open(self, uri: str) -> BinaryIO:
        """An object to be read from any position, all of one version."""
        raw = _ObjectFile(_Object(uri, self.look(uri)))
        return cast(BinaryIO, io.BufferedReader(raw, READ_BYTES))

    @contextmanager
    def create(self, uri: str) -> Iterator[BinaryIO]:
        """An object to be written, which is there once the context ends well."""
        client, key = _writable(uri)
        writer = obstore.open_writer(client, key, buffer_size=READ_BYTES, max_concurrency=2)
        yield cast(BinaryIO, _Sink(uri, writer))
        with told(uri):
            writer.close()

    def create_if_absent(self, uri: str, content: bytes) -> bool:
        """Write an object unless one of that name is there; of several that try, one does."""
        client, key = _writable(uri)
        with told(uri):
            try:
                client.put(key, content, mode="create")
            except AlreadyExistsError:
                # an answer that was lost has had the request sent again
                return bytes(client.get(key).bytes()) == content
        return True

    def make_folder(self, folder: str) -> None:
        """Make a folder: there are none."""

    def rename(self, moves: Sequence[tuple[str, str]]) -> None:
        """Give objects other names in the same bucket; objects that have these are replaced."""
        for source, target in moves:
            client, key = _writable(source)
            with told(target):
                client.copy(key, placed(target)[1])
        self.delete(source for source, _ in moves)

    def delete(self, uris: Iterable[str]) -> None:
        """Delete objects, those that are there."""
        keys: dict[str, list[str]] = {}
        for uri in uris:
            keys.setdefault(root_of(uri), []).append(_writable(uri)[1])
        for root, group in keys.items():
            with told(root):
                _delete(client_of(root), group)


def _head(client: Client, key: str, uri: str) -> Any:
    """What there is; some web servers answer no HEAD, and no URL signed for GET permits it."""
    if not is_web(uri):
        return client.head(key)
    if without_signature(uri)[1] is None:
        with suppress(BaseError, FileNotFoundError):
            return client.head(key)
    with suppress(BaseError):  # as for an empty file
        return client.get(key, options={"range": (0, 1)}).meta
    return client.get(key).meta


def _delete(client: Client, keys: list[str]) -> None:
    try:
        client.delete(keys)
    except FileNotFoundError:  # GCS and Azure tell, and leave others undone
        for key in keys:
            try:
                client.delete(key)
            except FileNotFoundError:
                continue


def _writable(uri: str) -> tuple[Client, str]:
    if is_web(uri):
        raise StoreError("files on web servers can be read, not written")
    return placed(uri)


def _stored(uri: str, meta: Any) -> Stored:
    name, _ = without_signature(uri)
    return Stored(name, meta["size"], meta["last_modified"].timestamp(), _bare(meta["e_tag"] or ""))


def _bare(etag: str) -> str:
    return etag.removeprefix("W/").strip('"')


# listing


class _Order(Enum):
    """In which order a store lists the objects of a folder."""

    BY_NAME = auto()
    BY_NAME_OR_STEP = auto()
    """Azure: the latter, a slash before any other character, in accounts that have real folders."""
    UNKNOWN = auto()
    """S3's directory buckets."""

    @classmethod
    def of(cls, root: str) -> _Order:
        """That of a bucket or container."""
        if scheme(root) not in ("s3", "gs"):
            return cls.BY_NAME_OR_STEP
        return cls.UNKNOWN if root.endswith("--x-s3") else cls.BY_NAME

    def is_over(self, key: str, beginning: str) -> bool:
        """Whether no key behind this one has a beginning, which this one has not."""
        if self is _Order.UNKNOWN or key < beginning:
            return False
        return self is _Order.BY_NAME or key.split("/") > beginning.split("/")


def _listed(client: Client, beginning: str, order: _Order) -> Iterator[Any]:
    """What is listed of the objects whose keys begin like this.

    obstore lists whole folders. Of a large one, only the part is asked for that is needed.
    """
    folder, _, name = beginning.rpartition("/")
    # what comes behind this includes whatever begins with the whole
    is_key = order is not _Order.UNKNOWN and len(name) > 1 and name[-2].isalnum()
    for meta in _pages(client, folder, beginning[:-1] if is_key else None, order):
        if meta["path"].startswith(beginning):
            yield meta
        elif order.is_over(meta["path"], beginning):
            return


def _pages(client: Client, folder: str, offset: str | None, order: _Order) -> Iterator[Any]:
    """All in a folder behind a key; where a page broke off in the middle, it is asked for again."""
    last: str | None = None
    for attempt in retrying(_broke_off, 1 if order is _Order.UNKNOWN else TRIES):
        with attempt:
            if order is _Order.BY_NAME:
                last, offset = None, last or offset
            is_new = last is None
            for page in client.list(folder or None, offset=offset, chunk_size=_PAGE):
                for meta in page:
                    if is_new:
                        last = meta["path"]
                        yield meta
                    is_new = is_new or meta["path"] == last
            if not is_new:
                raise StoreError("has changed while it was listed")


def _without_folders(metas: Iterable[Any]) -> Iterator[Any]:
    """Leave out stand-ins for folders: an empty a/, which obstore gives as a, before a/b."""
    held = None
    for meta in metas:
        if held is not None and not meta["path"].startswith(f"{held['path']}/"):
            yield held
        held = None if meta["size"] else meta
        if held is None:
            yield meta
    if held is not None:
        yield held


# reading and writing


class _Object(NamedTuple):
    """An object, in the version that it has.

    Attributes:
      uri: by which it is read; signed, maybe.
      stored: what it is.
    """

    uri: str
    stored: Stored

    def get(self, start: int, stop: int) -> Any:
        """Ask for a part of it, which must still be of that version."""
        client, key = placed(self.uri)
        answer = client.get(key, options={"range": (start, stop)})
        now = _stored(self.uri, answer.meta)
        # not by If-Match, which no weak ETag meets; some servers know none at all
        if not is_same_version(now.version, self.stored.version):
            raise StoreError("has changed while it was read")
        return answer


def _chunks(object_: _Object, part: ByteRange, answer: Any = None) -> Iterator[bytes]:
    """A part of an object; the first answer may be there already."""
    start, stop = part
    done = start
    with told(object_.uri):
        for attempt in retrying(_broke_off):
            with attempt:
                if answer is None and done < stop:
                    answer = object_.get(done, stop)
                stream, answer = answer, None
                for chunk in stream.stream(READ_BYTES) if stream is not None else ():
                    done += len(chunk)
                    yield bytes(chunk)
        if done != stop:
            raise StoreError(f"{done - start} bytes came, not {stop - start}")


def _broke_off(error: BaseException) -> bool:
    """Whether an answer broke off in the middle; obstore itself sends other requests again."""
    if not isinstance(error, BaseError) or isinstance(error, InvalidPathError):
        return False
    return not re.search(r"status code|\bretries\b", str(error).partition("\n")[0])


class _ObjectFile(io.RawIOBase):
    """An object as a file that can be read from any position."""

    def __init__(self, object_: _Object) -> None:
        self._object = object_
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        self._position = max(0, start + offset)
        return self._position

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer)
        start, stop = self._position, min(self._position + len(view), self._size)
        if start >= stop:
            return 0
        for chunk in _chunks(self._object, (start, stop)):
            view[self._position - start :][: len(chunk)] = chunk
            self._position += len(chunk)
        return stop - start

    @property
    def _size(self) -> int:
        return self._object.stored.size_bytes


class _Sink(io.RawIOBase):
    """An object that is being written."""

    def __init__(self, uri: str, writer: Any) -> None:
        self._uri = uri
        self._writer = writer

    def writable(self) -> bool:
        return True

    def write(self, content: Any) -> int:
        with told(self._uri):
            self._writer.write(bytes(content))
        return len(content)
