"""A process that decodes recordings: started by pool.py, and killed if necessary.

It imports only what decoding needs, above all not Beam, so that it starts fast and stays small.
"""

from __future__ import annotations

import os
import pickle
import resource
import struct
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from queue import SimpleQueue
from types import TracebackType
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from earmark.transforms.audio import load_decoders, open_audio
from earmark.transforms.decoding.answers import packed
from earmark.transforms.decoding.messages import (
    BUG_STATUS,
    OUT_OF_MEMORY_STATUS,
    Answer,
    DecodeSpan,
    Ended,
    FindLength,
    Frames,
    Length,
    Reached,
    Ready,
)
from earmark.transforms.decoding.slots import SLOTS, SharedSlots
from earmark.transforms.decoding.spans import SpanDecoding
from earmark.transforms.errors import AudioError

MEMORY_LIMIT_BYTES = 4 << 30
"""The limit of the address space; decoding takes a tenth of it."""


def main() -> None:
    """Answer questions that come on stdin, on stdout, until stdin ends."""
    sys.excepthook = _end_with_last_words
    slots = SharedSlots(int(sys.argv[1]) if len(sys.argv) > 1 else None)
    questions = _questions(_own(0), slots)
    answers = _Answers(_own(1), slots)
    _limit_memory()
    answers.send(Ready())
    load_decoders()  # while it waits for a question
    while True:
        question = pickle.loads(questions.get())
        if isinstance(question, DecodeSpan):
            _decode(question, answers)
        else:
            answers.send(_length(question))


def _decode(question: DecodeSpan, answers: _Answers) -> None:
    decoding = SpanDecoding(question.span, question.decoding, answers.go_on)
    settled_gaps = 0  # those that can't grow any more, since others have come behind them
    for at, frames in decoding.blocks(question.path):
        so_far = decoding.ending(settled_gaps)
        answers.send_frames(Frames(at, frames.shape, decoding.channels, so_far), frames)
        settled_gaps += max(0, len(so_far.gaps) - 1)
    answers.send(Ended(decoding.ending(settled_gaps)))


def _length(question: FindLength) -> Length:
    try:
        with open_audio(question.path) as reader:
            samples = reader.header.declared_samples
            if not reader.can_seek or samples is None:
                return Length()
            return Length(-(-samples // reader.header.sample_rate_hz), reader.sound)
    except AudioError:  # which decoding it will meet again, and tell
        return Length()


class _Answers:
    """The output stream for answers, and shared memory for frames."""

    def __init__(self, pipe: BinaryIO, slots: SharedSlots) -> None:
        self._pipe = pipe
        self._slots = slots
        self._sent = time.monotonic()

    def send(self, answer: Answer, values: bytes | memoryview = b"") -> None:
        self._pipe.write(packed(answer))
        self._pipe.write(values)
        self._pipe.flush()
        self._sent = time.monotonic()

    def send_frames(self, answer: Frames, frames: NDArray[np.float32]) -> None:
        slot = self._slots.fill(frames)
        values = np.ascontiguousarray(frames).data if slot is None else b""
        self.send(answer._replace(slot=slot), values)

    def go_on(self, seconds: int) -> None:
        """Say how many seconds have been decoded, where nothing else was sent for a while."""
        if time.monotonic() - self._sent > 1:
            self.send(Reached(seconds))


def _own(descriptor: int) -> BinaryIO:
    """Takes over stdin or stdout: what libraries print there goes to stderr."""
    own = os.fdopen(os.dup(descriptor), "rb" if descriptor == 0 else "wb")
    os.dup2(2, descriptor)
    return own


def _questions(pipe: BinaryIO, slots: SharedSlots) -> SimpleQueue[bytes]:
    """Reads questions in a thread of their own, which ends this process when there are no more.

    So it ends as well where it would decode forever, and the one who asked is gone. What is too
    short for the length of a question is a slot that is free again.
    """
    questions: SimpleQueue[bytes] = SimpleQueue()

    def read() -> None:
        while len(head := pipe.read(4)) == 4:
            (length,) = struct.unpack("<I", head)
            if length < SLOTS:
                slots.free(length)
            else:
                questions.put(pipe.read(length))
        os._exit(0)

    threading.Thread(target=read, daemon=True).start()
    return questions


def _limit_memory() -> None:
    """Limit this process's memory, where the system can.

    If the machine still runs out of memory, this process is to be killed, not the run's.
    """
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_LIMIT_BYTES, MEMORY_LIMIT_BYTES))
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")


def _end_with_last_words(
    kind: type[BaseException], error: BaseException, traceback: TracebackType | None
) -> None:
    if issubclass(kind, MemoryError):
        os._exit(OUT_OF_MEMORY_STATUS)
    sys.__excepthook__(kind, error, traceback)
    os._exit(BUG_STATUS)
