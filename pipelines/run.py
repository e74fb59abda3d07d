"""A run from its options to its end: all that is checked before, the runner, what comes of it."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import partial
from importlib.metadata import version
from typing import Any

import apache_beam as beam
from apache_beam.io.filesystems import FileSystems
from apache_beam.options.pipeline_options import PipelineOptions, StandardOptions
from apache_beam.runners.runner import create_runner

from models.classifier import AudioClassifier, load_classifier, read_labels
from models.errors import ModelError
from models.sources import ModelSource, resolve
from pipelines import __version__
from pipelines.errors import RunError, UsageError, nearest
from pipelines.graph import ClassifyArchive, Hearing
from pipelines.local_runner import is_local, use_all_cores
from pipelines.options import ClassifyOptions
from pipelines.rounds import run_in_rounds
from transforms.committing import conclude
from transforms.listing import check_patterns
from transforms.local_copies import read_uri
from transforms.output_folder import discard, is_taken, prepare_output, run_file
from transforms.patterns import ListingError, local_path
from transforms.tables import Provenance

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


_EXPECTED_TROUBLE = (
    *("ListingError", "ModelError", "ReconcileError", "OutputTakenError", "BeamIOError"),
    *("OSError", *(kind.__name__ for kind in OSError.__subclasses__())),
    *(kind.__name__ for kind in ConnectionError.__subclasses__()),
)
"""Errors in workers that are no bugs: those of reading recordings never get so far."""


@dataclass(frozen=True)
class Run:
    """A run whose options, model, input and output have been found usable.

    Attributes:
      options: what to hear, and what counts as heard.
      beam_options: Beam's own.
      beam_flags: the same as they were given.
      model: where the model is.
      classifier: the same, loaded.
      load: gives the classifier in a worker.
      made_by: what goes into every file.
      started_at: when that was found.
    """

    options: ClassifyOptions
    beam_options: PipelineOptions
    beam_flags: tuple[str, ...]
    model: ModelSource
    classifier: AudioClassifier
    load: Callable[[], AudioClassifier]
    made_by: Provenance
    started_at: datetime


def prepare(options: ClassifyOptions, beam_flags: Sequence[str]) -> Run:
    """Check all that can be checked before anything runs.

    Raises:
      UsageError: the model, the input or the output cannot be used.
    """
    beam_options = _beam_options(beam_flags)
    output = local_path(options.output) or options.output
    options = options.model_copy(update={"output": output})
    try:
        model, load = _model(options)
        classifier = load()
        check_patterns(options.input, all_files=options.all_files)
    except (ModelError, ListingError) as error:
        raise UsageError(str(error)) from error
    started_at = datetime.now(timezone.utc)
    made_by = _made_by(options, classifier, started_at)
    _check_output(options.output, made_by.run_id)
    return Run(
        options, beam_options, tuple(beam_flags), model, classifier, load, made_by, started_at
    )


def execute(run: Run) -> dict[str, Any]:
    """Carry a run out.

    Returns:
      The content of the run's file.

    Raises:
      RunError: a manifest broke on the way, the output could not be written, or rows are missing.
    """
    output, run_id = run.options.output, run.made_by.run_id
    hearing = Hearing(run.options, run.load, run.made_by)
    try:
        if is_local(run.beam_options):
            run_in_rounds(hearing, run.beam_options)
            conclude(output, run_id, _record(run))
        else:
            pipeline = beam.Pipeline(options=run.beam_options)
            _ = pipeline | ClassifyArchive(hearing, _record(run))
            pipeline.run().wait_until_finish()
    except BaseException as error:
        discard(output, run_id)
        if isinstance(error, ListingError):
            raise RunError(f"{error}; nothing was committed") from None
        if isinstance(error, RuntimeError) and (message := _expected_trouble(str(error))):
            raise RunError(f"{message}; nothing was committed") from None
        raise
    return read_record(output, run_id)


def read_record(output: str, run_id: str) -> dict[str, Any]:
    """The content of a run's file."""
    record: dict[str, Any] = json.loads(read_uri(run_file(output, run_id)))
    return record


def _expected_trouble(report: str) -> str | None:
    """What a worker's error says, if it is one that is no bug; runners give it as a traceback."""
    kinds = "|".join(_EXPECTED_TROUBLE)
    last = report.rsplit("Traceback (most recent call last)", 1)[-1]
    found = re.search(rf"\b(?:{kinds}): (.+?) \[while running", last, re.S)
    return " ".join(found[1].split()) if found else None


def _beam_options(flags: Sequence[str]) -> PipelineOptions:
    options = PipelineOptions(list(flags))
    if is_local(options):
        use_all_cores(options, flags)
    else:
        _check_runner(options.view_as(StandardOptions).runner)
    FileSystems.set_options(options)
    return options


def _check_runner(name: str) -> None:
    try:
        create_runner(name)
    except (ValueError, ImportError, AttributeError, TypeError) as error:
        hint = nearest(name, StandardOptions.KNOWN_RUNNER_NAMES)
        raise UsageError(f"--runner {name}: there is no such runner here{hint}") from error


def _model(options: ClassifyOptions) -> tuple[ModelSource, Callable[[], AudioClassifier]]:
    source = resolve(options.model, read_uri)
    labels = read_labels(options.labels) if options.labels else None
    load = partial(
        load_classifier,
        source,
        read=read_uri,
        labels=labels,
        sample_rate_hz=options.sample_rate,
    )
    return source, load


def _made_by(
    options: ClassifyOptions, classifier: AudioClassifier, started_at: datetime
) -> Provenance:
    rate = classifier.sample_rate_hz
    hop = classifier.frame_samples if options.hop_s is None else round(options.hop_s * rate)
    if hop < 1:
        raise UsageError(f"--hop_s {options.hop_s}: shorter than a sample at {rate} Hz")
    return Provenance(
        run_id=_run_id(options, classifier, started_at),
        earmark_version=__version__,
        model_name=classifier.name,
        model_sha256=classifier.sha256,
        labels=classifier.labels,
        sample_rate_hz=rate,
        frame_samples=classifier.frame_samples,
        hop_samples=hop,
        min_score=options.min_score,
        top_k=options.top_k,
        events_gap_s=options.events_gap_s,
    )


def _run_id(options: ClassifyOptions, classifier: AudioClassifier, started_at: datetime) -> str:
    """When and where it began, and what it does. Made once: a retry writes to the same names."""
    what = [options.model_dump(), classifier.sha256, platform.node(), os.getpid()]
    digest = hashlib.sha256(json.dumps(what).encode()).hexdigest()
    return f"{started_at:%Y%m%dT%H%M%SZ}-{digest[:8]}"


def _check_output(output: str, run_id: str) -> None:
    try:
        if is_taken(output):
            raise UsageError(
                f"--output {output}: holds the results of a run already, or what one that was cut "
                "off left behind; name another folder, or empty it"
            )
        prepare_output(output, run_id)
    except (OSError, ValueError) as error:
        raise UsageError(f"--output {output}: cannot be written to: {error}") from error


def _record(run: Run) -> dict[str, Any]:
    """What the run's file says beside counts and times; JSON values."""
    made_by, classifier = run.made_by, run.classifier
    return {
        "run_id": made_by.run_id,
        "started_at": run.started_at.isoformat(timespec="seconds"),
        "options": run.options.model_dump(mode="json"),
        "beam_options": list(run.beam_flags),
        "model": {
            "name": classifier.name,
            "location": run.model.location,
            "sha256": classifier.sha256,
            "classes": classifier.classes,
            "sample_rate_hz": classifier.sample_rate_hz,
            "sample_rate_assumed": classifier.sample_rate_assumed,
            "frame_samples": made_by.frame_samples,
            "hop_samples": made_by.hop_samples,
        },
        "versions": {
            "earmark": __version__,
            "python": platform.python_version(),
            **{library: version(library) for library in _LIBRARIES},
        },
    }
