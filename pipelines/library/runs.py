"""Whole runs from Python: what the commands do, without a command line."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from earmark.pipelines.console import screen
from earmark.pipelines.interrupts import StoppedError
from earmark.pipelines.library.notebooks import keep_labels
from earmark.pipelines.library.options import EMBED_RUN, RUN
from earmark.pipelines.options import ClassifyKeywords, Command, EmbedKeywords, parse_keywords
from earmark.pipelines.runs import Outcome, carry_out, prepare
from earmark.pipelines.screen import is_notebook, watch
from earmark.shared import shared
from earmark.transforms.output import Tables, read

if TYPE_CHECKING:
    from typing_extensions import Unpack

_log = logging.getLogger("earmark")


@dataclass(frozen=True)
class RunSummary:
    """The result of a run; counts are of this run alone.

    Attributes:
      output: the folder or URI of the tables.
      run_id: the run's name, as in its file `_runs/RUN_ID.json`; None if there was nothing to do,
        or if the run was left to an engine.
      clips: how many recordings were scored.
      audio_s: their total length in seconds.
      detections: rows written to detections/.
      events: rows written to events/.
      embeddings: rows written to embeddings/.
      labels: in how many clips each label was detected, the most frequent first.
      failures: how many recordings could not be scored, by reason.
      partial: how many were scored in part, by reason; `clips` includes them.
      skipped: how many files were skipped because their names rule out audio, by extension.
      processed_before: how many recordings earlier runs had processed.
    """

    output: str
    run_id: str | None
    clips: int
    audio_s: float
    detections: int
    events: int
    embeddings: int
    labels: Mapping[str, int]
    failures: Mapping[str, int]
    partial: Mapping[str, int]
    skipped: Mapping[str, int]
    processed_before: int

    @property
    def failed(self) -> int:
        """How many recordings could not be scored."""
        return sum(self.failures.values())

    def read(self) -> Tables:
        """The tables of the output, including rows of earlier runs: see `earmark.read`."""
        return read(self.output)


def classify(
    *,
    beam: Mapping[str, object] | None = None,
    progress: bool | None = None,
    **options: Unpack[ClassifyKeywords],
) -> RunSummary:
    """Process the recordings of an archive that are new or have changed: `earmark classify`.

    Ctrl-C, or a notebook's stop button, finishes the recordings in progress and commits them; then
    a KeyboardInterrupt is raised. The same call resumes from there. Outside the main thread, signal
    handlers are left alone.

    Args:
      beam: Beam's own options by name, such as {"direct_num_workers": 2}.
      progress: whether to show progress; None for only on a terminal or in a notebook.
      options: the command's, by name; input and output are required. Paths may be `str` or
        `pathlib.Path`; options that may be repeated take a list.

    Raises:
      UsageError: an option, the input, the model or the output cannot be used; one line says why.
      RunError: the run failed after it had started; one line says why, and what is committed.
      KeyboardInterrupt: it was interrupted; recordings that were finished by then are committed.
    """
    return _run(options, beam, progress, RUN)


def embed(
    *,
    beam: Mapping[str, object] | None = None,
    progress: bool | None = None,
    **options: Unpack[EmbedKeywords],
) -> RunSummary:
    """Write the embeddings of an archive's frames, without scores: see `classify`."""
    return _run(options, beam, progress, EMBED_RUN)


def _run(
    options: Mapping[str, object],
    beam: Mapping[str, object] | None,
    progress: bool | None,
    command: Command,
) -> RunSummary:
    keep_labels()
    with _quiet_beam():
        run = prepare(*parse_keywords(options, beam or {}, command))
        console = screen(errors=True)
        is_drawn = console.is_terminal or is_notebook() if progress is None else progress
        try:
            shown = watch(run.settings.run_id, console if is_drawn else None)
            outcome = carry_out(run, _log.warning, shown)
        except StoppedError as error:
            raise KeyboardInterrupt(str(error)) from None
    return _summary(run.options.output, outcome)


def _summary(output: str, outcome: Outcome) -> RunSummary:
    record = outcome.record or {}
    totals = record.get("totals", {})
    return RunSummary(
        output=output,
        run_id=record.get("run_id"),
        clips=totals.get("clips", 0),
        audio_s=totals.get("audio_s", 0.0),
        detections=totals.get("detections", 0),
        events=totals.get("events", 0),
        embeddings=totals.get("embeddings", 0),
        labels=_most_frequent(totals.get("labels", {})),
        failures=totals.get("failures", {}),
        partial=totals.get("partial", {}),
        skipped=record.get("listed", {}).get("skipped", {}),
        processed_before=outcome.planned.done,
    )


def _most_frequent(labels: Mapping[str, Mapping[str, int]]) -> dict[str, int]:
    clips = [(label, total["clips"]) for label, total in labels.items()]
    return dict(sorted(clips, key=lambda each: (-each[1], each[0])))


@contextmanager
def _quiet_beam() -> Iterator[None]:
    """Hide Beam's warnings, which nobody needs, unless logging has been configured to show more."""
    logger, quiet = logging.getLogger("apache_beam"), shared(_Quiet)
    with quiet.lock:
        is_usual = not logger.level and logger.getEffectiveLevel() >= logging.WARNING
        is_wanted = is_usual or quiet.calls > 0
        quiet.calls += is_wanted
        if is_wanted:
            logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        with quiet.lock:
            quiet.calls -= is_wanted
            if is_wanted and not quiet.calls:
                logger.setLevel(logging.NOTSET)


class _Quiet:
    """How many calls want Beam to be quiet; threads may make several at once."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.calls = 0
