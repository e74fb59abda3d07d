"""A decoder process that goes wrong with files whose names say how, and after how many seconds.

`segfault_20.wav` crashes once 20 seconds of it have been read, `segfault_open.wav` while it is
opened. `killedonce_20.wav` does so the first time only, and then leaves `killedonce_20.killed`. All
other files are decoded.
"""

from __future__ import annotations

import ctypes
import os
import pickle
import signal
import time
from contextlib import contextmanager
from itertools import chain, count, islice, repeat
from pathlib import Path

import numpy as np

from earmark.transforms.audio.reading import open_audio
from earmark.transforms.decoding import process as decoder_process
from earmark.transforms.decoding import spans as span_decoding
from earmark.transforms.decoding.messages import Frames


def main() -> None:
    span_decoding.open_audio = decoder_process.open_audio = open_faulty
    decoder_process.main()


@contextmanager
def open_faulty(path, uri=None):
    kind, _, when = Path(path).stem.partition("_")
    with open_audio(path, uri) as reader:
        if kind in FAULTS and when == "open":
            FAULTS[kind]()
        elif kind == "killedonce":
            kind = "" if Path(path).with_suffix(".killed").exists() else "killed"
            Path(path).with_suffix(".killed").touch()
            if kind and when == "open":
                FAULTS[kind]()
        yield Faulty(reader, kind, when) if kind in (*FAULTS, "slow", "endless") else reader


class Faulty:
    def __init__(self, reader, kind, when):
        self.header, self.library, self.can_seek = reader.header, reader.library, reader.can_seek
        self.gaps, self.sound = reader.gaps, reader.sound
        self._reader, self._kind, self._when = reader, kind, when

    def blocks_and_silences(self, block_samples, start=0, stop=None):
        blocks = self._reader.blocks_and_silences(block_samples, start, stop)
        if self._kind == "slow":
            yield from (time.sleep(0.5) or block for block in blocks)
        elif self._kind == "endless":
            yield from chain.from_iterable(repeat(list(blocks)))
        else:
            yield from islice(blocks, int(self._when))
            FAULTS[self._kind]()
            yield from blocks


def segfault() -> None:
    ctypes.string_at(0)


def corrupt_the_heap() -> None:
    libc = ctypes.CDLL(None)
    libc.malloc.restype, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
    block = libc.malloc(5000)
    libc.free(block + 8)


def allocate() -> None:
    np.empty(5 << 30, np.uint8)


def print_much() -> None:
    os.write(1, b"what a strange file\n" * 1000)
    os.write(2, b"what a strange file\n" * 100_000)


class Takeover:
    """What makes a folder `taken_over` where it is unpickled."""

    def __reduce__(self):
        return os.mkdir, ("taken_over",)


def take_over() -> None:
    decoder_process.packed = lambda answer: pickle.dumps(Takeover()) + bytes(1 << 17)


def lie_about_frames() -> None:
    told = decoder_process.packed
    decoder_process.packed = lambda answer: told(
        answer._replace(shape=(1 << 30, 15_600)) if isinstance(answer, Frames) else answer
    )


def lie_about_slots() -> None:
    told = decoder_process.packed
    decoder_process.packed = lambda answer: told(
        answer._replace(slot=0, shape=(32, 15_601)) if isinstance(answer, Frames) else answer
    )


FAULTS = {
    "segfault": segfault,
    "abort": os.abort,
    "corruption": corrupt_the_heap,
    "exit": lambda: os._exit(3),
    "killed": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "memory": allocate,
    "loop": lambda: sum(0 for _ in count()),
    "hang": lambda: time.sleep(1000),
    "noise": print_much,
    "takeover": take_over,
    "lie": lie_about_frames,
    "slot": lie_about_slots,
    "bug": lambda: {}["a key that is missing"],
}
