"""Files on any filesystem that are there whole or not at all."""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Iterable
from contextlib import AbstractContextManager, suppress
from typing import BinaryIO

from earmark.transforms.storage.paths import local_path
from earmark.transforms.storage.stores import create, make_store_folder, persisting


def join(*parts: str) -> str:
    """A path, or a URI, of its parts."""
    beginning, *others = parts
    if local_path(beginning) is not None:
        return os.path.join(*parts)
    return "/".join([beginning.rstrip("/"), *(each.strip("/") for each in others if each)])


def make_folder(folder: str) -> None:
    """Make a folder, where the filesystem has such things, unless it is there."""
    if local_path(folder) is not None:
        _make_locally(folder)
    else:
        make_store_folder(folder)


def _make_locally(folder: str) -> None:
    if os.path.isdir(folder):
        return
    parent = os.path.dirname(os.path.abspath(folder))
    _make_locally(parent)
    os.makedirs(folder, exist_ok=True)
    sync_folder(parent)


def write_whole(path: str, text: str) -> None:
    """Write a file that is there whole or not at all; a file of that name is replaced."""
    write_bytes(path, text.encode("utf-8", "backslashreplace"))  # which is how JSON escapes, too


def write_bytes(path: str, content: bytes) -> None:
    """The same, for a file that is no text."""
    make_folder(os.path.dirname(path))
    if local_path(path) is not None:
        _write_locally(path, content)
    else:
        _write_elsewhere(path, content)


def write_aside(path: str, content: bytes) -> None:
    """The same, for one of many files that nobody needs once the run is over.

    Workers may write the same one at once. It need not outlive a loss of power.
    """
    if local_path(path) is None:
        _write_elsewhere(path, content)
        return
    folder, name = os.path.split(path)
    os.makedirs(folder, exist_ok=True)
    part = os.path.join(folder, f".{name}-{secrets.token_hex(8)}.part")
    with open(part, "xb") as sink:
        sink.write(content)
    os.replace(part, path)


def create_file(path: str) -> AbstractContextManager[BinaryIO]:
    """A file to be written, on any filesystem; one of that name is replaced.

    A local one is made anew: where somebody has left a link of that name, it is not followed.
    """
    local = local_path(path)
    if local is None:
        return create(path)
    os.makedirs(os.path.dirname(local), exist_ok=True)
    with suppress(FileNotFoundError):
        os.unlink(local)
    return open(local, "xb")


def _write_elsewhere(path: str, content: bytes) -> None:
    # an object is there once it has been written whole
    for attempt in persisting(path):
        with attempt, create_file(path) as sink:
            sink.write(content)


def _write_locally(path: str, content: bytes) -> None:
    folder = os.path.dirname(path)
    # of a name that nobody can know beforehand: in a shared folder, a link might wait under it
    aside = os.path.join(folder, f".{secrets.token_hex(8)}.part")
    try:
        with open(aside, "xb") as sink:
            sink.write(content)
            sink.flush()
            os.fsync(sink.fileno())
        os.replace(aside, path)
    except OSError:
        with suppress(OSError):
            os.unlink(aside)
        raise
    sync_folder(folder)


def move_whole(source: str, target: str, names: Iterable[str]) -> None:
    """Move files from one local folder to another in a way that no loss of power loses any.

    A file of such a name is replaced. What an earlier attempt has moved stays where it is.

    A file system without a journal may forget the new name of a renamed file and keep that the old
    one is gone. So a file has both names until the new one has reached the disk.

    Raises:
      FileNotFoundError: a file is in neither folder.
      OSError: one cannot be moved.
    """
    sources = [os.path.join(source, name) for name in names]
    for file in sources:
        _move(file, os.path.join(target, os.path.basename(file)))
    sync_folder(target)
    for file in sources:
        with suppress(FileNotFoundError):
            os.unlink(file)


def _move(file: str, target: str) -> None:
    try:
        _give_name(file, target)
    except FileNotFoundError:
        if not os.path.lexists(target):
            raise
    except OSError as error:
        if error.errno not in _NO_SECOND_NAMES:
            raise
        os.replace(file, target)


_NO_SECOND_NAMES = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EXDEV, errno.EMLINK)


def _give_name(file: str, name: str) -> None:
    """Give a file a second name; what has that name loses it in the same moment."""
    try:
        os.link(file, name)
    except FileExistsError:
        if os.path.samefile(file, name):
            return
        folder, base = os.path.split(name)
        aside = os.path.join(folder, f".{base}.part")
        with suppress(FileNotFoundError):
            os.unlink(aside)
        os.link(file, aside)
        os.replace(aside, name)


def sync(folder: str, files: Iterable[str]) -> None:
    """See that files in a local folder outlive a loss of power, with all names that lead to them.

    Args:
      folder: which may be elsewhere; then there is nothing to be done.
      files: relative to it.
    """
    if local_path(folder) is None:
        return
    folder = folder.rstrip("/") or "/"
    folders = {folder}
    for name in files:
        path = os.path.join(folder, name)
        with open(path, "rb") as file:
            os.fsync(file.fileno())
        while (path := os.path.dirname(path)) not in folders:
            folders.add(path)
    for each in sorted(folders):
        sync_folder(each)


def sync_folder(folder: str) -> None:
    """See that the names in a local folder outlive a loss of power, if the system knows a way."""
    try:
        descriptor = os.open(folder or ".", os.O_RDONLY)
    except PermissionError:  # names in it may be made, but not read
        return
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.EBADF, errno.EOPNOTSUPP):
            raise
    finally:
        os.close(descriptor)
