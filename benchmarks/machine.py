"""What the figures were measured on, and with."""

from __future__ import annotations

import os
import platform
from contextlib import suppress
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from earmark import __version__

_LIBRARIES = (
    *("numpy", "scipy", "ducc0", "ai-edge-litert", "soundfile", "flacarray", "av", "soxr"),
    "apache-beam",
)


def described() -> str:
    """The day, the machine and the versions, a line each."""
    libraries = ", ".join(filter(None, map(_with_version, _LIBRARIES)))
    return (
        f"{datetime.now(timezone.utc):%-d %B %Y}; {_processor()}, {cores()} cores,"
        f" {platform.system()} {platform.machine()}.\n"
        f"earmark {__version__}, Python {platform.python_version()}, {libraries},"
        f" libsndfile {_libsndfile()}."
    )


def cores() -> int:
    """The cores that this process may use."""
    # as pipelines.local_runner has it, whose import is Beam's: a large parent is what Linux reports
    # as the peak of a small child
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def load() -> str:
    """How busy the machine is, from others' work too: processes in the last minute."""
    return f"load {os.getloadavg()[0]:.1f}"


def _with_version(library: str) -> str | None:
    """A library with its version; None where it isn't installed."""
    with suppress(PackageNotFoundError):
        return f"{library} {version(library)}"
    return None


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or "a processor that has no name"
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor())


def _libsndfile() -> str:
    import soundfile

    return str(soundfile.__libsndfile_version__)
