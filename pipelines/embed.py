"""`earmark embed`: embeddings of frames, without scores."""

from __future__ import annotations

from collections.abc import Sequence

from earmark.pipelines.classify import process
from earmark.pipelines.options import EMBED


def command(arguments: Sequence[str]) -> None:
    """Embed an archive: see `earmark.pipelines.classify.process`."""
    process(arguments, EMBED)
