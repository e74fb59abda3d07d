"""What the threads of this process share: the only thing here that is both global and changes.

Beam pickles what it hands to workers, threads of this process included, so that these can be handed
no object that they have in common. They find it by its kind and by whose it is:

- a run's, by the run's id: how far it is, and the queue of its spans. It is forgotten when the run
  is over; where workers are other processes, with their end.
- nobody's in particular: processes that decode, loaded models, where members of archives are, which
  stores have answered, the locks that this process holds. It lasts as long as the process.

A forked process begins with nothing: its parent's locks may be held by threads that it lacks.
"""

from __future__ import annotations

import atexit
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

_T = TypeVar("_T")


class _Registry:
    """By owner and kind; for any number of threads."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.values: dict[tuple[str, type[Any]], Any] = {}
        self.of_parents: dict[tuple[str, type[Any]], Any] = {}


_REGISTRY = _Registry()


def shared(kind: type[_T], owner: str = "") -> _T:
    """The one value of a kind, made by the first who asks.

    Args:
      kind: its class, which is made without arguments. If it has a method close, that is called
        when the value is forgotten.
      owner: the id of the run whose it is; of the process, if nothing is said.
    """
    with _REGISTRY.lock:
        if (owner, kind) not in _REGISTRY.values:
            _REGISTRY.values[owner, kind] = kind()
        value: _T = _REGISTRY.values[owner, kind]
        return value


def lent(kind: type[_T], owner: str) -> _T | None:
    """The value of a kind, if there is one; waits for nobody, so that signals may ask for it."""
    value: _T | None = _REGISTRY.values.get((owner, kind))
    return value


@contextmanager
def lending(value: _T, owner: str = "") -> Iterator[_T]:
    """Share a value while the context lasts, in the place of any other of its kind."""
    key = owner, type(value)
    with _REGISTRY.lock:
        before = _REGISTRY.values.get(key)
        _REGISTRY.values[key] = value
    try:
        yield value
    finally:
        with _REGISTRY.lock:
            if before is None:
                del _REGISTRY.values[key]
            else:
                _REGISTRY.values[key] = before


def forget(owner: str = "") -> None:
    """Close and forget what is an owner's."""
    with _REGISTRY.lock:
        keys = [key for key in _REGISTRY.values if key[0] == owner]
        values = [_REGISTRY.values.pop(key) for key in keys]
    for value in values:
        if hasattr(value, "close"):
            value.close()


def is_inherited(kind: type[Any]) -> bool:
    """Whether a process that this one was forked from had a value of a kind."""
    return any(key[1] is kind for key in _REGISTRY.of_parents)


def _begin_anew() -> None:
    """In a forked process: put what is the parent's aside, where nothing is closed or deleted."""
    _REGISTRY.lock = threading.Lock()
    _REGISTRY.of_parents |= _REGISTRY.values
    _REGISTRY.values = {}


atexit.register(forget)
os.register_at_fork(after_in_child=_begin_anew)
