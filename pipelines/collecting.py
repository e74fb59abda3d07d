"""When Python looks for garbage: a start makes some 370,000 objects, nearly all of which stay."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def uncollected() -> Iterator[None]:
    """Look for no garbage in this context, nor ever again among the objects that there are then.

    It is for processes of our own: what is garbage by then is not freed.
    """
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
