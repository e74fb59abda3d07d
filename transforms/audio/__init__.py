"""From a local audio file to blocks of samples, and when it was recorded. Beam plays no part.

What decodes is imported when it is first used: only decoding processes need its libraries.
"""

from typing import TYPE_CHECKING

from earmark.transforms.audio.formats import AUDIO_EXTENSIONS
from earmark.transforms.audio.recording_time import (
    Clock,
    Origin,
    RecordedAt,
    UntoldError,
    origin_of,
    recorded_anew,
    recorded_at,
)
from earmark.transforms.audio.time_names import check_time_pattern

if TYPE_CHECKING:
    from earmark.transforms.audio.reading import AudioReader, load_decoders, open_audio

__all__ = [
    "AUDIO_EXTENSIONS",
    "AudioReader",
    "Clock",
    "Origin",
    "RecordedAt",
    "UntoldError",
    "check_time_pattern",
    "load_decoders",
    "open_audio",
    "origin_of",
    "recorded_anew",
    "recorded_at",
]

if not TYPE_CHECKING:  # else checkers would take every name for one that there is

    def __getattr__(name):
        if name not in ("AudioReader", "load_decoders", "open_audio"):
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from earmark.transforms.audio import reading

        return getattr(reading, name)
