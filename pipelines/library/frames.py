"""Recordings and waveforms as frames, and the labels of each frame."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Sequence
from numbers import Real
from typing import Any, Literal, NamedTuple, TypeAlias, Union

import numpy as np
from numpy.typing import NDArray

from earmark.models.classifier import AudioClassifier
from earmark.models.errors import ModelError
from earmark.models.scores import score_thresholds
from earmark.pipelines.errors import UsageError
from earmark.pipelines.library.options import FRAMES, LABEL
from earmark.pipelines.options import ClassifyOptions, Command, parse_keywords
from earmark.pipelines.runs import framing
from earmark.transforms.decoding.stage import decode_frames
from earmark.transforms.detecting import find_hits, score_block
from earmark.transforms.elements import (
    AudioHeader,
    AudioObject,
    Ending,
    FrameBlock,
    FrameScores,
    HeadLabels,
    SignalLevel,
    Span,
    Trouble,
)
from earmark.transforms.errors import NoSamplesError, ReadError, error_of
from earmark.transforms.frames import channels_heard, frames_of
from earmark.transforms.listing import anywhere
from earmark.transforms.settings import Decoding, FrameGrid, Settings
from earmark.transforms.storage import look_up, shown
from earmark.transforms.text import printable

Audio: TypeAlias = Union[str, "os.PathLike[str]", NDArray[Any]]
"""The path or URI of a recording, or a waveform: [n] or [n, channels], floats or signed integers.

Integers are scaled to -1..1 by their type.
"""

Channels: TypeAlias = Literal["mix", "each"]

_RATES_HZ = range(4000, 384_001)

_FEW_CHANNELS = 64
"""More channels than these, and than samples, are samples where channels should be."""


class Frame(NamedTuple):
    """The samples that a model scores at once.

    Attributes:
      start_s: seconds from the recording's start.
      channel: the channel they are from, counted from 0; 0 where channels are mixed.
      samples: float32 [frame_samples] in -1..1 at the model's rate; for a model that takes several
        channels [frame_samples * channels], interleaved. The last frame is padded with zeros.
        Samples that are NaN in the recording are NaN here.
    """

    start_s: float
    channel: int
    samples: NDArray[np.float32]


class ScoredLabel(NamedTuple):
    """A label, its score, and the model output (head) that gave it."""

    label: str
    score: float
    head: str


class LabelledFrame(NamedTuple):
    """The labels of a frame.

    Attributes:
      start_s: where the frame begins, in seconds from the recording's start.
      end_s: where it ends; never past the recording's end.
      channel: the channel it is from, counted from 0; 0 where channels are mixed.
      labels: those that reach their threshold, best first.
    """

    start_s: float
    end_s: float
    channel: int
    labels: tuple[ScoredLabel, ...]


class _Framed(NamedTuple):
    """The framing where no classifier is given: YAMNet's."""

    sample_rate_hz: int = 16_000
    frame_samples: int = 15_600
    hop_samples: int = 15_600
    window_samples: int = 15_600
    channels: int = 1


def frames(
    audio: Audio,
    classifier: AudioClassifier | None = None,
    *,
    sample_rate_hz: int | None = None,
    hop_s: float | None = None,
    channels: Channels = "mix",
) -> Iterator[Frame]:
    """The frames of a recording or a waveform: the samples that a run would score.

    A recording is decoded as in a run: in a separate process, one second at a time.

    Args:
      audio: the path or URI of a recording or of a member of an archive (`a.tar!/b.wav`), or a
        waveform.
      classifier: the model that the frames are for; None for YAMNet's: 15600 samples at 16 kHz.
      sample_rate_hz: of a waveform; not for a recording, which declares its own.
      hop_s: seconds from frame to frame; None for the model's own, usually a frame's length.
      channels: mix the channels of a recording, or give frames of each separately.

    Yields:
      Frames in order of their start, then of their channel, but for those that lie wholly in gaps.

    Raises:
      AudioError: after the last good frame: the recording cannot be decoded, or not to its end.
        The error's `reason` is the code that a run would write.
      UsageError: an argument is invalid.
    """
    checked = _checked(FRAMES, hop_s=hop_s, channels=channels)
    decoding = _decoding(_Framed() if classifier is None else classifier, checked)
    return _frames(_blocks(audio, sample_rate_hz, decoding), decoding.grid)


def label(
    audio: Audio,
    classifier: AudioClassifier,
    *,
    sample_rate_hz: int | None = None,
    top_k: int | None = 5,
    min_score: float | None = None,
    hop_s: float | None = None,
    channels: Channels = "mix",
) -> list[LabelledFrame]:
    """The labels of each frame of a recording or a waveform.

    Args:
      audio: the path or URI of a recording or of a member of an archive, or a waveform.
      classifier: the model, from `load_classifier`.
      sample_rate_hz: of a waveform; not for a recording, which declares its own.
      top_k: the most labels per frame and head; None for all.
      min_score: the lowest score of a label; None for the model's own threshold, else 0.1.
      hop_s: seconds from frame to frame; None for the model's own, usually a frame's length.
      channels: mix the channels of a recording, or score each separately.

    Returns:
      All frames, also those without a label, in order of their start, then of their channel; but
      none that lie wholly in gaps.
      A warning says how many have none since samples in them are NaN, infinite or too large.

    Raises:
      AudioError: the recording cannot be decoded, or not to its end.
      UsageError: an argument is invalid.
    """
    checked = _checked(LABEL, hop_s=hop_s, channels=channels, top_k=top_k, min_score=min_score)
    decoding = _decoding(classifier, checked)
    heads = tuple(HeadLabels(each.name, each.labels) for each in classifier.heads)
    try:
        least = score_thresholds(classifier.heads, checked.min_score)
    except ModelError as error:
        raise UsageError(str(error)) from error
    settings, grid = Settings(decoding, heads, least, checked.top_k), decoding.grid
    heard: list[tuple[int, int, tuple[ScoredLabel, ...]]] = []
    duration_s, not_scored = 0.0, 0
    for block in _blocks(audio, sample_rate_hz, decoding):
        scored = score_block(block, classifier)
        not_scored += int(np.isnan(scored.scores).any(axis=1).sum())
        heard += _labelled(block, scored, settings)
        if block.ending is not None and block.ending.header is not None:
            duration_s = block.ending.samples / block.ending.header.sample_rate_hz
    if not_scored:
        said = "samples or scores in them are NaN, infinite or too large"
        warnings.warn(f"{not_scored} frames have no labels: {said}", RuntimeWarning, stacklevel=2)
    starts_s = grid.start_s(np.array([frame for frame, _, _ in heard], np.int32)).tolist()
    ends_s = grid.end_s(np.array([frame for frame, _, _ in heard], np.int32), duration_s).tolist()
    return [
        LabelledFrame(start_s, end_s, channel, labels)
        for start_s, end_s, (_, channel, labels) in zip(starts_s, ends_s, heard, strict=True)
    ]


def _checked(call: Command, **options: object) -> ClassifyOptions:
    return parse_keywords(options, {}, call)[0]


def _decoding(model: AudioClassifier | _Framed, checked: ClassifyOptions) -> Decoding:
    if not isinstance(model, (AudioClassifier, _Framed)):
        raise UsageError(f"classifier {printable(model, 100)}: must be of earmark.load_classifier")
    return Decoding(*framing(model, checked.hop_s, checked.channels))


def _frames(blocks: Iterator[FrameBlock], grid: FrameGrid) -> Iterator[Frame]:
    for block in blocks:
        for row, frame, channel in _rows(block):
            yield Frame(frame * grid.hop_samples / grid.sample_rate_hz, channel, block.frames[row])


def _labelled(
    block: FrameBlock, scored: FrameScores, settings: Settings
) -> Iterator[tuple[int, int, tuple[ScoredLabel, ...]]]:
    """The frames of a block with their channels and labels, by frame, then by channel."""
    hits = find_hits(scored, settings)
    names = [(label, head.name) for head in settings.heads for label in head.labels]
    heard: dict[tuple[int, int], list[ScoredLabel]] = {}
    for frame, channel, index, score in zip(
        *(column.tolist() for column in (hits.frame, hits.channel, hits.label_index, hits.score)),
        strict=True,
    ):
        name, head = names[index]
        heard.setdefault((frame, channel), []).append(ScoredLabel(name, score, head))
    for _, frame, channel in _rows(block):
        labels = sorted(heard.get((frame, channel), ()), key=lambda each: -each.score)
        yield frame, channel, tuple(labels)


def _rows(block: FrameBlock) -> Iterator[tuple[int, int, int]]:
    """Each row of a block with its frame and channel, by frame, then by channel."""
    frames = len(block.frames) // block.channels
    for index in range(frames):
        for channel in range(block.channels):
            yield channel * frames + index, block.first_frame + index, channel


def _blocks(audio: Audio, sample_rate_hz: int | None, decoding: Decoding) -> Iterator[FrameBlock]:
    if isinstance(audio, (str, bytes, os.PathLike)):
        if sample_rate_hz is not None:
            raise UsageError("sample_rate_hz: is for a waveform; a recording says its own")
        return _decoded(os.fsdecode(audio), decoding)
    if not isinstance(sample_rate_hz, Real) or sample_rate_hz not in _RATES_HZ:
        lowest, highest = _RATES_HZ[0], _RATES_HZ[-1]
        given = printable(sample_rate_hz, 100)
        raise UsageError(f"sample_rate_hz {given}: a waveform's, {lowest} to {highest}")
    return _cut(_as_floats(audio), int(sample_rate_hz), decoding)


def _decoded(uri: str, decoding: Decoding) -> Iterator[FrameBlock]:
    try:
        span = Span(look_up(anywhere(uri)))
    except UnicodeEncodeError as error:
        raise ReadError(f"{shown(uri)}: no name of a file: {error}") from error
    for block in decode_frames([span], decoding):
        yield block
        if block.ending is None:
            continue
        if block.ending.trouble:
            raise error_of(_naming(uri, block.ending.trouble))
        if not block.ending.samples:
            raise NoSamplesError(f"{shown(uri)}: it contains no samples")


def _naming(uri: str, trouble: Trouble) -> Trouble:
    """A trouble whose message says with which recording, as a row does in another column."""
    if shown(uri) in trouble.message:
        return trouble
    return trouble._replace(message=f"{shown(uri)}: {trouble.message}")


def _cut(samples: NDArray[np.float32], rate_hz: int, decoding: Decoding) -> Iterator[FrameBlock]:
    """A waveform, float32 [n, channels], as decoding would give it."""
    grid, use = decoding.grid, decoding.use
    length, channels = samples.shape
    span = Span(AudioObject("", None, ""))
    seconds = (samples[start : start + rate_hz] for start in range(0, length, rate_hz))
    heard, count = channels_heard(use, channels), 0
    if length:
        for first, cut in frames_of(seconds, channels, rate_hz, grid, use):
            yield FrameBlock(span, first, cut, None, heard)
            count = first + len(cut) // heard
    none = np.empty((0, grid.frame_samples * use.in_frame), np.float32)
    header = AudioHeader("", "", rate_hz, channels, length)
    yield FrameBlock(span, count, none, Ending(header, length, count, SignalLevel()))


def _as_floats(waveform: NDArray[Any] | Sequence[float]) -> NDArray[np.float32]:
    """A waveform as float32 [n, channels]."""
    try:
        samples = np.asarray(waveform)
    except (TypeError, ValueError, RuntimeError) as error:  # of a tensor, or rows of many lengths
        said = printable(error, 200)
        raise UsageError(f"a waveform is an array of numbers: {said}") from error
    if samples.ndim not in (1, 2) or samples.shape[1:] == (0,):
        raise UsageError(f"a waveform is [n] or [n, channels], not {list(samples.shape)}")
    if samples.ndim == 1:
        samples = samples[:, None]
    length, channels = samples.shape
    if channels > max(length, _FEW_CHANNELS):
        raise UsageError(f"a waveform is [n, channels], not [{length}, {channels}]: transpose it")
    if samples.dtype.kind == "i":
        samples = samples / -float(np.iinfo(samples.dtype).min)
    if samples.dtype.kind != "f":
        raise UsageError(f"a waveform is of floats or signed integers, not {samples.dtype}")
    with np.errstate(over="ignore"):  # beyond float32 is infinite
        return samples.astype(np.float32)
