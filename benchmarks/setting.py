"""What is given to each measurement."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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
      short: files of a second that are compared with the bare loop.
      hours: that the longest recording lasts.
    """

    model: Path
    sample_rate_hz: int
    frame_samples: int
    cache: Path
    work: Path
    files: int
    minutes: float
    repeats: int
    short: int = 20_000
    hours: float = 24.0

    @property
    def frame_s(self) -> float:
        """How long a frame is."""
        return self.frame_samples / self.sample_rate_hz


@contextmanager
def prepared(model: str, kept: Path, **amounts: Any) -> Iterator[Setting]:
    """A setting, with a folder to work in as long as the context lasts.

    Args:
      model: as `earmark classify` takes it.
      kept: a folder for what is made once.
      amounts: the setting's files, minutes, repeats and so on.
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
            **amounts,
        )
