"""Preparing a run: all that is checked before anything is begun."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from typing import Any

import numpy as np
from numpy.typing import NDArray

from earmark.models.classifier import AudioClassifier
from earmark.models.errors import ModelError
from earmark.pipelines.engines import Engine, engine_of
from earmark.pipelines.errors import UsageError
from earmark.pipelines.limits import check_open_files
from earmark.pipelines.options import ClassifyOptions
from earmark.pipelines.resolving import (
    ModelLoader,
    filled,
    find_model,
    min_score_of,
    reachable_thresholds,
    resolved,
    stated,
    with_known_use,
)
from earmark.pipelines.runs.grids import framing
from earmark.transforms.elements import HeadLabels
from earmark.transforms.listing import anywhere, check_patterns, is_manifest, roots_of
from earmark.transforms.settings import Decoding, Settings
from earmark.transforms.storage import ListingError, check_store, local_path, run_id_of, shown


@dataclass(frozen=True)
class Run:
    """A run whose options, model, input and output have been found usable.

    Attributes:
      options: what was asked for.
      settings: what its stages go by.
      load: gives the model, in each worker.
      classifier: the model, loaded.
      engine: where it is carried out.
      beam_flags: Beam's options as they were given.
      started_at: when all that was found.
    """

    options: ClassifyOptions
    settings: Settings
    load: ModelLoader
    classifier: AudioClassifier
    engine: Engine
    beam_flags: tuple[str, ...]
    started_at: datetime


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
    settings, load, classifier = configure(options)
    settings = replace(settings, run_id=_run_id(options, classifier, started_at))
    try:
        check_patterns(
            options.input,
            all_files=options.all_files,
            may_be_empty=options.watch,
            uri_column=options.uri_column,
        )
    except ListingError as error:
        raise UsageError(str(error)) from error
    return Run(options, settings, load, classifier, engine, tuple(beam_flags), started_at)


def configure(options: ClassifyOptions) -> tuple[Settings, ModelLoader, AudioClassifier]:
    """What stages go by for options, apart from a run; and the model, as loader and loaded.

    Raises:
      UsageError: the model cannot be used, or not so.
    """
    return configured(resolved(options))


def configured(
    values: Mapping[str, Any],
) -> tuple[Settings, ModelLoader, AudioClassifier]:
    """The same for resolved values of options; raises as `configure`."""
    try:
        source = find_model(values["model"])
        values = with_known_use(source, values)
        load = ModelLoader.of(source, values)
        classifier = load()
        min_scores = reachable_thresholds(classifier, values)
    except ModelError as error:
        raise UsageError(str(error)) from error
    settings = _settings(values, classifier, min_scores)
    if load.places is not None:
        by = {"places_sha256": load.places.source.sha256}
        settings = replace(settings, stated={**settings.stated, **by})
    return settings, load, classifier


def _settings(
    values: Mapping[str, Any], classifier: AudioClassifier, min_scores: NDArray[np.float32]
) -> Settings:
    grid, use = framing(classifier, values["hop_s"], values["channels"])
    min_score = min_score_of(classifier, values["min_score"])
    return filled(
        Settings,
        values,
        decoding=filled(Decoding, values, grid=grid, use=use),
        heads=tuple(
            HeadLabels(head.name, head.labels, head.display_names) for head in classifier.heads
        ),
        min_scores=min_scores,
        embedding_size=classifier.embedding_size,
        patterns=tuple(map(anywhere, values["input"])),  # remote workers have their own folders
        roots=roots_of(map(anywhere, values["input"])),
        model_name=classifier.name,
        model_version=classifier.metadata.version or "",
        model_sha256=classifier.sha256,
        stated=stated({**values, "min_score": min_score}),
    )


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


def _run_id(options: ClassifyOptions, classifier: AudioClassifier, started_at: datetime) -> str:
    """When and where it began, and what it does. Made once: a retry writes to the same names."""
    who = [platform.node(), os.getpid(), started_at.isoformat()]
    what = [options.model_dump(), classifier.sha256, *who]
    return run_id_of(started_at, json.dumps(what))
