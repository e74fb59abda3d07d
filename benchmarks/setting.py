"""What is given to each measurement."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Setting:
    """How much to measure, of what, and where to put things.

    Attributes:
      model: a .tflite file, the same for all.
      sample_rate_hz: of the audio that it takes.
      frame_samples: how many samples it takes at once.
      cache: a folder that is kept, for recordings and the peers' environments.
      work: a folder on the same disk that is thrown away.
      files: in an archive.
      minutes: that each lasts.
      repeats: rounds.
    """

    model: Path
    sample_rate_hz: int
    frame_samples: int
    cache: Path
    work: Path
    files: int
    minutes: float
    repeats: int

    @property
    def frame_s(self) -> float:
        """How long a frame is."""
        return self.frame_samples / self.sample_rate_hz
