"""A disk that forgets, when the power fails, what it was not told to keep."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest


class ForgetfulDisk:
    """What of a folder would be there after a loss of power.

    All that is there at the beginning is. Later the bytes of a file are once it is synced, and the
    names in a folder as they are when the folder is.

    Args:
      folder: what lies on the disk.
      monkeypatch: to see what is synced.
    """

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._folder = folder
        self._names: dict[Path, dict[str, int]] = {}
        self._bytes: dict[int, bytes] = {}
        self._pinned: list[int] = []  # open, so that no other file gets the same inode
        for path in (folder, *folder.rglob("*")):
            self._keep(path)
        real_fsync = os.fsync

        def fsync(descriptor: int) -> None:
            real_fsync(descriptor)
            self._keep(Path(os.readlink(f"/proc/self/fd/{descriptor}")))

        monkeypatch.setattr(os, "fsync", fsync)

    def close(self) -> None:
        for descriptor in self._pinned:
            os.close(descriptor)

    def left(self, target: Path, forgets: Callable[[Path], bool]) -> None:
        """Make a folder as it would be after a loss of power.

        Args:
          target: the folder.
          forgets: whether names in a folder that have changed since it was synced are forgotten;
            by its path within the disk. A disk may have written some by itself.
        """
        self._restore(self._folder, target, forgets)

    def _keep(self, path: Path) -> None:
        if path.is_dir():
            self._names[path] = self._names_now(path)
        else:
            self._bytes[path.stat().st_ino] = path.read_bytes()
            self._pin(path)

    def _names_now(self, folder: Path) -> dict[str, int]:
        for each in folder.iterdir():
            if each.is_file():
                self._pin(each)
        return {each.name: 0 if each.is_dir() else each.stat().st_ino for each in folder.iterdir()}

    def _pin(self, path: Path) -> None:
        self._pinned.append(os.open(path, os.O_RDONLY))

    def _restore(self, folder: Path, target: Path, forgets: Callable[[Path], bool]) -> None:
        target.mkdir(parents=True)
        is_gone = not folder.is_dir() or forgets(folder.relative_to(self._folder))
        names = self._names.get(folder, {}) if is_gone else self._names_now(folder)
        for name, inode in names.items():
            if inode:
                (target / name).write_bytes(self._bytes.get(inode, b""))
            else:
                self._restore(folder / name, target / name, forgets)
