"""Keeping two runs from writing to one folder at the same time, on any filesystem.

Each run leaves a file of its own in the folder, then looks for those of others: of two that come at
once both may be refused, but never both let in. The lock of a run that is dead locks nobody out: on
the same machine it is seen at once, elsewhere when its file has not been renewed for a while. That
of a run which was left to an engine stays until the engine has done with it.
"""

from __future__ import annotations

import json
import os
import platform
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from apache_beam.io.filesystems import FileSystems

from transforms.local_copies import read_uri
from transforms.output_folder import LOCKS, delete, matching, remove_empty_folders
from transforms.stores import STORE_ERRORS
from transforms.whole_files import join, write_whole

BEAT_S = 30.0
"""How often a run renews its lock."""

DEAD_S = 600.0
"""A run elsewhere that hasn't renewed its lock for so long is dead."""


class LockedError(Exception):
    """Another run is writing to a folder; the message is one line."""


@contextmanager
def locked(output: str, run_id: str) -> Iterator[None]:
    """Have a folder for oneself.

    Raises:
      LockedError: another run has it.
      OSError: it cannot be written to.
      ValueError: no filesystem is known for it.
    """
    path = _lock_file(output, run_id)
    over = threading.Event()
    beating = threading.Thread(target=_beat, args=(path, run_id, over), daemon=True)
    _held.add(run_id)
    try:
        _renew(path, run_id)
        _refuse_if_taken(output, path)
        beating.start()
        yield
    finally:
        over.set()
        _held.discard(run_id)
        is_ours = beating.ident is not None
        if is_ours:
            beating.join()
        if run_id not in _left:
            with suppress(*STORE_ERRORS):
                delete(output, [path])
                if is_ours:  # else another run is about to use them
                    remove_empty_folders(output)
        _left.discard(run_id)


def leave_to_engine(output: str, run_id: str) -> None:
    """Have the lock of a run outlive this process: an engine will end the run, and `release` it."""
    _left.add(run_id)
    _renew(_lock_file(output, run_id), run_id)


def release(output: str, run_id: str) -> None:
    """Give back the folder for a run that was left to an engine."""
    delete(output, [_lock_file(output, run_id)])
    remove_empty_folders(output)


def is_held(output: str, run_id: str) -> bool:
    """Whether a run still has the folder: another takes it over if the run seems to be dead."""
    return bool(FileSystems.exists(_lock_file(output, run_id)))


_held: set[str] = set()
"""The locks of this process."""

_left: set[str] = set()
"""Those of them that are left to an engine."""


def _beat(path: str, run_id: str, over: threading.Event) -> None:
    while not over.wait(BEAT_S):
        with suppress(*STORE_ERRORS):  # a store may fail now and then; the next time is soon
            if FileSystems.exists(path) and run_id not in _left:  # else another has taken over
                _renew(path, run_id)


def _lock_file(output: str, run_id: str) -> str:
    return join(output, LOCKS, f"{run_id}.json")


def _renew(path: str, run_id: str) -> None:
    whose = {"run_id": run_id, "machine": _machine(), "pid": os.getpid()}
    whose["left_to_engine"] = run_id in _left
    write_whole(path, json.dumps({**whose, "born": _born(os.getpid()), "renewed": time.time()}))


def _refuse_if_taken(output: str, own: str) -> None:
    for path in matching(output, LOCKS, "*.json"):
        if path == own or (other := _read(path)) is None:
            continue
        if other["left_to_engine"]:
            raise LockedError(
                f"run {other['run_id']} was left to an engine, which may be writing to it; if its "
                f"job has ended, and failed, delete {path}"
            )
        if _is_alive(other):
            raise LockedError(
                f"run {other['run_id']} is writing to it (process {other['pid']} on "
                f"{other['machine'].split()[0]}); wait for it to end"
            )
        delete(output, [path])


def _read(path: str) -> dict[str, Any] | None:
    """A lock's content; None if it is gone in the meantime.

    Raises:
      LockedError: it is no lock.
    """
    try:
        content: dict[str, Any] = json.loads(read_uri(path))
        fields = ("run_id", "machine", "pid", "born", "renewed")
        whose = {name: content[name] for name in fields}
        return {**whose, "left_to_engine": content.get("left_to_engine", False)}
    except OSError:
        return None
    except (ValueError, KeyError, TypeError) as error:
        raise LockedError(f"{path} is no lock; delete it if no run is under way") from error


def _is_alive(lock: dict[str, Any]) -> bool:
    if lock["machine"] != _machine():
        return bool(time.time() - lock["renewed"] < DEAD_S)
    if lock["pid"] == os.getpid():
        return lock["run_id"] in _held
    return _is_running(lock["pid"]) and bool(lock["born"] == _born(lock["pid"]))


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # somebody else's
        return True
    return True


def _machine() -> str:
    """This machine, and where the system tells so, within which numbers of processes hold."""
    with suppress(OSError):
        return f"{platform.node()} {os.readlink('/proc/self/ns/pid')}"
    return f"{platform.node()} -"


def _born(pid: int) -> str | None:
    """When a process began, in the system's own count; numbers of processes are used again."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    return None
