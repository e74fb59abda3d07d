"""Writing files on any filesystem atomically: in full or not at all."""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import BinaryIO

from earmark.transforms.storage.paths import local_path
from earmark.transforms.storage.stored import StoreError, reason
from earmark.transforms.storage.stores import exists, persisting, store_of


def join(*parts: str) -> str:
    """A path or URI joined from its parts."""
    beginning, *others = parts
    if local_path(beginning) is not None:
        return os.path.join(*parts)
    return "/".join([beginning.rstrip("/"), *(each.strip("/") for each in others if each)])


def make_folder(folder: str) -> None:
    """Make a folder if it is missing and the filesystem has folders."""
    local = local_path(folder)
    if local is not None:
        _make_locally(local)
    else:
        store_of(folder).make_folder(folder)


def write_whole(path: str, content: str | bytes, *, outlives_power: bool = True) -> None:
    """Write a file atomically, in full or not at all; a file of that name is replaced.

    Any number of workers may write the same file at once.

    Args:
      path: where, on any filesystem.
      content: of the file; text is written as UTF-8.
      outlives_power: whether the file survives a power cut. Files that only this run needs don't
        have to, which is faster.
    """
    if isinstance(content, str):
        content = content.encode("utf-8", "backslashreplace")  # which is how JSON escapes, too
    local = local_path(path)
    if local is not None:
        _write_locally(local, content, outlives_power)
        return
    for attempt in persisting(path):  # an object is there once it has been written whole
        with attempt, create_file(path) as sink:
            sink.write(content)


def create_file(path: str) -> AbstractContextManager[BinaryIO]:
    """A file to write to, on any filesystem; a file of that name is replaced.

    A local link of that name is replaced too, not followed.
    """
    local = local_path(path)
    if local is None:
        return store_of(path).create(path)
    os.makedirs(os.path.dirname(local), exist_ok=True)
    with suppress(FileNotFoundError):
        os.unlink(local)
    return open(local, "xb")


def _make_locally(folder: str) -> None:
    if os.path.isdir(folder):
        return
    parent = os.path.dirname(os.path.abspath(folder))
    _make_locally(parent)
    os.makedirs(folder, exist_ok=True)
    sync_folder(parent)


def _write_locally(path: str, content: bytes, outlives_power: bool) -> None:
    folder = os.path.dirname(path)
    if outlives_power:
        _make_locally(folder)
    else:
        os.makedirs(folder, exist_ok=True)
    # of a name that nobody can know beforehand: in a shared folder, a link might wait under it
    aside = os.path.join(folder, f".{secrets.token_hex(8)}.part")
    try:
        with open(aside, "xb") as sink:
            sink.write(content)
            if outlives_power:
                sink.flush()
                os.fsync(sink.fileno())
        os.replace(aside, path)
    except OSError:
        with suppress(OSError):
            os.unlink(aside)
        raise
    if outlives_power:
        sync_folder(folder)


def move_whole(source: str, target: str, names: Iterable[str]) -> None:
    """Move files from one folder to another, on any filesystem; files of such names are replaced.

    What an earlier attempt has moved stays where it is. On a local filesystem no loss of power
    loses a file: one without a journal may forget the new name of a renamed file and keep that the
    old one is gone, so a file has both names until the new one has reached the disk.

    Raises:
      FileNotFoundError: a file is in neither folder.
      store_errors(): one cannot be moved.
    """
    make_folder(target)
    move = _move_locally if local_path(target) is not None else _move_remotely
    move([(join(source, name), join(target, name)) for name in names])


def delete_files(paths: Iterable[str]) -> None:
    """Delete files of one filesystem, those of them that are there."""
    remote = []
    for path in paths:
        local = local_path(path)
        if local is None:
            remote.append(path)
        else:
            Path(local).unlink(missing_ok=True)
    if not remote:
        return
    store = store_of(remote[0])
    for attempt in persisting(remote[0]):
        with attempt:
            if attempt.retry_state.attempt_number > 1:  # not before, since they may be many
                remote = [path for path in remote if exists(path)]
            store.delete(remote)


def _move_locally(moves: Sequence[tuple[str, str]]) -> None:
    for file, target in moves:
        _move(file, target)
    for folder in {os.path.dirname(target) for _, target in moves}:
        sync_folder(folder)
    for file, _ in moves:
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
    """Give a file a second name, atomically replacing another file of that name."""
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


def _move_remotely(moves: Sequence[tuple[str, str]]) -> None:
    waiting = [move for move in moves if exists(move[0])]
    for _, there in set(moves) - set(waiting):
        if not exists(there):
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), there)
    if not waiting:
        return
    try:
        store_of(waiting[0][0]).rename(waiting)
    except OSError as error:  # unless another does the same at once, as when a run ends in a commit
        if not all(map(_is_moved, waiting)):
            raise error if isinstance(error, StoreError) else StoreError(reason(error)) from error


def _is_moved(move: tuple[str, str]) -> bool:
    source, there = move
    return not exists(source) and exists(there)


def sync(folder: str, files: Iterable[str]) -> None:
    """Make files in a local folder, and the folders on their paths, survive a power cut.

    Args:
      folder: if it is remote, nothing is done.
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
    """Make the names in a local folder survive a power cut, if the system supports it."""
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
