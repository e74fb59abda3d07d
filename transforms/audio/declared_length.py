"""How much sound the header of a file declares, held against what was decoded.

Decoders shorten a recording in silence where its file was cut.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from earmark.transforms.audio.file_parts import FilePart
from earmark.transforms.errors import AudioError, DamagedError, NoSamplesError, TruncatedError


class DeclaredLength(NamedTuple):
    """How much sound a header declares, as far as it says, and what else decoders must know of it.

    Attributes:
      sound_start: where in the file the sound begins, where it is in one piece; None where unsaid.
      sound_bytes: the size of the encoded sound; None where unsaid.
      samples: per channel; None where unsaid.
      seconds: the same as a time; None where unsaid.
      missing_bytes: how much of what was declared lies beyond the end of the file.
      unheard_bytes: how much sound lies behind what was declared, where no decoder gets at it.
      ended: False where the mark that ends every whole file of this format is missing, or damage
        lies where it would be looked for.
      header_bytes: how much of the content is a header, in formats whose frames have no container.
      locked: the sound is encrypted.
      is_mpeg: MPEG audio lies in a container that usually holds plain sound.
      lead_in: samples that the container counts and a decoder drops.
      tolerance: samples by which a whole file may fall short.
      mended: the file as decoders should have it, where its header is wrong, or what is no sound
        lies in the midst of it; to be asked for its length anew.
      pauses: where the container declares that there is no sound between parts that follow each
        other in it, and for how long, in seconds.
      has_trigger: AudioMoth has recorded only what was loud enough.
      harp: where in the file HARP's table of raw files lies, and its size; None without one.
      followed_by: another recording, written behind this one in the same file.
    """

    sound_start: int | None = None
    sound_bytes: int | None = None
    samples: int | None = None
    seconds: float | None = None
    missing_bytes: int = 0
    unheard_bytes: int = 0
    ended: bool = True
    header_bytes: int = 0
    locked: bool = False
    is_mpeg: bool = False
    lead_in: int = 0
    tolerance: int = 0
    mended: FilePart | None = None
    followed_by: FilePart | None = None
    pauses: tuple[tuple[float, float], ...] = ()
    has_trigger: bool = False
    harp: tuple[int, int] | None = None

    @property
    def is_whole(self) -> bool:
        """Whether, by the container's own bookkeeping, nothing of the file is missing."""
        return self.ended and not self.missing_bytes

    def pcm_samples(self, codec: str, channels: int) -> int | None:
        """How many samples the encoded sound has, where it is uncompressed and its size known."""
        sample_bytes = pcm_sample_bytes(codec)
        if self.sound_bytes is None or not sample_bytes:
            return None
        return self.sound_bytes // (sample_bytes * channels)

    def check_end(self, decoded: int, reached: int, sample_rate_hz: int) -> None:
        """Hold what was decoded against it.

        Args:
          decoded: samples per channel that were.
          reached: the sample position, on the container's clock, where the last of them ended.
          sample_rate_hz: of both.

        Raises:
          TruncatedError: the file ends before its time.
          DamagedError: there is more sound in the file than the header says.
        """
        could = f"{decoded / sample_rate_hz:.3f} s could be decoded"
        if self.samples is not None:
            short_by = self.samples - reached
            if short_by > (self.tolerance if self.is_whole else 0):
                declared_s = self.samples / sample_rate_hz
                raise TruncatedError(f"the header declares {declared_s:.3f} s, {could}")
        if not self.ended or (self.samples is None and self.missing_bytes):
            raise TruncatedError(f"{self._shortfall}, {could}")
        if self.unheard_bytes:
            behind = f"{self.unheard_bytes} bytes of sound lie behind what its header declares"
            raise DamagedError(f"{behind}, {could}")

    def nothing_decoded(self) -> AudioError:
        """Tell a recording of no length from one whose header declares sound that isn't there."""
        if not self.is_whole:
            return DamagedError(f"{self._shortfall}, no sound could be decoded")
        if self.samples or self.seconds or self.sound_bytes:
            return DamagedError("the header declares audio, but none could be decoded")
        return NoSamplesError("it contains no samples")

    @property
    def _shortfall(self) -> str:
        if self.missing_bytes:
            return f"the file is {self.missing_bytes} bytes shorter than its header says"
        return "the end of the stream is missing"


def pcm_sample_bytes(codec: str) -> int | None:
    """Returns the size of a sample of uncompressed sound, None for other codecs."""
    if codec in ("pcm_alaw", "pcm_mulaw"):
        return 1
    match = re.fullmatch(r"pcm_[suf](\d+)", codec)
    return int(match[1]) // 8 if match else None
