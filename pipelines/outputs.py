"""Outputs of earlier runs, as commands other than runs name and use them."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone

from earmark.pipelines.errors import RunError, UsageError
from earmark.transforms.errors import ExpectedError
from earmark.transforms.output import has_tables, refuse_links
from earmark.transforms.storage import (
    local_path,
    normal_path,
    reason,
    run_id_of,
    shown,
    unusable_errors,
)


@contextmanager
def used_output(named: str) -> Iterator[str]:
    """The output that a command names, to be used in the context.

    Raises:
      UsageError: no run has written to it, or it cannot be used so.
      RunError: it cannot be read or written.
    """
    path = local_path(named)
    output = named if path is None else normal_path(path)
    if path is not None and not os.path.isdir(output):
        raise UsageError(f"{shown(output)}: no such folder")
    try:
        refuse_links(output)
        if not has_tables(output):
            raise UsageError(f"{shown(output)}: no run has written to it")
        yield output
    except ExpectedError as error:
        raise UsageError(f"{shown(output)}: {error}") from error
    except unusable_errors() as error:
        raise RunError(f"{shown(output)}: {reason(error)}") from error


def new_run_id() -> str:
    """A name for what a command does to an output now."""
    now = datetime.now(timezone.utc)
    return run_id_of(now, f"{platform.node()} {os.getpid()} {now.isoformat()}")
