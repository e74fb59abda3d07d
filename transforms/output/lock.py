"""Keeping two runs from writing to one folder at the same time, on any filesystem.

Each run creates a file of its own in the folder, then looks for those of others, so two runs never
both get the lock. They do this one after the other; only where a filesystem has no means for that
both may be refused.

Stale locks are detected. In the same PID namespace and boot, the system knows whether the lock's
process is alive. Elsewhere a lock is stale if it has not been renewed for a while by the
filesystem's clock, since clocks of machines may differ. If that clock has been set back, or the
machine has restarted, the lock is watched to see whether it is renewed. The lock of a run that was
left to an engine stays until the engine releases it.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import platform
import subprocess
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path, PurePath
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from earmark.shared import shared
from earmark.transforms.output.folder import LOCKS, TURN, matching, remove_empty_folders
from earmark.transforms.storage import (
    StoreError,
    delete_files,
    exists,
    ignoring_store_errors,
    is_run_id,
    join,
    local_path,
    make_folder,
    read_uri,
    shown,
    store_of,
    write_whole,
)

BEAT_S = 30.0
"""How often a run renews its lock."""

DEAD_S = 600.0
"""How long a lock of another machine may go without renewal before it is stale."""

WATCHED_S = 2.5 * BEAT_S
"""How long a lock is watched if there is no other way to tell whether its run is alive."""

_LOOK_S = 0.5
_TURN_S = 10.0
_TRIES = 20


class LockedError(Exception):
    """Another run is writing to a folder; the message is one line."""


class Lock(BaseModel):
    """The content of a run's lock.

    Attributes:
      run_id: names the run.
      host: the machine's name, which need not be unique.
      machine: a number that identifies the machine.
      boot: the ID of the machine's current boot; empty if unknown.
      processes: the PID namespace, as containers have their own.
      pid: the process ID of the run.
      born: when that process started, in the system's own units; None if unknown.
      renewed: when the lock was renewed, by the machine's clock.
      left_to_engine: whether an engine will end the run.
    """

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")

    run_id: str
    host: str
    machine: str
    boot: str
    processes: str
    pid: Annotated[int, Field(gt=0, lt=1 << 31)]
    born: str | None
    renewed: float
    left_to_engine: bool


@contextmanager
def locked(output: str, run_id: str, say: Callable[[str], None] = lambda _: None) -> Iterator[None]:
    """Hold the lock of a folder.

    Args:
      output: the folder.
      run_id: names the run.
      say: called with one line if waiting takes a while.

    Raises:
      LockedError: another run holds the lock.
      OSError: the folder cannot be written to.
      ValueError: no filesystem is known for it.
    """
    path = _lock_file(output, run_id)
    over = threading.Event()
    beating = threading.Thread(target=_beat, args=(path, run_id, over), daemon=True)
    shared(_Locks).held.add(run_id)
    try:
        _enter(output, run_id, say)
        beating.start()
        yield
    finally:
        over.set()
        shared(_Locks).held.discard(run_id)
        is_ours = beating.ident is not None
        if is_ours:
            beating.join()
        if run_id not in shared(_Locks).left:
            with ignoring_store_errors():
                delete_files([path])
                if is_ours:  # else another run is about to use them
                    remove_empty_folders(output)
        shared(_Locks).left.discard(run_id)


def _enter(output: str, run_id: str, say: Callable[[str], None]) -> None:
    """Create the run's lock, and look for those of others."""
    path = _lock_file(output, run_id)
    for _ in range(_TRIES):
        # a run that ends at this moment removes the folder, since its own was the last lock
        with suppress(FileNotFoundError):
            with _taking_turns(output, run_id):
                _renew(path, run_id)
                _refuse_if_taken(output, path, say)
            return
    raise LockedError(
        f"{shown(join(output, LOCKS))} disappears as soon as it is created: is the folder shared?"
    )


def leave_locked(output: str, run_id: str) -> None:
    """Keep a run's lock beyond this process: an engine will end the run, and `release` it."""
    shared(_Locks).left.add(run_id)
    _renew(_lock_file(output, run_id), run_id)


def release(output: str, run_id: str) -> None:
    """Release the lock of a run that was left to an engine."""
    delete_files([_lock_file(output, run_id)])
    remove_empty_folders(output)


def is_held(output: str, run_id: str) -> bool:
    """Whether a run still holds its lock: another run takes over if it seems dead."""
    path = _lock_file(output, run_id)
    if exists(path):
        return True
    time.sleep(_LOOK_S)  # in HDFS it is gone for a moment when it is renewed
    return exists(path)


class _Locks:
    """The locks of this process, by the ids of their runs.

    Attributes:
      held: all of them.
      left: those that are left to an engine.
    """

    def __init__(self) -> None:
        self.held: set[str] = set()
        self.left: set[str] = set()


@contextmanager
def _taking_turns(output: str, run_id: str) -> Iterator[None]:
    """Make runs that start at once check for each other one after the other."""
    if local_path(output) is None:
        with _holding_token(join(output, LOCKS, TURN), run_id):
            yield
        return
    make_folder(join(output, LOCKS))
    descriptor = os.open(join(output, LOCKS), os.O_RDONLY)
    try:
        until = time.monotonic() + _TURN_S
        while not _is_locked(descriptor) and time.monotonic() < until:
            time.sleep(_LOOK_S / 10)
        yield
    finally:
        os.close(descriptor)


@contextmanager
def _holding_token(path: str, run_id: str) -> Iterator[None]:
    """Make runs that start at once in a store check for each other one after the other.

    None waits long for the token: it only keeps them from refusing each other, and a run that died
    may have left it.
    """
    is_there = False
    with suppress(StoreError):  # it doesn't support exclusive creation
        until = time.monotonic() + _TURN_S
        while (
            not store_of(path).create_if_absent(path, run_id.encode()) and time.monotonic() < until
        ):
            time.sleep(_LOOK_S / 2)
        is_there = True
    try:
        yield
    finally:
        if is_there:
            with ignoring_store_errors():
                delete_files([path])


def _is_locked(descriptor: int) -> bool:
    """Whether it is our turn; always true if the filesystem doesn't support flock."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True


def _beat(path: str, run_id: str, over: threading.Event) -> None:
    while not over.wait(BEAT_S):
        with ignoring_store_errors():  # a store may fail now and then; the next time is soon
            is_left = run_id in shared(_Locks).left
            if exists(path) and not is_left:  # else another has taken over
                _renew(path, run_id)


def _lock_file(output: str, run_id: str) -> str:
    return join(output, LOCKS, f"{run_id}.json")


def _renew(path: str, run_id: str) -> None:
    write_whole(path, _own_lock(run_id).model_dump_json())


def _own_lock(run_id: str) -> Lock:
    return Lock(
        run_id=run_id,
        host=platform.node(),
        machine=_machine(),
        boot=_boot(),
        processes=_processes(),
        pid=os.getpid(),
        born=_born(os.getpid()),
        renewed=time.time(),
        left_to_engine=run_id in shared(_Locks).left,
    )


def _refuse_if_taken(output: str, own: str, say: Callable[[str], None]) -> None:
    for path in matching(output, LOCKS, "*.json"):
        if path == own or (other := _read(path)) is None:
            continue
        if other.left_to_engine:
            raise LockedError(
                f"run {other.run_id} was left to an engine, which may be writing to it; if its "
                f"job has failed, delete {shown(path)}"
            )
        if _is_alive(other, path, own, say):
            raise LockedError(
                f"run {other.run_id} is writing to it (process {other.pid} on "
                f"{shown(other.host)}); wait for it to end, or delete {shown(path)} if it has"
            )
        delete_files([path])


def _read(path: str) -> Lock | None:
    """A lock's content; None if it has been deleted.

    Raises:
      LockedError: the file is not a valid lock.
    """
    try:
        lock = Lock.model_validate_json(read_uri(path))
    except OSError:
        return None
    except ValidationError as error:
        raise LockedError(_is_no_lock(path)) from error
    if not is_run_id(lock.run_id) or lock.run_id != PurePath(path).stem:
        raise LockedError(_is_no_lock(path))
    return lock


def _is_no_lock(path: str) -> str:
    return f"{shown(path)} is not a valid lock; delete it if no run is in progress"


def _is_alive(lock: Lock, path: str, own: str, say: Callable[[str], None]) -> bool:
    if _boot() and (lock.boot, lock.processes) == (_boot(), _processes()):
        return _is_alive_here(lock)
    age_s = _changed_s(own) - _changed_s(path)
    if age_s >= DEAD_S:
        return False
    if age_s > -BEAT_S and lock.machine != _machine():
        return True
    say(
        f"waiting for up to {WATCHED_S:.0f} s to see whether run {lock.run_id} still renews its "
        f"lock {shown(path)}"
    )
    return _is_renewed(lock, path)


def _is_alive_here(lock: Lock) -> bool:
    if lock.pid == os.getpid():
        return lock.run_id in shared(_Locks).held
    return _is_running(lock.pid) and lock.born == _born(lock.pid)


def _is_renewed(lock: Lock, path: str) -> bool:
    until = time.monotonic() + WATCHED_S
    while time.monotonic() < until:
        time.sleep(_LOOK_S)
        now = _read(path)
        if now != lock:
            return now is not None
    return False


def _changed_s(path: str) -> float:
    """When a file was written, by the filesystem's clock; 0 if it has been deleted."""
    with ignoring_store_errors():
        if local_path(path) is not None:
            return os.stat(path).st_mtime
        return store_of(path).look(path).changed_s
    return 0.0


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # somebody else's
        return True
    return True


@lru_cache(maxsize=1)
def _machine() -> str:
    """A number that identifies this machine, unless it was cloned."""
    told = _first_line("/etc/machine-id", "/var/lib/dbus/machine-id") or str(uuid.getnode())
    return hashlib.sha256(f"earmark {told}".encode()).hexdigest()[:16]


@lru_cache(maxsize=1)
def _boot() -> str:
    """The ID of the current boot; empty if unknown."""
    if told := _first_line("/proc/sys/kernel/random/boot_id"):
        return told
    with suppress(OSError, subprocess.SubprocessError):  # as on macOS
        command = ["sysctl", "-n", "kern.bootsessionuuid"]
        return subprocess.run(
            command, capture_output=True, text=True, timeout=5, check=True
        ).stdout.strip()
    return ""


def _processes() -> str:
    with suppress(OSError):
        return os.readlink("/proc/self/ns/pid")
    return ""


def _first_line(*paths: str) -> str:
    for path in paths:
        with suppress(OSError, UnicodeDecodeError):
            if line := Path(path).read_text().strip():
                return line
    return ""


def _born(pid: int) -> str | None:
    """When a process started, in the system's own units, since process IDs are reused."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    return None
