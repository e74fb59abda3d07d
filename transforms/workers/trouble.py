"""Expected trouble of workers, marked where they raise it, so that a command tells it from a bug.

An engine hands on what a worker has raised as an error of another kind, or as nothing but a text
with a traceback in it. The mark is found in any of these.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any, TypeVar, cast

from earmark.transforms.errors import ExpectedError, store_errors

_MARK = "expected by earmark: "

_Function = TypeVar("_Function", bound=Callable[..., Any])


class WorkerError(RuntimeError):
    """Expected trouble of a worker; the message is its mark, and what it says as JSON."""

    @classmethod
    def of(cls, error: Exception) -> WorkerError:
        """The same trouble, marked."""
        return cls(_MARK + json.dumps(str(error)))


def marking(work: _Function) -> _Function:
    """A worker's function, or a generator of its, that marks the expected trouble it raises."""

    @wraps(work)
    def generate(*arguments: Any, **named: Any) -> Iterator[Any]:
        with _marked():
            yield from work(*arguments, **named)

    @wraps(work)
    def call(*arguments: Any, **named: Any) -> Any:
        with _marked():
            return work(*arguments, **named)

    return cast(_Function, generate if inspect.isgeneratorfunction(work) else call)


def told_by_worker(text: str) -> str | None:
    """What the expected trouble says, in a line, that an engine's text tells of; None for a bug.

    The last traceback counts: those before it tell of what was met on the way.
    """
    last = text.rsplit("Traceback (most recent call last)", 1)[-1]
    _, mark, said = last.rpartition(_MARK)
    if not mark:
        return None
    try:
        said, _ = json.JSONDecoder().raw_decode(said)
    except ValueError:  # the engine has cut it off
        said = said.lstrip('"')
    return " ".join(said.split())


@contextmanager
def _marked() -> Iterator[None]:
    try:
        yield
    except store_errors(ExpectedError) as error:
        raise WorkerError.of(error) from error
