"""How many files this process may have open, against what it needs."""

from __future__ import annotations

import errno

from earmark.pipelines.errors import UsageError

try:
    import resource
except ImportError:  # Windows has no such limits
    resource = None  # type: ignore[assignment]

LEAST_FILES = 64
"""What any command needs: libraries, models, a pipe or two."""

_WANTED_FILES = 4096


def check_open_files(needed: int, why: str = "earmark") -> None:
    """Have as many files as are needed, and more where the system lets us.

    Args:
      needed: how many.
      why: who needs them.

    Raises:
      UsageError: the limit is lower, and not ours to raise.
    """
    if resource is None:
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = max(needed, _WANTED_FILES)
    most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
        soft = most
    if soft != resource.RLIM_INFINITY and soft < needed:
        raise UsageError(
            f"only {soft} files may be open at once, but {why} needs {needed}: raise the limit "
            f"with ulimit -n {needed}"
        )


def exhausted(error: BaseException) -> str | None:
    """A message about the system limit that an error says this process has reached, if it does."""
    said = str(error)
    if "can't start new thread" in said:
        return "no more threads can be started: raise the limit with ulimit -u"
    is_memory = isinstance(error, MemoryError) or getattr(error, "errno", None) == errno.ENOMEM
    if is_memory or "failed to map segment" in said or "Cannot allocate memory" in said:
        return "there is not enough memory, or ulimit -v allows too little"
    return None
