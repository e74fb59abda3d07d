"""What flows between the stages, in the order of the flow."""

from __future__ import annotations

import math
import os
import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Address:
    """A signed URL: a secret, which goes to those who read by it and is never shown or written."""

    url: str = field(repr=False)


class AudioObject(NamedTuple):
    """An object as a listing found it: a file, an object in a store, or a member of an archive.

    Attributes:
      uri: where it is: an absolute path, or a URI of a store.
      size_bytes: its size, None where the listing could not tell.
      version: changes whenever the content does: its size, the time of its last change,
        and in stores its etag; see `is_same_version`.
      address: of an object that is read by a signed URL, or of its archive; None for others.
    """

    uri: str
    size_bytes: int | None
    version: str
    address: Address | None = None

    @property
    def extension(self) -> str:
        """The end of its name from the last dot on, in small letters, such as .wav; or empty."""
        return os.path.splitext(self.uri)[1].lower()

    @property
    def source(self) -> str:
        """The URI that it, or its archive, is read by: a secret where it has an address."""
        return self.uri if self.address is None else self.address.url

    def without_address(self) -> AudioObject:
        """The object for those who don't read it."""
        return self._replace(address=None)


class Found(NamedTuple):
    """A file that was listed.

    Attributes:
      object: the file.
      skipped_as: the kind of files that it is skipped with, such as '.txt'; None if it is to be
        processed.
    """

    object: AudioObject
    skipped_as: str | None = None


class PlannedObject(NamedTuple):
    """An object that is to be processed.

    Attributes:
      object: where it is.
      old_file: the name of the file in each table's folder with its rows, where it has some.
    """

    object: AudioObject
    old_file: str | None = None

    def without_address(self) -> PlannedObject:
        """The same for those who don't read the object."""
        return self._replace(object=self.object.without_address())

    @classmethod
    def of(cls, listed: Iterable[Any], old_file: str | None) -> PlannedObject:
        """Make one from parsed JSON: the members of an AudioObject, and an old file."""
        return cls(AudioObject(*listed), old_file)


class Superseded(NamedTuple):
    """An object that is processed again: its old rows are to be removed.

    Attributes:
      uri: of the object.
      file: the name of the file in each table's folder that holds those rows.
    """

    uri: str
    file: str


ByteRange: TypeAlias = tuple[int, int]
"""A part of a file: its first byte, and the first behind it."""


class PlainSound(NamedTuple):
    """Where a file has its samples, if they are uncompressed and lie one after another.

    Attributes:
      head_bytes: how much of the file's beginning is read to open it.
      start: the first byte of the samples.
      stop: the first byte behind them.
      second_bytes: how many bytes a second has.
    """

    head_bytes: int
    start: int
    stop: int
    second_bytes: int


@dataclass(frozen=True)
class Span:
    """A part of a recording, which one worker decodes; a short recording is a single span.

    It begins where a recording may be cut: see resampling. A frame belongs to the span
    in which it begins.

    Attributes:
      clip: the recording.
      index: of the span in the clip.
      count: how many spans the clip has.
      start_s: where it begins.
      stop_s: where it ends; None for the clip's end.
      sound: where the samples are, if only those of the span are to be fetched; None otherwise.
    """

    clip: AudioObject
    index: int = 0
    count: int = 1
    start_s: int = 0
    stop_s: int | None = None
    sound: PlainSound | None = None


@dataclass(frozen=True)
class Listed:
    """What the listing found.

    Attributes:
      objects: how many objects are to be processed.
      skipped: how many files were skipped since their names rule out audio, by extension.
    """

    objects: int
    skipped: Mapping[str, int]


@dataclass(frozen=True)
class AudioHeader:
    """What a recording's header says.

    Attributes:
      format: the container: wav, rf64, w64, flac, ogg, mp3, aiff, caf, au, mp4, matroska, asf, ...
      codec: as FFmpeg calls it, without the byte order: pcm_s16, pcm_f32, pcm_alaw, flac, vorbis,
        opus, mp3, aac, ...
      declared_samples: samples per channel that the header declares; None where it does not.
      tracks: how many tracks of sound there are, of which one is heard.
    """

    format: str
    codec: str
    sample_rate_hz: int
    channels: int
    declared_samples: int | None
    tracks: int = 1


class Place(NamedTuple):
    """Where a recording was made, in degrees (WGS 84); north and east are positive."""

    latitude: float
    longitude: float

    @classmethod
    def of(cls, text: str) -> Place:
        """Read a latitude and a longitude, with a comma or a space between them.

        Raises:
          ValueError: these are not two numbers, or there is no such place.
        """
        latitude, longitude = map(float, text.replace(",", " ").split())
        if not (abs(latitude) <= 90 and abs(longitude) <= 180):
            raise ValueError("latitudes are -90 to 90, longitudes -180 to 180")
        return cls(latitude, longitude)


class Trouble(NamedTuple):
    """Why a recording could not be processed, or not to its end.

    Attributes:
      stage: where it happened: read or decode.
      reason: a code of the documented list.
      message: one line for the archivist.
    """

    stage: str
    reason: str
    message: str


ENERGY_BITS = 64
"""Energies are integers in units of 2**-64: integers add up the same in any order."""


@dataclass(frozen=True)
class SignalLevel:
    """Sums over sample values of all channels; two of them add up to the level of both parts.

    Attributes:
      values: how many sample values were measured; NaN and infinities are not.
      energy: the sum of their squares, in units of 2**-64 of full scale squared.
      peak: the largest magnitude; 1.0 is full scale.
      clipped: how many values lie at full scale or beyond.
      silent: how many values lie in silent seconds.
      apart: of a sample of the time, the energy per channel where there are several.
      mixed: of the same sample, the energy of their mean.
    """

    values: int = 0
    energy: int = 0
    peak: float = 0.0
    clipped: int = 0
    silent: int = 0
    apart: int = 0
    mixed: int = 0

    def __add__(self, other: SignalLevel) -> SignalLevel:
        return SignalLevel(
            self.values + other.values,
            self.energy + other.energy,
            max(self.peak, other.peak),
            self.clipped + other.clipped,
            self.silent + other.silent,
            self.apart + other.apart,
            self.mixed + other.mixed,
        )

    @property
    def rms_dbfs(self) -> float | None:
        """Root mean square in dB, where a full-scale square wave is 0; -inf in digital silence.

        None where there are no values.
        """
        if not self.values:
            return None
        return _decibels(math.sqrt(self.energy / (self.values << ENERGY_BITS)))

    @property
    def peak_dbfs(self) -> float | None:
        """The largest magnitude in dB of full scale; -inf in digital silence."""
        return _decibels(self.peak) if self.values else None

    @property
    def clipped_fraction(self) -> float | None:
        """The share of values at full scale or beyond."""
        return self.clipped / self.values if self.values else None

    @property
    def silent_fraction(self) -> float | None:
        """The share of time in seconds whose RMS lies below -60 dBFS."""
        return self.silent / self.values if self.values else None

    @property
    def mix_loss_db(self) -> float | None:
        """How much quieter the channels' mean is than they are; None for one channel, and silence.

        0 where they are alike, 3 for two with nothing in common, infinite where they cancel.
        """
        if not self.apart:
            return None
        return max(0.0, -_decibels(math.sqrt(self.mixed / self.apart)))


class Silence(NamedTuple):
    """What a decoder returns in place of samples where a recording's clock runs on without sound.

    Attributes:
      samples: per channel, at the recording's own rate.
      why: one of the documented codes: see `Gap`.
    """

    samples: int
    why: str


class Gap(NamedTuple):
    """A stretch of a clip that has no sound, though its clock runs on.

    Attributes:
      start: the sample at which it begins, from the clip's start, at the recording's own rate.
      stop: the sample behind it.
      why: a code, one of WHYS.
    """

    start: int
    stop: int
    why: str


LOST = ("damaged", "missing")
"""Why sound that was recorded cannot be heard."""

WHYS = (*LOST, "late_start", "paused", "trigger", "duty_cycle", "drift")
"""Why there is no sound: it was lost, or it is the recording itself that has none."""


def gaps_with(gaps: Iterable[Gap], gap: Gap) -> tuple[Gap, ...]:
    """Gaps and the one that follows them, which is joined to the last if they touch."""
    *before, last = [*gaps, gap]
    if before and before[-1].stop == last.start and before[-1].why == last.why:
        return (*before[:-1], last._replace(start=before[-1].start))
    return (*before, last)


@dataclass(frozen=True)
class Ending:
    """How decoding a span ended.

    Attributes:
      header: None where not even the header could be read.
      samples: how far the span was decoded, in samples per channel at the recording's own rate.
      frames: how many of the frames that begin in them are to be scored: not those in gaps.
      level: loudness and clipping of what was decoded.
      recorded_at: when the recording began, UTC; None where nothing says so, and in all spans but
        the first.
      recorded_at_source: what said so, or why it is unknown: see RecordedAt.
      place: where it was recorded, if it says so; None in all spans but the first.
      trouble: why decoding stopped early; None where everything that the header declares was
        decoded, but for the gaps.
      gaps: the stretches without sound in the span.
    """

    header: AudioHeader | None
    samples: int
    frames: int
    level: SignalLevel
    recorded_at: datetime | None = None
    recorded_at_source: str | None = None
    place: Place | None = None
    trouble: Trouble | None = None
    gaps: tuple[Gap, ...] = ()

    @property
    def decoded(self) -> int:
        """How many samples per channel were decoded: all but those in gaps."""
        return self.samples - sum(gap.stop - gap.start for gap in self.gaps)


@dataclass(frozen=True)
class FrameBlock:
    """Consecutive frames of one span, ready for the model.

    Attributes:
      span: the part of a recording.
      first_frame: the index of the first of them in the clip.
      frames: float32 [channels * n, values] in [-1, 1] at the model's rate: all frames of the first
        channel, then those of the next. A sample that is no number in the recording (NaN, infinite)
        is NaN here.
      ending: in the last block of a span, which has no frames: how it ended. None in all others.
      channels: how many of the recording's give frames of their own.
    """

    span: Span
    first_frame: int
    frames: NDArray[np.float32]
    ending: Ending | None = None
    channels: int = 1


@dataclass(frozen=True)
class FrameScores:
    """The scores of the frames of one block.

    Attributes:
      span: the part of a recording.
      first_frame: the index of the first of them in the clip.
      scores: float32 [channels * n, classes], of all heads one after another; a row of NaN for a
        frame that could not be scored. Rows are as in the FrameBlock.
      invalid_samples: how many of the n frames contain samples that are not finite.
      ending: as in the FrameBlock; likewise channels.
      raw_scores: the scores before calibration; None where nothing is calibrated.
      embeddings: float32 [channels * n, embedding_size], NaN where the scores are; None where
        they are not wanted.
    """

    span: Span
    first_frame: int
    scores: NDArray[np.float32]
    invalid_samples: int = 0
    ending: Ending | None = None
    channels: int = 1
    raw_scores: NDArray[np.float32] | None = None
    embeddings: NDArray[np.float32] | None = None


class HeadLabels(NamedTuple):
    """The names of the classes of one model output.

    Attributes:
      name: of the output.
      labels: in the output's order.
      display_names: the labels in another language; None where there are none.
    """

    name: str
    labels: tuple[str, ...]
    display_names: tuple[str, ...] | None = None


def all_labels(heads: Iterable[HeadLabels]) -> tuple[str, ...]:
    """The labels of all heads, one after another, as scores are."""
    return tuple(label for head in heads for label in head.labels)


@dataclass(frozen=True)
class Detections:
    """The labels detected in the frames of a clip.

    Times follow from the frames; they are computed where rows are made, since this crosses the
    shuffle. For that it is pickled packed: in the order of a ScoredClip's, where steps are small,
    a detection takes one byte or two. A few are not worth the time that packing takes.

    Attributes:
      frame: int32 [n], the index of the frame in the clip.
      label_index: int32 [n], the label's place among those of all heads, one after another.
      score: float32 [n].
      channel: int32 [n], 0 where channels are not scored separately.
      raw_score: float32 [n], the score before calibration; None where nothing is calibrated.
    """

    frame: NDArray[np.int32]
    label_index: NDArray[np.int32]
    score: NDArray[np.float32]
    channel: NDArray[np.int32]
    raw_score: NDArray[np.float32] | None = None

    def take(self, order: NDArray[np.intp]) -> Detections:
        """The detections at the given indices, [m]."""
        raw_score = None if self.raw_score is None else self.raw_score[order]
        return Detections(
            self.frame[order],
            self.label_index[order],
            self.score[order],
            self.channel[order],
            raw_score,
        )

    def __reduce__(self) -> tuple[Callable[..., Detections], tuple[Any, ...]]:
        counted = (self.frame, self.label_index, self.channel)
        scores = [self.score] if self.raw_score is None else [self.score, self.raw_score]
        if len(self.frame) < _WORTH_PACKING:
            return _as_they_are, tuple(column.tobytes() for column in (*counted, *scores))
        steps = [np.diff(column, prepend=np.int32(0)) for column in counted]
        columns = [*steps, *scores]
        packed = zlib.compress(b"".join(column.tobytes() for column in columns))
        return _unpacked, (packed, len(columns))


_WORTH_PACKING = 100


def _as_they_are(*columns: bytes) -> Detections:
    frame, label_index, channel = (np.frombuffer(each, np.int32) for each in columns[:3])
    score, *raw_score = (np.frombuffer(each, np.float32) for each in columns[3:])
    return Detections(frame, label_index, score, channel, *raw_score)


def _unpacked(packed: bytes, columns: int) -> Detections:
    together = np.frombuffer(zlib.decompress(packed), np.int32)
    parts = np.split(together, columns)
    frame, label_index, channel = (np.cumsum(each, dtype=np.int32) for each in parts[:3])
    score, *raw_score = (each.view(np.float32) for each in parts[3:])
    return Detections(frame, label_index, score, channel, *raw_score)


@dataclass(frozen=True)
class Embeddings:
    """Embeddings of a clip's frames, by frame, then by channel.

    Attributes:
      frame: int32 [n], the index of the frame in the clip.
      channel: int32 [n], 0 where channels are not scored separately.
      values: float32 or float16 [n, embedding_size].
    """

    frame: NDArray[np.int32]
    channel: NDArray[np.int32]
    values: NDArray[np.floating]


class StoredEmbeddings(NamedTuple):
    """Embeddings in a file of their own, for as long as a round lasts.

    Attributes:
      path: of the file.
      first_frame: the least frame in it.
      rows: how many there are.
    """

    path: str
    first_frame: int
    rows: int


EmbeddingPart: TypeAlias = Embeddings | StoredEmbeddings


@dataclass(frozen=True)
class Events:
    """Consecutive detections of a label in a clip, merged; by label_index, then by time.

    Attributes:
      start_s: float64 [n], seconds from the clip's start.
      end_s: float64 [n], never past the clip's end.
      label_index: int32 [n], as in Detections, and so is channel.
      max_score: float32 [n].
      mean_score: float32 [n], over the merged detections.
      frames: int32 [n], how many detections were merged.
    """

    start_s: NDArray[np.float64]
    end_s: NDArray[np.float64]
    label_index: NDArray[np.int32]
    max_score: NDArray[np.float32]
    mean_score: NDArray[np.float32]
    frames: NDArray[np.int32]
    channel: NDArray[np.int32]


class LabelSummary(NamedTuple):
    """One label over a whole clip: of its detections the best and mean score, and their length.

    Its index is the column in the head, which tells labels of one name apart.
    """

    label: str
    head: str
    label_index: int
    max_score: float
    mean_score: float
    seconds: float


class GapInClip(NamedTuple):
    """A `Gap` in seconds from the clip's start; one behind its end is there for its reason."""

    start_s: float
    end_s: float
    why: str


@dataclass(frozen=True)
class ScoredClip:
    """A clip that was scored, whole or in part: its row in clips/, and what its other rows need.

    Attributes:
      clip: the recording.
      status: scored, or partial where a part of it could not be.
      reason: why it is partial; None otherwise.
      message: the reason in words.
      header: what the recording's header says.
      duration_s: its length, including gaps.
      heard_s: its length without them.
      gaps: the stretches without sound. The last may lie behind the end: of what the header
        declares, that which could not be decoded.
      frames: how many frames were scored.
      recorded_at: when the recording began, UTC; None where unknown.
      recorded_at_source: what said so, or why it is unknown: see RecordedAt.
      place: where it was made; None where unknown.
      level: loudness and clipping.
      labels: the labels detected, best first.
      detections: by label_index, then by channel, then by frame.
      embeddings: in parts, by frame; none where they are not wanted.
      implausible: of labels that were left out as implausible, how many detections, by label.
    """

    clip: AudioObject
    status: str
    reason: str | None
    message: str | None
    header: AudioHeader
    duration_s: float
    heard_s: float
    gaps: tuple[GapInClip, ...]
    frames: int
    recorded_at: datetime | None
    recorded_at_source: str | None
    place: Place | None
    level: SignalLevel
    labels: tuple[LabelSummary, ...]
    detections: Detections
    embeddings: tuple[EmbeddingPart, ...] = ()
    implausible: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class FailedClip:
    """An object that could not be processed: its row in failures/."""

    clip: AudioObject
    trouble: Trouble


ClipResult: TypeAlias = ScoredClip | FailedClip


def _decibels(magnitude: float) -> float:
    return 20 * math.log10(magnitude) if magnitude > 0 else -math.inf
