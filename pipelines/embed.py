"""`earmark embed`: embeddings of frames, without scores."""

from __future__ import annotations

from collections.abc import Sequence

from earmark.pipelines.classify import hear
from earmark.pipelines.options import EMBED


def command(arguments: Sequence[str]) -> None:
    """Embed an archive: see `earmark.pipelines.classify.hear`."""
    hear(arguments, EMBED)
