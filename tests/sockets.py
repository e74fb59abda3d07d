"""Which addresses processes listen at, from /proc."""

from __future__ import annotations

import ipaddress
import os
import socket
import struct
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

_LISTENING = "0A"


def needs_proc() -> None:
    """Skip a test on a system without /proc/net."""
    if not Path("/proc/net/tcp").exists():
        pytest.skip("listening sockets are read from /proc/net")


def descendants(pid: int) -> set[int]:
    """A process and all that it has started, as far as they live."""
    parents = {}
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = status.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        parents[int(status.parent.name)] = int(fields[1])
    found = {pid}
    while more := {child for child, parent in parents.items() if parent in found} - found:
        found |= more
    return found


def listening(pids: Iterable[int]) -> set[str]:
    """The addresses at which any of some processes listens for TCP connections."""
    at = _listening_inodes()
    return {at[inode] for pid in pids for inode in _socket_inodes(pid) if inode in at}


def listening_meanwhile(pids: Callable[[], set[int]], goes_on: Callable[[], bool]) -> set[str]:
    """The addresses at which processes listen while something goes on, seen 20 times a second."""
    seen: set[str] = set()
    known: set[str] = set()
    while goes_on():
        at = _listening_inodes()
        if new := at.keys() - known:
            seen |= {at[inode] for pid in pids() for inode in _socket_inodes(pid) & new}
            known |= new
        time.sleep(0.05)
    return seen


def is_loopback(address: str) -> bool:
    """Whether only this machine can reach an address."""
    found = ipaddress.ip_address(address)
    mapped = getattr(found, "ipv4_mapped", None)
    return (mapped or found).is_loopback


def _listening_inodes() -> dict[str, str]:
    found = {}
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == _LISTENING:
                found[fields[9]] = _address(fields[1].split(":")[0])
    return found


def _address(words: str) -> str:
    """The kernel prints addresses as 32-bit words in the machine's order of bytes."""
    packed = b"".join(
        struct.pack("=I", int(words[place : place + 8], 16)) for place in range(0, len(words), 8)
    )
    return socket.inet_ntop(socket.AF_INET if len(packed) == 4 else socket.AF_INET6, packed)


def _socket_inodes(pid: int) -> set[str]:
    inodes = set()
    for link in Path(f"/proc/{pid}/fd").glob("*"):
        try:
            target = os.readlink(link)
        except OSError:
            continue
        if target.startswith("socket:["):
            inodes.add(target.removeprefix("socket:[").removesuffix("]"))
    return inodes
