"""What a run's file says beside counts and times."""

from __future__ import annotations

import platform
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from earmark import __version__
from earmark.transforms.text import masked, masked_flags, masked_value

if TYPE_CHECKING:
    from earmark.pipelines.runs.run import Run

_LIBRARIES = (
    "apache-beam",
    "ai-edge-litert",
    "av",
    "numpy",
    "pyarrow",
    "scipy",
    "soundfile",
    "soxr",
)


def run_record(run: Run) -> dict[str, Any]:
    """All of it; JSON values."""
    made_by, classifier = run.made_by, run.classifier
    return {
        "run_id": made_by.run_id,
        "started_at": run.started_at.isoformat(timespec="seconds"),
        "options": masked_options(run.options.model_dump(mode="json")),
        "beam_options": masked_flags(run.beam_flags),
        "model": {
            "name": masked(classifier.name),
            "location": masked(run.model.location),
            "sha256": classifier.sha256,
            "heads": {head.name: len(head.labels) for head in classifier.heads},
            "embedding_size": classifier.embedding_size,
            "sample_rate_hz": classifier.sample_rate_hz,
            "sample_rate_assumed": classifier.sample_rate_assumed,
            "frame_samples": made_by.grid.frame_samples,
            "hop_samples": made_by.grid.hop_samples,
        },
        "versions": {
            "earmark": __version__,
            "python": platform.python_version(),
            **{library: version(library) for library in _LIBRARIES},
        },
    }


def masked_options(options: dict[str, Any]) -> dict[str, Any]:
    """Options without the secrets in their values."""
    return {name: masked_value(name, value) for name, value in options.items()}
