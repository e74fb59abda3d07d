"""The provenance of rows: what files say of how they were made, in their key-value metadata."""

from __future__ import annotations

import hashlib

from earmark import __version__
from earmark.transforms.output.tables import made_tables
from earmark.transforms.settings import ChannelUse, Settings

SCHEMA_VERSION = "3"

PREFIX = "earmark."
"""The prefix of keys in a file's metadata."""


def provenance_of(settings: Settings) -> dict[str, str]:
    """All that rows depend on besides the recordings, by name; earmark's version is not among it.

    An option whose value stands here as it was given says so itself, where it is defined.
    """
    grid = settings.grid
    return {
        "schema_version": SCHEMA_VERSION,
        "tables": ", ".join(table.name for table in made_tables(settings)),
        "model_sha256": settings.model_sha256,
        "heads": ", ".join(head.name for head in settings.heads),
        "labels_sha256": hashlib.sha256("\n".join(settings.labels).encode()).hexdigest(),
        "sample_rate_hz": str(grid.sample_rate_hz),
        "frame_samples": str(grid.frame_samples),
        "window_samples": str(grid.heard_samples),
        "hop_samples": str(grid.hop_samples),
        "channels": _channels(settings.decoding.use),
        **settings.stated,
    }


def metadata(settings: Settings) -> dict[str, str]:
    """Key-value metadata for a Parquet file."""
    made_by = {
        "version": __version__,
        "run_id": settings.run_id,
        "model_name": settings.model_name,
        "model_version": settings.model_version,
    }
    return {
        f"{PREFIX}{key}": value for key, value in {**made_by, **provenance_of(settings)}.items()
    }


def _channels(use: ChannelUse) -> str:
    if use.each:
        return "each"
    return "mix" if use.in_frame == 1 else f"{use.in_frame} at once"
