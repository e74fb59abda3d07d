"""Listens to large archives of audio and writes down, in Parquet, what is heard where.

The names in `__all__` are the library, which docs/python.md explains. Each is imported when it is
first used, since its dependencies take a second or two to import; `import earmark` is immediate.
"""

from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from earmark.models.classifier import AudioClassifier, Prediction
    from earmark.models.errors import ModelError
    from earmark.pipelines.errors import RunError, UsageError
    from earmark.pipelines.library.frames import Frame, LabelledFrame, ScoredLabel, frames, label
    from earmark.pipelines.library.graph import (
        ClassifiedClip,
        Classify,
        ClipEmbeddings,
        Detection,
        Event,
        load_classifier,
    )
    from earmark.pipelines.library.runs import RunSummary, classify, embed
    from earmark.transforms.audio import AudioReader, RecordedAt, open_audio, recorded_at
    from earmark.transforms.elements import AudioHeader, Gap, GapInClip, LabelSummary, SignalLevel
    from earmark.transforms.errors import AudioError
    from earmark.transforms.output import Rows, Tables, read

__version__ = "0.1.0"

__all__ = [
    "AudioClassifier",
    "AudioError",
    "AudioHeader",
    "AudioReader",
    "ClassifiedClip",
    "Classify",
    "ClipEmbeddings",
    "Detection",
    "Event",
    "Frame",
    "Gap",
    "GapInClip",
    "LabelSummary",
    "LabelledFrame",
    "ModelError",
    "Prediction",
    "RecordedAt",
    "Rows",
    "RunError",
    "RunSummary",
    "ScoredLabel",
    "SignalLevel",
    "Tables",
    "UsageError",
    "__version__",
    "classify",
    "embed",
    "frames",
    "label",
    "load_classifier",
    "open_audio",
    "read",
    "recorded_at",
]

_HOMES = {
    "models.classifier": "AudioClassifier Prediction",
    "models.errors": "ModelError",
    "pipelines.errors": "RunError UsageError",
    "pipelines.library.frames": "Frame LabelledFrame ScoredLabel frames label",
    "pipelines.library.graph": (
        "Classify ClassifiedClip ClipEmbeddings Detection Event load_classifier"
    ),
    "pipelines.library.runs": "RunSummary classify embed",
    "transforms.audio": "AudioReader RecordedAt open_audio recorded_at",
    "transforms.elements": "AudioHeader Gap GapInClip LabelSummary SignalLevel",
    "transforms.errors": "AudioError",
    "transforms.output": "Rows Tables read",
}
_HOME = {name: home for home, names in _HOMES.items() for name in names.split()}

if not TYPE_CHECKING:  # otherwise type checkers would accept every name

    def __getattr__(name):
        if name not in _HOME:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        if find_spec("fcntl") is None:  # Windows
            raise ImportError("earmark runs on Linux and macOS")
        value = getattr(import_module(f"earmark.{_HOME[name]}"), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
