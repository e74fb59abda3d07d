"""Files on any filesystem that are there whole or not at all."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable

from apache_beam.io.filesystem import CompressionTypes
from apache_beam.io.filesystems import FileSystems

from transforms.patterns import local_path
from transforms.stores import persisting


def join(*parts: str) -> str:
    """A path, or a URI, of its parts."""
    return str(FileSystems.join(*parts))


def make_folder(folder: str) -> None:
    """Make a folder, where the filesystem has such things, unless it is there."""
    if local_path(folder) is not None:
        os.makedirs(folder, exist_ok=True)
    elif not FileSystems.exists(folder):
        FileSystems.mkdirs(folder)


def write_whole(path: str, text: str) -> None:
    """Write a file that is there whole or not at all; a file of that name is replaced."""
    write_bytes(path, text.encode("utf-8", "backslashreplace"))  # which is how JSON escapes, too


def write_bytes(path: str, content: bytes) -> None:
    """The same, for a file that is no text."""
    make_folder(FileSystems.split(path)[0])
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
    os.makedirs(os.path.dirname(path), exist_ok=True)
    part = f"{path}.{os.getpid()}-{threading.get_ident()}.part"
    with open(part, "wb") as sink:
        sink.write(content)
    os.replace(part, path)


def _write_elsewhere(path: str, content: bytes) -> None:
    # an object is there once it has been written whole
    for attempt in persisting(path):
        with (
            attempt,
            FileSystems.create(path, compression_type=CompressionTypes.UNCOMPRESSED) as sink,
        ):
            sink.write(content)


def _write_locally(path: str, content: bytes) -> None:
    aside = f"{path}.part"
    with open(aside, "wb") as sink:
        sink.write(content)
        sink.flush()
        os.fsync(sink.fileno())
    os.replace(aside, path)


def sync(paths: Iterable[str]) -> None:
    """See that local files outlive a loss of power."""
    for path in paths:
        if local_path(path) is not None:
            with open(path, "rb") as file:
                os.fsync(file.fileno())
