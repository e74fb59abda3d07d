"""A run from its options to its end: all that is checked before, the runner, what comes of it."""

from __future__ import annotations

import json
import os
import platform
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from functools import partial
from itertools import count
from typing import Any, NamedTuple

from apache_beam.options.pipeline_options import PipelineOptions, StandardOptions
from apache_beam.options.pipeline_options_validator import PipelineOptionsValidator
from apache_beam.runners.runner import PipelineRunner, create_runner

from earmark import __version__
from earmark.models.classifier import AudioClassifier, load_classifier
from earmark.models.errors import ModelError, nearest
from earmark.models.sources import BUILTIN, ModelSource
from earmark.pipelines.engines import (
    check_seen_by_workers,
    engine_flags,
    is_local,
    is_template,
    use_all_cores,
    worker_threads,
)
from earmark.pipelines.errors import RunError, UsageError
from earmark.pipelines.interrupts import StoppedError, watch_signals
from earmark.pipelines.limits import check_open_files, files_for
from earmark.pipelines.options import ClassifyOptions, ModelUse, find_model, read_model_use
from earmark.pipelines.runs.graph import Hearing, scope
from earmark.pipelines.runs.notifications import check_notifications
from earmark.pipelines.runs.records import run_record
from earmark.pipelines.runs.rounds import (
    leave_to_engine,
    retry,
    run_elsewhere,
    run_here,
)
from earmark.pipelines.runs.watches import check_watch, watch_elsewhere, watch_here
from earmark.transforms import workers
from earmark.transforms.elements import HeadLabels
from earmark.transforms.frames import ChannelUse, FrameGrid
from earmark.transforms.listing import check_patterns
from earmark.transforms.output import (
    BrokenTableError,
    HistoryError,
    JournalError,
    LinkedFolderError,
    LockedError,
    OutputTakenError,
    Provenance,
    ReconcileError,
    check_history,
    committed_objects,
    conclude,
    locked,
    recover,
    refuse_links,
    release,
    run_file,
    staging_folder,
)
from earmark.transforms.planning import PlanError, Planned, Planner
from earmark.transforms.storage import (
    STORE_ERRORS,
    UNUSABLE_ERRORS,
    ListingError,
    check_known,
    check_reachable,
    check_writable,
    join,
    local_path,
    normal_path,
    read_uri,
    reason,
    run_id_of,
    shown,
    use_options,
    write_whole,
)
from earmark.transforms.text import holds_credentials, printable

_EXPECTED_TROUBLE: tuple[type[Exception], ...] = (
    *(BrokenTableError, HistoryError, JournalError, LinkedFolderError),
    *(OutputTakenError, ReconcileError),
    *(ListingError, ModelError, PlanError),
    *STORE_ERRORS,
)
"""What a run may end with, besides bugs; troubles of recordings never get so far."""

_TROUBLE: tuple[type[Exception], ...] = (RuntimeError, *_EXPECTED_TROUBLE)
"""The same; Beam gives some of it as a RuntimeError."""


_UNUSABLE_OUTPUT = (
    *(BrokenTableError, HistoryError, JournalError, LinkedFolderError, LockedError),
    ReconcileError,
)

_UNREADABLE: tuple[type[Exception], ...] = (*UNUSABLE_ERRORS, JournalError)


class Outcome(NamedTuple):
    """What came of a run.

    Attributes:
      planned: what there was to hear, and what had been heard before.
      record: the content of the run's file; None if there was nothing to do, or if it is left to
        an engine, which will write it.
      is_left: whether an engine ends the run, without us.
    """

    planned: Planned
    record: dict[str, Any] | None
    is_left: bool = False


@dataclass(frozen=True)
class Run:
    """A run whose options, model, input and output have been found usable.

    Attributes:
      options: what to hear, and what counts as heard.
      beam_options: Beam's own.
      beam_flags: the same as they were given.
      model: where the model is.
      use: how it is used.
      classifier: the same, loaded.
      load: gives the classifier in a worker.
      made_by: what goes into every file.
      started_at: when that was found.
    """

    options: ClassifyOptions
    beam_options: PipelineOptions
    beam_flags: tuple[str, ...]
    model: ModelSource
    use: ModelUse
    classifier: AudioClassifier
    load: Callable[[], AudioClassifier]
    made_by: Provenance
    started_at: datetime

    @property
    def hearing(self) -> Hearing:
        """How its recordings are heard."""
        score_thresholds = self.use.score_thresholds(self.classifier)
        return Hearing(self.options, self.load, self.made_by, score_thresholds)


def prepare(options: ClassifyOptions, beam_flags: Sequence[str]) -> Run:
    """Check all that can be checked before anything runs.

    Raises:
      UsageError: the model, the input or the output cannot be used.
    """
    beam_options = _beam_options(beam_flags, options.watch)
    check_seen_by_workers({"input": options.input, "output": (options.output,)}, beam_options)
    options = options.model_copy(update={"output": _output(options, beam_options)})
    if is_local(beam_options):
        threads = worker_threads(beam_options)
        check_open_files(files_for(threads), f"a run with --direct_num_workers {threads}")
    check_watch(options, beam_options)
    check_notifications(options, beam_options)
    use = read_model_use(options)
    try:
        model = find_model(options.model)
        load = partial(load_classifier, model, use.options, read=read_uri)
        classifier = load()
        use.score_thresholds(classifier)
        check_patterns(options.input, all_files=options.all_files, may_be_empty=options.watch)
    except (ModelError, ListingError) as error:
        raise UsageError(str(error)) from error
    started_at = datetime.now(timezone.utc)
    return Run(
        options,
        beam_options,
        tuple(beam_flags),
        model,
        use,
        classifier,
        load,
        _made_by(options, use, classifier, started_at),
        started_at,
    )


def _output(options: ClassifyOptions, beam_options: PipelineOptions) -> str:
    """The folder or URI that the tables go to, in one way of writing it."""
    path = local_path(options.output)
    if path is None:
        _check_store(options.output)
        return options.output
    if not _is_utf_8(path):
        raise UsageError("--output: its name is no UTF-8; name another folder")
    # workers elsewhere are in folders of their own
    is_anywhere = os.path.isabs(path) or not is_local(beam_options)
    return normal_path(path) if is_anywhere else path


def _check_store(output: str) -> None:
    if holds_credentials(output):
        raise UsageError(f"--output {shown(output)}: credentials don't go into URIs")
    try:
        check_known(output)
        check_writable(output)
        check_reachable(output)
    except ListingError as error:
        raise UsageError(f"--output {error}") from error


def _is_utf_8(name: str) -> bool:
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


@contextmanager
def holding_output(run: Run, say: Callable[[str], None] = lambda _: None) -> Iterator[None]:
    """Have the output for this run alone, with all that earlier runs had begun to commit.

    Args:
      run: what is to write to it.
      say: told, in a line, why it takes a while.

    Raises:
      UsageError: it cannot be written to, another run is writing to it, or it holds something else.
    """
    output = run.options.output
    named = f"--output {shown(output)}"
    if os.path.isfile(output):
        raise UsageError(f"{named}: is a file; name a folder")
    with ExitStack() as stack:
        try:
            refuse_links(output)
            stack.enter_context(locked(output, run.made_by.run_id, say))
            recover(output)
            check_history(output, run.made_by.settings())
        except _UNUSABLE_OUTPUT as error:
            raise UsageError(f"{named}: {error}") from error
        except UNUSABLE_ERRORS as error:
            raise UsageError(f"{named}: cannot be written to: {reason(error)}") from error
        yield


def execute(run: Run) -> Outcome:
    """Carry a run out, in an output that is held.

    Raises:
      RunError: a manifest broke on the way, the output could not be written, or rows are missing.
      StoppedError: a signal came; what had been heard by then is committed.
    """
    output, run_id = run.options.output, run.made_by.run_id
    how = _watch if run.options.watch else _execute_in_rounds
    try:
        return how(run, run.hearing)
    except _TROUBLE as error:
        message = _expected_trouble(error)
        if message is None:
            raise
        with suppress(*_EXPECTED_TROUBLE, ValueError):  # else the next run will
            _recover(run)
        raise RunError(f"{printable(message, 1000)}; {_committed(output, run_id)}") from None


def _execute_in_rounds(run: Run, hearing: Hearing) -> Outcome:
    options, run_id = run.options, run.made_by.run_id
    saying = (
        "finishing what is under way, and committing it"
        if is_local(run.beam_options)
        else "cancelling the job; what was heard since the last commit is heard again next time"
    )
    is_left = is_template(run.beam_options)
    with (
        closing(Planner(scope(options, run.made_by))) as planner,
        watch_signals(saying) as interrupts,
    ):
        planner.look(lambda: interrupts.number is not None)
        planned, due = planner.plan.count(retry(options)), planner.plan.due(retry(options))
        workers.board(run_id).listed(planned.objects, planned.size_bytes)
        if planned.objects and interrupts.number is None:
            skipped = planner.plan.skipped()
            if is_local(run.beam_options):
                with interrupts.stopping(lambda: workers.stop(run_id)):
                    run_here(hearing, run.beam_options, due, skipped, interrupts, count(1))
            elif is_left:
                record = {**run_record(run), "heard_before": planned.done}
                leave_to_engine(_travelling(hearing, run), run.beam_options, due, skipped, record)
            else:
                travelling = _travelling(hearing, run)
                run_elsewhere(travelling, run.beam_options, due, skipped, interrupts)
        if interrupts.number is not None:
            _recover(run)
            raise StoppedError(_committed(options.output, run_id), interrupts.number)
        if not planned.objects or is_left:
            return Outcome(planned, None, is_left=is_left and planned.objects > 0)
        conclude(options.output, run_id, {**run_record(run), "heard_before": planned.done})
    return Outcome(planned, read_record(options.output, run_id))


def _watch(run: Run, hearing: Hearing) -> Outcome:
    output, run_id = run.options.output, run.made_by.run_id
    with watch_signals("ending the watch") as interrupts:
        if is_local(run.beam_options):
            watch_here(hearing, run.beam_options, interrupts)
        else:
            watch_elsewhere(_travelling(hearing, run), run.beam_options, interrupts)
    nothing = Planned(0, 0, 0, 0, 0)
    if is_template(run.beam_options):
        return Outcome(nothing, None, is_left=True)
    _recover(run)
    heard = committed_objects(output, run_id)
    if not heard:
        return Outcome(nothing, None)
    conclude(output, run_id, run_record(run))
    return Outcome(nothing._replace(objects=heard), read_record(output, run_id))


def _recover(run: Run) -> None:
    """Finish what the run has begun to commit, and undo the rest.

    A worker elsewhere may be at it after its job has ended. Without the lock it begins nothing
    more, and what it has begun is in a journal.
    """
    output = run.options.output
    if not is_local(run.beam_options):
        release(output, run.made_by.run_id)
    recover(output, run.made_by.run_id)


def _travelling(hearing: Hearing, run: Run) -> Hearing:
    """The same, with a model that workers elsewhere can read: a copy beside the output."""
    source = run.model
    if source.location == BUILTIN or "://" in source.location:
        return hearing
    copy = join(staging_folder(run.options.output, run.made_by.run_id), f"{source.name}.tflite")
    write_whole(copy, source.read())
    travelling = replace(source, location=copy)
    load = partial(load_classifier, travelling, run.use.options, read=read_uri)
    return replace(hearing, load=load)


def _committed(output: str, run_id: str) -> str:
    """What there is of a run that did not come to its end, in words."""
    try:
        objects = committed_objects(output, run_id)
    except _UNREADABLE:
        return "the same command again goes on from what is committed"
    if not objects:
        return "nothing was committed"
    return f"{objects:,} objects are committed; the same command again goes on from there"


def read_record(output: str, run_id: str) -> dict[str, Any]:
    """The content of a run's file."""
    record: dict[str, Any] = json.loads(read_uri(run_file(output, run_id)))
    return record


def _expected_trouble(error: Exception) -> str | None:
    """What an error says in a line, if it is one that is no bug.

    Of what a worker has raised, Beam gives the error with the stage's name behind it, or, for some
    kinds and from engines elsewhere, a RuntimeError whose text names the kind.
    """
    if isinstance(error, _EXPECTED_TROUBLE):
        return " ".join(str(error).partition(" [while running")[0].split())
    last = str(error).rsplit("Traceback (most recent call last)", 1)[-1]
    found = re.search(rf"\b(?:{'|'.join(_names_of_trouble())}): (.+?) \[while running", last, re.S)
    return " ".join(found[1].split()) if found else None


def _names_of_trouble() -> Iterator[str]:
    for kind in (*_EXPECTED_TROUBLE, *ConnectionError.__subclasses__()):
        yield kind.__name__
    yield from (kind.__name__ for kind in OSError.__subclasses__())


def _beam_options(flags: Sequence[str], is_stream: bool) -> PipelineOptions:
    options = PipelineOptions(list(flags))
    if is_local(options):
        use_all_cores(options, flags)
    else:
        runner = _runner(options.view_as(StandardOptions).runner)
        options = PipelineOptions([*flags, *engine_flags(options, flags, is_stream)])
        if errors := PipelineOptionsValidator(options, runner).validate():
            raise UsageError("; ".join(" ".join(error.split()) for error in errors))
    use_options(options)
    return options


def _runner(name: str) -> PipelineRunner:
    try:
        return create_runner(name)
    except (ValueError, ImportError, AttributeError, TypeError) as error:
        hint = nearest(name, StandardOptions.KNOWN_RUNNER_NAMES)
        raise UsageError(f"--runner {name}: there is no such runner here{hint}") from error


def _made_by(
    options: ClassifyOptions, use: ModelUse, classifier: AudioClassifier, started_at: datetime
) -> Provenance:
    rate = classifier.sample_rate_hz
    hop = classifier.hop_samples if options.hop_s is None else round(options.hop_s * rate)
    if hop < 1:
        raise UsageError(f"--hop_s {options.hop_s}: shorter than a sample at {rate} Hz")
    is_each = options.channels == "each"
    if is_each and classifier.channels > 1:
        raise UsageError(f"--channels each: the model takes {classifier.channels} channels at once")
    return Provenance(
        run_id=_run_id(options, classifier, started_at),
        earmark_version=__version__,
        model_name=classifier.name,
        model_sha256=classifier.sha256,
        heads=tuple(
            HeadLabels(head.name, head.labels, head.display_names) for head in classifier.heads
        ),
        grid=FrameGrid(rate, classifier.frame_samples, hop, classifier.window_samples),
        min_score=use.min_score_of(classifier),
        top_k=options.top_k,
        events_gap_s=options.events_gap_s,
        time_pattern=options.time_pattern,
        time_zone=options.time_zone,
        channels=ChannelUse(classifier.channels, is_each),
        embedding_size=classifier.embedding_size,
        embedding_dtype=options.embeddings or "float32",
        scoring=use.settings(),
    )


def _run_id(options: ClassifyOptions, classifier: AudioClassifier, started_at: datetime) -> str:
    """When and where it began, and what it does. Made once: a retry writes to the same names."""
    who = [platform.node(), os.getpid(), started_at.isoformat()]
    what = [options.model_dump(), classifier.sha256, *who]
    return run_id_of(started_at, json.dumps(what))
