"""`earmark embed`: embeddings of frames, without scores."""

from __future__ import annotations

from collections.abc import Sequence

from pipelines.classify import hear
from pipelines.command_line import EMBED


def command(arguments: Sequence[str]) -> None:
    """Embed an archive: see `pipelines.classify.hear`."""
    hear(arguments, EMBED)
