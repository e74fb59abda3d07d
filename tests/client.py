"""What somebody else's code may look like: checked by mypy and pyright, run by nobody."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import earmark


def models(frames: NDArray[np.float32]) -> tuple[str, ...]:
    classifier: earmark.AudioClassifier = earmark.load_classifier("yamnet", embeddings=True)
    predicted: earmark.Prediction = classifier.predict(frames)
    scores: NDArray[np.float32] = predicted.scores
    print(scores.shape)
    return classifier.labels


def recordings(path: Path) -> None:
    for frame in earmark.frames(path, hop_s=0.5, channels="each"):
        first: earmark.Frame = frame
        start_s: float = first.start_s
        samples: NDArray[np.float32] = frame.samples
        print(start_s, samples)
    heard: list[earmark.LabelledFrame] = earmark.label(path, earmark.load_classifier(), top_k=3)
    best: earmark.ScoredLabel = heard[0].labels[0]
    print(best.label)
    at: earmark.RecordedAt | None = earmark.recorded_at(path)
    print(at and at.time and at.time.isoformat())
    with earmark.open_audio(path) as reader:
        opened: earmark.AudioReader = reader
        header: earmark.AudioHeader = opened.header
        gaps: list[earmark.Gap] = opened.gaps
        print(header.sample_rate_hz, gaps)


def pipelines(clip: earmark.ClassifiedClip) -> list[str]:
    _ = earmark.Classify(model="yamnet", min_score=0.3, allow=["Frog"], time_zone="Europe/Berlin")
    labels: tuple[earmark.LabelSummary, ...] = clip.labels
    gaps: tuple[earmark.GapInClip, ...] = clip.gaps
    detections: tuple[earmark.Detection, ...] = clip.detections
    events: tuple[earmark.Event, ...] = clip.events
    level: earmark.SignalLevel | None = clip.level
    embeddings: earmark.ClipEmbeddings | None = clip.embeddings
    print(labels, gaps, detections, level, embeddings)
    return [event.label for event in events]


def runs(archive: Path) -> int:
    try:
        done: earmark.RunSummary = earmark.classify(
            input=[archive, "gs://bucket/**"], output="labels", beam={"direct_num_workers": 2}
        )
        earmark.embed(input=archive, output=Path("vectors"), progress=False)
    except (earmark.UsageError, earmark.RunError, earmark.ModelError, earmark.AudioError) as error:
        print(error, earmark.__version__)
        return 0
    tables: earmark.Tables = earmark.read(done.output)
    rows: earmark.Rows = tables["events"]
    return rows.count() + done.failed
