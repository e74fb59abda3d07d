"""Reading the headers of archives, whose content is not trusted."""

from __future__ import annotations

import errno
import io
import lzma
import struct
import tarfile
import zipfile
import zlib
from typing import Protocol

from earmark.transforms.errors import HOSTILE_CONTENT_ERRORS

HOSTILE_ARCHIVE_ERRORS: tuple[type[Exception], ...] = (
    *HOSTILE_CONTENT_ERRORS,
    EOFError,
    lzma.LZMAError,
    struct.error,
    tarfile.TarError,
    zipfile.BadZipFile,
    zlib.error,
)
"""What the standard library raises for inconsistent archives."""

_LAST_POSITION = 1 << 62


class SeekableFile(Protocol):
    """The kind of file that archives are read from."""

    def read(self, size: int, /) -> bytes:
        """The next bytes; fewer only at the end."""

    def seek(self, position: int, /) -> int:
        """Go to a position, in bytes from the beginning."""

    def tell(self) -> int:
        """The position."""


class BoundedFile(io.RawIOBase):
    """A file that limits each read to the largest size of a header.

    Raises:
      ValueError: a header asks for more, or points outside of any file.
    """

    def __init__(self, file: SeekableFile, limit_bytes: int) -> None:
        self._file = file
        self._limit_bytes = limit_bytes

    def readable(self) -> bool:
        """Always true."""
        return True

    def seekable(self) -> bool:
        """Always true."""
        return True

    def read(self, size: int = -1, /) -> bytes:
        """The next bytes; all of them, if there are fewer than the limit."""
        if size > self._limit_bytes:
            raise ValueError(f"a header of {size} bytes")
        return self._file.read(self._limit_bytes if size < 0 else size)

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """Go to a position."""
        if not -_LAST_POSITION < offset < _LAST_POSITION:
            raise ValueError("a header that points nowhere")
        if whence != io.SEEK_SET:  # for zip files, with an OSError where the file is too short
            return self._file.seek(offset, whence)  # type: ignore[call-arg]
        try:
            return self._file.seek(offset)
        except OSError as error:
            if error.errno == errno.EINVAL:
                raise ValueError("a header that points nowhere") from error
            raise

    def tell(self) -> int:
        """The position."""
        return self._file.tell()
