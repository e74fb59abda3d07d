"""Stands for the package hdfs, by which Beam reaches HDFS: a client of a folder on this machine."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import IO, Any


class HdfsError(Exception):
    """What the package raises for whatever goes wrong."""


def module(root: Path) -> ModuleType:
    """The package, as far as Beam uses it, with a folder as the root of HDFS."""
    made: Any = ModuleType("hdfs")
    made.__spec__ = ModuleSpec("hdfs", None)
    made.HdfsError = HdfsError
    made.InsecureClient = lambda *_, **__: Client(root)
    return made  # type: ignore[no-any-return]


class Client:
    """A client, which knows paths only; names and arguments are the package's."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def status(self, path: str, strict: bool = True) -> dict[str, object] | None:
        there = self._at(path)
        if not there.exists():
            if strict:
                raise HdfsError(f"File does not exist: {path}")
            return None
        told = there.stat()
        size, kind = (0, "DIRECTORY") if there.is_dir() else (told.st_size, "FILE")
        return {"length": size, "type": kind, "modificationTime": told.st_mtime_ns // 1_000_000}

    def list(self, path: str, status: bool) -> list[tuple[str, dict[str, object] | None]]:
        if not self._at(path).is_dir():
            raise HdfsError(f"{path} is not a directory")
        return [
            (name, self.status(os.path.join(path, name)))
            for name in sorted(os.listdir(self._at(path)))
        ]

    def makedirs(self, path: str) -> None:
        self._at(path).mkdir(parents=True, exist_ok=True)

    @contextmanager
    def read(self, path: str, offset: int, length: int) -> Iterator[IO[bytes]]:
        with self._at(path).open("rb") as file:
            file.seek(offset)
            yield _Limited(file, length)  # type: ignore[misc]

    @contextmanager
    def write(self, path: str) -> Iterator[IO[bytes]]:
        self._at(path).parent.mkdir(parents=True, exist_ok=True)
        with self._at(path).open("xb") as file:
            yield file

    def rename(self, source: str, target: str) -> None:
        if self._at(target).exists() or not self._at(target).parent.is_dir():
            raise HdfsError(f"cannot rename to {target}")
        self._at(source).rename(self._at(target))

    def delete(self, path: str, recursive: bool) -> bool:
        there = self._at(path)
        if there.is_dir():
            shutil.rmtree(there)
        else:
            there.unlink()
        return True

    def _at(self, path: str) -> Path:
        return self._root / path.strip("/")


class _Limited:
    def __init__(self, file: IO[bytes], length: int) -> None:
        self._file, self._length = file, length

    def read(self) -> bytes:
        return self._file.read(self._length)
