"""The names of files and folders that runs write, by which these are recognised."""

from __future__ import annotations

import hashlib
import re
from datetime import datetime

STAGING_PREFIX = "_staging-"
"""The prefix of a staging folder's name; the run's name follows."""

RUN_ID = r"[0-9]{8}T[0-9]{6}Z-[0-9a-f]{8}"
"""A run's name: when it began, and a number."""

ROUND = r"(?:[0-9]{5,}|[0-9]{10}-[0-9a-f]{8})"
"""A round's name: its number, or the second in which its window began and a number."""

TABLE_FILE = rf"{RUN_ID}-{ROUND}-[0-9]{{5,}}-of-[0-9]{{5,}}(?:-less-[0-9a-f]{{8}})?\.parquet"
"""A table file's name; versions before 0.1 put `-less-` into names of rewritten files."""


def run_id_of(began_at: datetime, what: str) -> str:
    """The name of a run: when it began, in UTC, and a hash of what it is."""
    return f"{began_at:%Y%m%dT%H%M%SZ}-{hashlib.sha256(what.encode()).hexdigest()[:8]}"


def is_run_id(name: str) -> bool:
    """Whether a name is a valid name of a run."""
    return re.fullmatch(RUN_ID, name) is not None


def is_round(name: str) -> bool:
    """Whether a name is a valid name of a round."""
    return re.fullmatch(ROUND, name) is not None


def is_staging_folder(name: str) -> bool:
    """Whether a name is a valid name of a staging folder."""
    return name.startswith(STAGING_PREFIX) and is_run_id(name.removeprefix(STAGING_PREFIX))
