"""Preparing a run: all that is checked before anything is begun."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timezone

from earmark import __version__
from earmark.models.classifier import AudioClassifier
from earmark.models.errors import ModelError
from earmark.pipelines.engines import Engine, engine_of
from earmark.pipelines.errors import UsageError
from earmark.pipelines.limits import check_open_files
from earmark.pipelines.options import (
    ClassifyOptions,
    ModelLoader,
    ModelUse,
    find_model,
    read_model_use,
)
from earmark.pipelines.runs.graph import RunConfig
from earmark.pipelines.runs.grids import framing
from earmark.transforms.elements import HeadLabels
from earmark.transforms.listing import check_patterns, is_manifest
from earmark.transforms.output import Provenance
from earmark.transforms.storage import ListingError, check_store, local_path, run_id_of, shown


@dataclass(frozen=True)
class Run:
    """A run whose options, model, input and output have been found usable.

    Attributes:
      config: how recordings are processed.
      engine: where.
      beam_flags: Beam's options as they were given.
      classifier: the model, loaded.
      started_at: when all that was found.
    """

    config: RunConfig
    engine: Engine
    beam_flags: tuple[str, ...]
    classifier: AudioClassifier
    started_at: datetime

    @property
    def options(self) -> ClassifyOptions:
        """What to process, and how."""
        return self.config.options

    @property
    def made_by(self) -> Provenance:
        """What goes into every file."""
        return self.config.made_by


def prepare(options: ClassifyOptions, beam_flags: Sequence[str]) -> Run:
    """Check all that can be checked before anything runs.

    Raises:
      UsageError: the engine, the model, the input or the output cannot be used.
    """
    engine = engine_of(beam_flags, is_stream=options.watch)
    engine.check({"input": options.input, "output": (options.output,)})
    options = options.model_copy(update={"output": _output(options.output, engine)})
    threads = f"a run with --direct_num_workers {engine.threads}"
    check_open_files(engine.open_files, threads)
    if options.watch:
        _check_watch(options, engine)
    started_at = datetime.now(timezone.utc)
    config, classifier = configure(options, started_at)
    try:
        check_patterns(options.input, all_files=options.all_files, may_be_empty=options.watch)
    except ListingError as error:
        raise UsageError(str(error)) from error
    return Run(config, engine, tuple(beam_flags), classifier, started_at)


def configure(options: ClassifyOptions, started_at: datetime) -> tuple[RunConfig, AudioClassifier]:
    """How recordings are processed by options, with the model that these name.

    Raises:
      UsageError: the model cannot be used, or not so.
    """
    use = read_model_use(options)
    try:
        load = ModelLoader(find_model(options.model), use.options)
        classifier = load()
        score_thresholds = use.score_thresholds(classifier)
    except ModelError as error:
        raise UsageError(str(error)) from error
    made_by = _made_by(options, use, classifier, started_at)
    return RunConfig(options, load, made_by, score_thresholds), classifier


def _output(output: str, engine: Engine) -> str:
    """The folder or URI that the tables go to, in one way of writing it."""
    path = local_path(output)
    if path is not None:
        if not _is_utf_8(path):
            raise UsageError("--output: its name is not UTF-8; name another folder")
        return engine.path(path)
    try:
        check_store(output, to_write=True)
    except ListingError as error:
        raise UsageError(f"--output {error}") from error
    return output


def _is_utf_8(name: str) -> bool:
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _check_watch(options: ClassifyOptions, engine: Engine) -> None:
    engine.check_watch(
        options.notifications, retry_failed=options.retry_failed, num_shards=options.num_shards
    )
    for pattern in filter(is_manifest, options.input if options.notifications else ()):
        raise UsageError(
            f"--input {shown(pattern)}: there are no notifications for a manifest; name a folder "
            "or a pattern, or leave out --notifications"
        )


def _made_by(
    options: ClassifyOptions, use: ModelUse, classifier: AudioClassifier, started_at: datetime
) -> Provenance:
    grid, channels = framing(classifier, options.hop_s, options.channels)
    return Provenance(
        run_id=_run_id(options, classifier, started_at),
        earmark_version=__version__,
        model_name=classifier.name,
        model_sha256=classifier.sha256,
        heads=tuple(
            HeadLabels(head.name, head.labels, head.display_names) for head in classifier.heads
        ),
        grid=grid,
        min_score=use.min_score_of(classifier),
        top_k=options.top_k,
        events_gap_s=options.events_gap_s,
        time_pattern=options.time_pattern,
        time_zone=options.time_zone,
        channels=channels,
        embedding_size=classifier.embedding_size,
        embedding_dtype=options.embeddings or "float32",
        scoring=use.settings(),
    )


def _run_id(options: ClassifyOptions, classifier: AudioClassifier, started_at: datetime) -> str:
    """When and where it began, and what it does. Made once: a retry writes to the same names."""
    who = [platform.node(), os.getpid(), started_at.isoformat()]
    what = [options.model_dump(), classifier.sha256, *who]
    return run_id_of(started_at, json.dumps(what))
