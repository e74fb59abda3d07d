"""The standard streams, made usable in whatever state this process was started with."""

from __future__ import annotations

import io
import os
import sys
from contextlib import suppress


def prepare_streams() -> None:
    """Make sure that all three exist and that none fails a run.

    Closed ones become /dev/null, before another file gets their number. What stderr cannot take is
    dropped. Characters that the terminal's encoding lacks are escaped.
    """
    for number in (0, 1, 2):
        _open_if_closed(number)
    sys.stdin = sys.stdin or _null("r")
    sys.stdout = sys.stdout or _null("w")
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    sys.stderr = _forgiving() if sys.stderr else _null("w")


def flush_stdout() -> OSError | None:
    """Flush stdout; if that fails, discard the output and return the error."""
    try:
        sys.stdout.flush()
    except OSError as error:
        lose_stdout()
        return error
    return None


def lose_stdout() -> None:
    """Send stdout, including what is not flushed yet, to /dev/null."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, sys.stdout.fileno())
    os.close(null)
    with suppress(OSError):
        sys.stdout.flush()


def _open_if_closed(number: int) -> None:
    """Open a descriptor if it is closed; with those below it open, it is the next to be given."""
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
    """A stderr that never fails."""
    raw = _Forgiving(2, "w", closefd=False)
    encoding = sys.stderr.encoding
    return io.TextIOWrapper(
        io.BufferedWriter(raw), encoding, errors="backslashreplace", line_buffering=True
    )
