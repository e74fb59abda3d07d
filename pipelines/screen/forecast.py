"""`earmark classify --dry_run`: how much there is to process, and how long it will take.

Nothing is written. A few recordings of each kind are decoded and scored, to measure how much audio
a byte of that kind contains and how long it takes; the rest is estimated from the sizes listed.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass

from rich.console import Console
from rich.filesize import decimal
from rich.table import Table

from earmark.models.classifier import AudioClassifier
from earmark.pipelines.console import counted, in_words, plain
from earmark.pipelines.runs import Run, asked_about_moves, note_roots, retry
from earmark.transforms.decoding.stage import decode_frames
from earmark.transforms.detecting import score_block
from earmark.transforms.elements import AudioObject, Span
from earmark.transforms.planning import SAMPLES, Kind, Planned, Planner, kinds_of
from earmark.transforms.settings import Decoding

_TRIED_S = 600.0
"""How much of a recording is tried; the first of a kind to its end, if need be."""

_START_UP_S = 2.0


@dataclass
class _Tried:
    """What is known of a kind of recordings once its sample was tried.

    Attributes:
      kind: the recordings.
      heard_s: the total length of the recordings in the sample that were tried to their end.
      heard_bytes: the size of these.
      tried_s: how much audio of the sample was decoded and scored.
      took_s: how long that took in one thread.
    """

    kind: Kind
    heard_s: float = 0.0
    heard_bytes: int = 0
    tried_s: float = 0.0
    took_s: float = 0.0

    @property
    def audio_s(self) -> float | None:
        """The estimated length of all of them; None if none of the sample had a known length."""
        if not self.heard_bytes:
            return None
        return self.heard_s * self.kind.size_bytes / self.heard_bytes

    @property
    def work_s(self) -> float | None:
        """The estimated time to process all of them in one thread; None if unknown."""
        if self.audio_s is None or not self.tried_s:
            return None
        return self.audio_s * self.took_s / self.tried_s


def show_forecast(run: Run, console: Console) -> None:
    """Print how much there is to process, how much is done, and how long the rest will take."""
    again = retry(run.options)
    with closing(Planner(run.settings)) as planner:
        planner.look()
        note_roots(run, planner.plan)
        question = asked_about_moves(run, planner.plan)
        planned = planner.plan.count(again)
        kinds = kinds_of(planner.plan.due(again))
    if planned.objects:
        console.print(f"Trying up to {SAMPLES} recordings of each kind ...", style="dim")
    tried = [_try_out(kind, run.settings.decoding, run.classifier) for kind in kinds]
    _show(tried, planned, run.engine.threads, console)
    if question:
        console.print(plain(f"A run would ask first: {question}", 4000))


def _try_out(kind: Kind, decoding: Decoding, classifier: AudioClassifier) -> _Tried:
    tried = _Tried(kind)
    for each in sorted((each.object for each in kind.sample), key=_size_bytes):
        limit_s = _TRIED_S if tried.heard_bytes else float("inf")
        began, tried_s = time.perf_counter(), 0.0
        for tried_s, is_end in _process(each, decoding, classifier):
            if is_end:
                tried.heard_s += tried_s
                tried.heard_bytes += each.size_bytes or 0
            elif tried_s > limit_s:
                break
        tried.tried_s += tried_s
        tried.took_s += time.perf_counter() - began
    return tried


def _size_bytes(each: AudioObject) -> int:
    return each.size_bytes or 0


def _process(
    each: AudioObject, decoding: Decoding, classifier: AudioClassifier
) -> Iterator[tuple[float, bool]]:
    """Process a recording; yields how much of it has been processed, and whether that is all."""
    heard_s = 0.0
    for block in decode_frames([Span(each)], decoding):
        score_block(block, classifier)
        heard_s += len(block.frames) // block.channels * decoding.grid.hop_s
        ending = block.ending
        if ending is not None and ending.header is not None and ending.samples:
            yield ending.samples / ending.header.sample_rate_hz, True
        else:
            yield heard_s, False


def _show(kinds: Sequence[_Tried], planned: Planned, workers: int, console: Console) -> None:
    table = Table(box=None, header_style="dim", pad_edge=False)
    table.add_column("to process")
    for name in ("objects", "size", "audio (estimate)"):
        table.add_column(name, justify="right")
    for kind in kinds:
        length = "?" if kind.audio_s is None else in_words(kind.audio_s)
        row = (f"{kind.kind.objects:,}", decimal(kind.kind.size_bytes), length)
        table.add_row(plain(kind.kind.name, 40) or "no extension", *row)
    if kinds:
        console.print(table)
    audio_s = sum(kind.audio_s or 0 for kind in kinds)
    work_s = sum(kind.work_s or 0 for kind in kinds) / workers
    length = f", about {in_words(audio_s)} of audio" if audio_s else ""
    lines = [f"{counted(planned.objects, 'object')} to process{length}."]
    if planned.changed:
        lines.append(f"{planned.changed:,} of these changed since an earlier run.")
    if planned.retried:
        lines.append(f"{planned.retried:,} of these failed in an earlier run.")
    if planned.done:
        lines.append(f"{counted(planned.done, 'object')} already processed.")
    if work_s:
        speed = f"{audio_s / work_s:,.0f} times real time with {counted(workers, 'thread')}"
        lines.append(f"This will take about {in_words(work_s + _START_UP_S)} ({speed}).")
    console.print("\n".join(lines))
