"""Memory that a decoder process shares with the one that asks it, so that no pipe carries frames.

It is a file without a name, divided into slots. The decoder fills a free one, and the other process
frees it once nothing there refers to its frames any more. What is too small to be worth it, or too
large, goes through the pipe, and so does everything where the system has no such files.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import weakref
from queue import SimpleQueue

import numpy as np
from numpy.typing import NDArray

SLOTS = 3
"""One is being filled, one used, and one may be held a little longer, as by a loop's variable."""

_SLOT_BYTES = 1 << 24  # of which only what is written takes memory
_LEAST_BYTES = 1 << 18


class OwnSlots:
    """The slots of a decoder, as the process sees them that asks it.

    Attributes:
      descriptor: of the file, for the decoder to inherit; None where there are no slots.
    """

    def __init__(self) -> None:
        self._lent: dict[int, weakref.ref[NDArray[np.float32]]] = {}
        self.descriptor = _new_file()
        self._memory = None if self.descriptor is None else _mapped(self.descriptor)

    def close(self) -> None:
        """Close the file, once the decoder has inherited it; frames in use stay readable."""
        if self.descriptor is not None:
            os.close(self.descriptor)
            self.descriptor = None

    def take(self, slot: int, shape: tuple[int, int]) -> NDArray[np.float32] | None:
        """The frames in a slot, which stays taken while they are referred to; None if none fit."""
        size = shape[0] * shape[1]
        if self._memory is None or slot in self._lent or 4 * size > _SLOT_BYTES:
            return None
        values = np.frombuffer(self._memory, np.float32, size, slot * _SLOT_BYTES)
        self._lent[slot] = weakref.ref(values)
        frames: NDArray[np.float32] = values.reshape(shape)
        # who keeps frames must not stop the decoder
        return frames if len(self._lent) < SLOTS else frames.copy()

    def freed(self) -> list[int]:
        """The slots that have become free since this was called last."""
        freed = [slot for slot, frames in self._lent.items() if frames() is None]
        for slot in freed:
            del self._lent[slot]
        return freed


class SharedSlots:
    """The slots as the decoder sees them.

    Args:
      descriptor: of the file; None where there are no slots.
    """

    def __init__(self, descriptor: int | None) -> None:
        self._memory = None if descriptor is None else _mapped(descriptor)
        self._free: SimpleQueue[int] = SimpleQueue()
        for slot in range(SLOTS):
            self._free.put(slot)

    def fill(self, frames: NDArray[np.float32]) -> int | None:
        """Put frames into a slot, waiting for a free one; None if they must go through the pipe."""
        if self._memory is None or not _LEAST_BYTES <= frames.nbytes <= _SLOT_BYTES:
            return None
        slot = self._free.get()
        memory = np.frombuffer(self._memory, np.float32, frames.size, slot * _SLOT_BYTES)
        memory.reshape(frames.shape)[:] = frames
        return slot

    def free(self, slot: int) -> None:
        """Note that a slot may be filled again; any thread may do so."""
        self._free.put(slot)


def _new_file() -> int | None:
    """A file in memory that nobody can shorten; None where the system grants none."""
    try:
        descriptor = os.memfd_create("frames", os.MFD_ALLOW_SEALING)
    except (OSError, AttributeError):
        return None
    try:
        os.ftruncate(descriptor, SLOTS * _SLOT_BYTES)
        # a decoder that was taken over could else have whoever reads here killed
        fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK)
    except OSError:
        os.close(descriptor)
        return None
    return descriptor


def _mapped(descriptor: int) -> mmap.mmap:
    return mmap.mmap(descriptor, SLOTS * _SLOT_BYTES)
