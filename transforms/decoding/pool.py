"""Decoding in separate processes, so that a bad recording cannot affect the rest of a run."""

from __future__ import annotations

import fcntl
import io
import os
import pickle
import select
import signal
import struct
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import islice
from typing import IO, Any, NamedTuple, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from earmark.transforms.decoding.answers import nonsense, read_answer
from earmark.transforms.decoding.gate import DecoderGate
from earmark.transforms.decoding.messages import (
    BUG_STATUS,
    OUT_OF_MEMORY_STATUS,
    Answer,
    DecodeSpan,
    Ended,
    FindLength,
    Frames,
    Length,
    Question,
    Reached,
    endless_s,
)
from earmark.transforms.decoding.received import DecodedSpan
from earmark.transforms.decoding.slots import OwnSlots
from earmark.transforms.elements import FrameBlock, Span
from earmark.transforms.errors import AudioError, CrashedError, KilledError, TooSlowError
from earmark.transforms.settings import Decoding
from earmark.transforms.threads import ONE_BLAS_THREAD

LIMIT_S = 60.0
"""How long a decoder may take; one second is added for each second that it has decoded."""

SKIPPING_SPEED = 20
"""How many seconds before a span a decoder must read per second."""

START_LIMIT_S = 300.0
"""How long a decoder may take to start; a longer start is not the recording's fault."""

_PIPE_BYTES = 1 << 20  # a block of frames, or several short recordings
_TICK_S = 0.25
_END_LIMIT_S = 5.0
_SPARE_S = 60
_SAID_BYTES = 20_000
_FROM_OUTSIDE = (signal.SIGKILL, signal.SIGTERM, signal.SIGHUP)  # none of them comes of content
_PROGRAM = "from earmark.transforms.decoding.process import main; main()"

_Given = TypeVar("_Given")


class DecoderError(RuntimeError):
    """A bug in the decoder, not an error of the recording."""


class DecoderPool:
    """Processes that decode; none of them serves two threads at once.

    A process is started when none is idle, so there are as many as threads that decode at the same
    time. A process that has not answered completely is not used again. If one is killed from
    outside, as by a system that is short of memory, only time is lost: its task is repeated while
    no other decodes.

    Args:
      program: the Python program that they run.
    """

    def __init__(self, program: str = _PROGRAM) -> None:
        self._program = program
        self._idle: deque[_DecoderProcess] = deque()
        self._all: set[_DecoderProcess] = set()
        self._gate = DecoderGate()

    def start(self) -> None:
        """Start a process, if there is none, to be ready when the first recording is decoded."""
        if not self._all:
            self._idle.append(self._started())

    def decode(
        self, recordings: Sequence[tuple[Span, str]], decoding: Decoding
    ) -> Iterator[FrameBlock]:
        """Decode spans of recordings one after another; errors are reported by a span's last block.

        A process is asked for all of them at once, and works on the next while what it has decoded
        is being used. If the decoder itself fails, frames received before that are kept, and the
        next span is decoded by another. If it is killed from outside, decoding of the span starts
        again, and frames already yielded are not repeated.

        Args:
          recordings: parts of recordings, each with the path of the local file with its content.
          decoding: how they become frames.

        Yields:
          For each span blocks of frames, then one without frames that holds the Ending.

        Raises:
          DecoderError: there is a bug in the decoder.
        """
        left = deque(_Asked.of(span, path, decoding) for span, path in recordings)
        while left:
            try:
                yield from self._twice_if_killed(
                    lambda alone: self._blocks(left, 1 if alone else len(left))
                )
            except AudioError as error:
                decoded = left.popleft().decoded
                decoded.break_off(error)
                yield decoded.last_block()

    def length(self, path: str) -> Length:
        """The length of a recording.

        Unknown if it cannot be cut into spans, or cannot be opened, which decoding will report.

        Raises:
          DecoderError: there is a bug in the decoder.
        """
        try:
            [length] = self._twice_if_killed(lambda _: self._length(path))
        except AudioError:
            return Length()
        return length

    def close(self) -> None:
        """End all processes at once."""
        self._idle.clear()
        with suppress(KeyError):
            while True:
                self._all.pop().end()

    def _twice_if_killed(self, attempt: Callable[[bool], Iterator[_Given]]) -> Iterator[_Given]:
        """The result of an attempt; of a second one if the first decoder is killed from outside.

        The second attempt runs alone, while no other decoder of this process is working, and is
        told so.
        """
        with suppress(KilledError), self._gate.with_others():
            yield from attempt(False)
            return
        with self._gate.by_oneself():
            self._end_idle()
            yield from attempt(True)

    def _blocks(self, left: deque[_Asked], count: int) -> Iterator[FrameBlock]:
        """Blocks of frames that were not received before, of so many spans; takes them off."""
        with self._taken() as process:
            process.ask(*(each.question for each in islice(left, count)))
            for _ in range(count):
                yield from _blocks_of(left[0], process)
                yield left.popleft().decoded.last_block()

    def _length(self, path: str) -> Iterator[Length]:
        with self._taken() as process:
            process.ask(FindLength(path))
            process.begin()
            answer = process.answer()
            if not isinstance(answer, Length):
                raise nonsense()
        yield answer

    @contextmanager
    def _taken(self) -> Iterator[_DecoderProcess]:
        """A process for the length of the context; one that failed or has not finished is ended."""
        process = self._take()
        finished = False
        try:
            yield process
            finished = True
        finally:
            if finished:
                self._idle.append(process)
            else:
                self._all.discard(process)
                process.end()

    def _take(self) -> _DecoderProcess:
        process = self._idle_one() or self._started()
        try:
            process.await_ready()
        except Exception:
            self._all.discard(process)
            raise
        return process

    def _idle_one(self) -> _DecoderProcess | None:
        with suppress(IndexError):
            while True:
                process = self._idle.pop()
                if process.lives():
                    return process
                self._all.discard(process)
                process.end()
        return None

    def _started(self) -> _DecoderProcess:
        process = _DecoderProcess(self._program)
        self._all.add(process)
        return process

    def _end_idle(self) -> None:
        with suppress(IndexError):
            while True:
                process = self._idle.pop()
                self._all.discard(process)
                process.end()


class _Asked(NamedTuple):
    """A span that is asked for."""

    question: DecodeSpan
    decoded: DecodedSpan

    @classmethod
    def of(cls, span: Span, path: str, decoding: Decoding) -> _Asked:
        decoded = DecodedSpan(span, decoding, _most_s(path))
        return cls(DecodeSpan(span, path, decoding), decoded)


def _blocks_of(asked: _Asked, process: _DecoderProcess) -> Iterator[FrameBlock]:
    """The blocks of a span that a process decodes now."""
    span, decoded = asked.question.span, asked.decoded
    decoded.begin()
    process.begin(skipped_s=span.start_s)
    while not isinstance(answer := process.answer(), Ended):
        if isinstance(answer, Frames):
            decoded_s = decoded.check(answer)
            frames = process.frames(answer)
            process.has_decoded(decoded_s)
            if decoded.is_new(answer):
                block = FrameBlock(span, answer.first_frame, frames, channels=answer.channels)
                del frames  # else its memory would be in use while the next are waited for
                yield block
                del block
        elif isinstance(answer, Reached):
            decoded.check_reached(answer.seconds)
            process.has_decoded(answer.seconds)
        else:
            raise nonsense()
    decoded.finish(answer.ending)


def _most_s(path: str) -> float | None:
    """More seconds than a file can contain, with some margin; None if its size is unknown."""
    with suppress(OSError, ValueError):
        return endless_s(os.stat(path).st_size) + _SPARE_S
    return None


class _DecoderProcess:
    """A process that decodes, and the pipes to it and from it."""

    def __init__(self, program: str) -> None:
        self._complaints = tempfile.TemporaryFile()  # noqa: SIM115 (end() closes it)
        self._slots = OwnSlots()
        inherited = [] if self._slots.descriptor is None else [self._slots.descriptor]
        program = f"import sys; sys.path[:] = {sys.path!r}; {program}"
        self._process = subprocess.Popen(
            [sys.executable, "-c", program, *map(str, inherited)],
            pass_fds=inherited,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._complaints,
            env={**ONE_BLAS_THREAD, **os.environ},
            bufsize=0,
            start_new_session=True,  # Ctrl-C goes to the terminal's session: it is ours to end this
        )
        self._slots.close()
        self._is_ended = False
        self._owner = os.getpid()
        self._questions = cast(IO[bytes], self._process.stdin)
        self._pipe = _PatientPipe(cast(IO[bytes], self._process.stdout))
        self._first_limit_s = self._pipe.limit_s = START_LIMIT_S
        self._answers = io.BufferedReader(self._pipe, _PIPE_BYTES)
        self._is_ready = False

    def lives(self) -> bool:
        return self._process.poll() is None

    def await_ready(self) -> None:
        """Wait until it has started; raises as `answer` does, once the process is ended."""
        if self._is_ready:
            return
        try:
            self.answer()
            self._is_ready = True
        except KilledError:
            self.end()
            raise
        except (AudioError, DecoderError) as error:
            said = self._said()
            self.end()
            raise DecoderError(f"a decoder process did not start: {error}\n{said}") from error

    def ask(self, *questions: Question) -> None:
        """Ask questions, which are answered in their order."""
        if self._complaints.seek(0, os.SEEK_END):
            self._complaints.seek(0)
            self._complaints.truncate()
        pickled = [pickle.dumps(question, pickle.HIGHEST_PROTOCOL) for question in questions]
        with suppress(BrokenPipeError):  # it is gone, as will show
            self._questions.write(b"".join(struct.pack("<I", len(p)) + p for p in pickled))

    def begin(self, skipped_s: int = 0) -> None:
        """Begin to wait for the answer to the next question; some must be skipped before it."""
        self._pipe.waited_s = 0
        self._first_limit_s = self._pipe.limit_s = LIMIT_S + skipped_s / SKIPPING_SPEED

    def has_decoded(self, seconds: float) -> None:
        """Extend the time limit by the seconds decoded so far."""
        self._pipe.limit_s = self._first_limit_s + seconds

    def answer(self) -> Answer:
        """The next answer.

        Raises:
          CrashedError: the process has died, or returned an invalid answer.
          KilledError: it was killed from outside.
          TooSlowError: it takes too long.
          DecoderError: it has a bug, or is the decoder of a process that this one was forked from.
        """
        if os.getpid() != self._owner:
            raise DecoderError(
                "a recording is decoded to its end in the process that has begun it, not in one "
                "that was forked meanwhile"
            )
        if freed := self._slots.freed():
            with suppress(BrokenPipeError):
                self._questions.write(struct.pack(f"<{len(freed)}I", *freed))
        try:
            return read_answer(self._answers)
        except EOFError as error:
            raise self._cause_of_death() from error

    def frames(self, answer: Frames) -> NDArray[np.float32]:
        """The frames that an answer tells of, float32; raises as `answer` does."""
        if answer.slot is not None:
            taken = self._slots.take(answer.slot, answer.shape)
            if taken is None:
                raise nonsense()
            return taken
        frames = np.empty(answer.shape, np.float32)
        if self._answers.readinto(frames.data.cast("B")) < frames.nbytes:
            raise self._cause_of_death()
        return frames

    def end(self) -> None:
        """End the process at once."""
        self._is_ended = True
        self._process.kill()
        with suppress(subprocess.TimeoutExpired):  # of one that the system holds, waiting for files
            self._process.wait(_END_LIMIT_S)
        for file in (self._questions, self._answers, self._complaints):
            file.close()

    def _cause_of_death(self) -> Exception:
        try:
            status = self._process.wait(_END_LIMIT_S)
        except subprocess.TimeoutExpired:
            return CrashedError("the decoder exited early")
        if status == BUG_STATUS:
            return DecoderError(f"a bug in the decoder\n{self._said()}")
        if status == OUT_OF_MEMORY_STATUS:
            return CrashedError("the decoder ran out of memory")
        if status >= 0:
            return CrashedError(f"the decoder exited early (exit status {status})")
        name = _signal_name(-status)
        if -status in _FROM_OUTSIDE and not self._is_ended:
            return KilledError(f"the decoder was killed ({name}), perhaps because memory was short")
        return CrashedError(f"the decoder crashed ({name}{self._complaint(status)})")

    def _complaint(self, status: int) -> str:
        """The last message of a library that aborted; other output varies from run to run."""
        lines = [line.strip() for line in self._said().splitlines() if line.strip()]
        return f": {lines[-1][:200]}" if status == -signal.SIGABRT and lines else ""

    def _said(self) -> str:
        size_bytes = self._complaints.seek(0, os.SEEK_END)
        self._complaints.seek(max(0, size_bytes - _SAID_BYTES))
        return self._complaints.read(_SAID_BYTES).decode("utf-8", "replace")


class _PatientPipe(io.RawIOBase):
    """The reading end of a pipe, with a limit on the time spent waiting for it.

    Attributes:
      limit_s: the limit in all.
      waited_s: the time so far, not counting time in which this process was suspended.
    """

    def __init__(self, pipe: IO[bytes]) -> None:
        self._pipe = pipe
        self._poll = select.poll()
        self._poll.register(pipe, select.POLLIN)
        self.limit_s = self.waited_s = 0.0
        with suppress(OSError, AttributeError):  # no system must have it, or grant it
            fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        """Read available bytes; raises TooSlowError if none come in time."""
        while not self._comes():
            if self.waited_s > self.limit_s:
                raise TooSlowError(f"the decoder took more than {self.limit_s:.0f} s")
        return os.readv(self._pipe.fileno(), [buffer])

    def close(self) -> None:
        self._pipe.close()
        super().close()

    def _comes(self) -> bool:
        started = time.monotonic()
        events = self._poll.poll(_TICK_S * 1000)
        self.waited_s += min(time.monotonic() - started, _TICK_S)
        return bool(events)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
