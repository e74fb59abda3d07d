"""What a run's file says beside counts and times."""

from __future__ import annotations

import platform
from collections.abc import Iterable, Iterator
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from earmark import __version__
from earmark.pipelines.runs.preparing import Run
from earmark.transforms.text import masked, masked_flags, masked_value

_LIBRARIES = (
    "apache-beam",
    "ai-edge-litert",
    "av",
    "numpy",
    "pyarrow",
    "soundfile",
    "soxr",
)

_OPTIONAL_LIBRARIES = ("ducc0", "flacarray")


def run_record(run: Run) -> dict[str, Any]:
    """All of it; JSON values, without secrets."""
    settings, classifier = run.settings, run.classifier
    given = run.options.model_dump(mode="json")
    return {
        "run_id": settings.run_id,
        "started_at": run.started_at.isoformat(timespec="seconds"),
        "options": {name: masked_value(name, value) for name, value in given.items()},
        "beam_options": masked_flags(run.beam_flags),
        "model": {
            "name": masked(classifier.name),
            "location": masked(run.load.source.location),
            "version": classifier.metadata.version,
            "sha256": classifier.sha256,
            "heads": {head.name: len(head.labels) for head in classifier.heads},
            "embedding_size": classifier.embedding_size,
            "sample_rate_hz": classifier.sample_rate_hz,
            "sample_rate_assumed": classifier.sample_rate_assumed,
            "frame_samples": settings.grid.frame_samples,
            "hop_samples": settings.grid.hop_samples,
        },
        "versions": {
            "earmark": __version__,
            "python": platform.python_version(),
            **{library: version(library) for library in _LIBRARIES},
            **dict(_installed(_OPTIONAL_LIBRARIES)),
        },
    }


def _installed(libraries: Iterable[str]) -> Iterator[tuple[str, str]]:
    for library in libraries:
        with suppress(PackageNotFoundError):
            yield library, version(library)
