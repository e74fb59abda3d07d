"""What is given to each measurement."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from earmark.models.classifier import AudioClassifier
from earmark.models.sources import resolve


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


@contextmanager
def prepared(model: str, kept: Path, files: int, minutes: float, repeats: int) -> Iterator[Setting]:
    """A setting, with a folder to work in as long as the context lasts.

    Args:
      model: as `earmark classify` takes it.
      kept: a folder for what is made once.
      files: in an archive.
      minutes: that each lasts.
      repeats: rounds.
    """
    cache = kept.absolute()
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache, prefix="work-") as work:
        source = resolve(model)
        copy = Path(work, source.name).with_suffix(".tflite")
        copy.write_bytes(source.read())
        classifier = AudioClassifier.from_path(copy)
        yield Setting(
            model=copy,
            sample_rate_hz=classifier.sample_rate_hz,
            frame_samples=classifier.frame_samples,
            cache=cache,
            work=Path(work),
            files=files,
            minutes=minutes,
            repeats=repeats,
        )
