"""Files that are read whole: configs, labels, lists. A device or a pipe is none of them."""

from __future__ import annotations

import errno
import os
import stat

from earmark.transforms.local_copies import read_uri
from earmark.transforms.patterns import local_path
from earmark.transforms.stores import check_reachable, stat_object


def read_small(uri: str, at_most: int) -> bytes:
    """The content of a file, or of what lies at a URI of any filesystem that Beam knows.

    Args:
      uri: a path or a URI.
      at_most: bytes that it may hold.

    Raises:
      OSError: it cannot be read, is no regular file, or is larger.
      ValueError: no filesystem is known for it, or nobody answers there.
    """
    path = local_path(uri)
    if path is not None:
        return _read_local(path, at_most)
    check_reachable(uri)
    _check_size(stat_object(uri).size_in_bytes, at_most)
    return read_uri(uri)


def _read_local(path: str, at_most: int) -> bytes:
    # a pipe that nobody writes to would wait to be opened
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    with open(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if stat.S_ISDIR(status.st_mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "is no regular file")
        _check_size(status.st_size, at_most)
        content = file.read(at_most + 1)  # what the system makes up, as in /proc, has no size
        _check_size(len(content), at_most)
        return content


def _check_size(size_bytes: int, at_most: int) -> None:
    if size_bytes > at_most:
        raise OSError(errno.EFBIG, f"is larger than {at_most / 1e6:,.0f} MB")
