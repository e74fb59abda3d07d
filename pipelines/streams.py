"""The standard streams, made fit for use whatever this process was started with."""

from __future__ import annotations

import io
import os
import sys
from contextlib import suppress


def prepare_streams() -> None:
    """Have all three, and none that fails a run.

    What is closed becomes /dev/null, before a file of ours gets its number. What stderr cannot
    take is lost. Names that the terminal's encoding lacks are shown as escapes.
    """
    for number in (0, 1, 2):
        _open_if_closed(number)
    sys.stdin = sys.stdin or _null("r")
    sys.stdout = sys.stdout or _null("w")
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    sys.stderr = _forgiving() if sys.stderr else _null("w")


def flush_stdout() -> OSError | None:
    """Write out what was printed; gives what keeps it from that, and loses it then."""
    try:
        sys.stdout.flush()
    except OSError as error:
        lose_stdout()
        return error
    return None


def lose_stdout() -> None:
    """Have what is printed, or was and is not written yet, go nowhere."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, sys.stdout.fileno())
    os.close(null)
    with suppress(OSError):
        sys.stdout.flush()


def _open_if_closed(number: int) -> None:
    """Open a descriptor if it is closed, when those below it are open: it is the next to be had."""
    try:
        os.fstat(number)
    except OSError:
        os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)


def _null(mode: str) -> io.TextIOWrapper:
    return open(os.devnull, mode, encoding="utf-8")  # type: ignore[return-value]


class _Forgiving(io.FileIO):
    def write(self, content: object) -> int:
        try:
            return super().write(content) or 0  # type: ignore[arg-type]
        except OSError:
            return memoryview(content).nbytes  # type: ignore[arg-type]


def _forgiving() -> io.TextIOWrapper:
    """stderr, but that it never fails."""
    raw = _Forgiving(2, "w", closefd=False)
    encoding = sys.stderr.encoding
    return io.TextIOWrapper(
        io.BufferedWriter(raw), encoding, errors="backslashreplace", line_buffering=True
    )
