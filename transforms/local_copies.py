"""Recordings as local files, which is what decoders read fastest."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

from apache_beam.io.filesystem import CompressionTypes
from apache_beam.io.filesystems import FileSystems

from transforms.errors import ReadError, store_errors
from transforms.patterns import local_path

_CHUNK_BYTES = 4 << 20
_STORE_ERRORS: tuple[type[Exception], ...] = (OSError, *store_errors())


@contextmanager
def local_copy(uri: str) -> Iterator[str]:
    """The path of a local file with an object's content.

    A local object is that file itself. A remote one is read once, from its beginning to its end,
    into a temporary file that is gone afterwards.

    Raises:
      ReadError: the object could not be read.
    """
    path = local_path(uri)
    if path is not None:
        yield path
        return
    with tempfile.NamedTemporaryFile(prefix="earmark-") as copy:
        for chunk in _chunks(uri):
            copy.write(chunk)
        copy.flush()
        yield copy.name


def _chunks(uri: str) -> Iterator[bytes]:
    try:
        with FileSystems.open(uri, compression_type=CompressionTypes.UNCOMPRESSED) as remote:
            while chunk := remote.read(_CHUNK_BYTES):
                yield chunk
    except _STORE_ERRORS as error:
        raise ReadError(f"{uri}: {' '.join(str(error).split())}") from error


def read_uri(uri: str) -> bytes:
    """The whole content at a URI of any filesystem that Beam knows; for what is small.

    Raises:
      OSError: it cannot be read.
      ValueError: no filesystem is known for it.
    """
    path = local_path(uri) or uri
    with FileSystems.open(path, compression_type=CompressionTypes.UNCOMPRESSED) as source:
        return bytes(source.read())
