"""From a local audio file to blocks of samples, and when it was recorded. Beam plays no part."""

from earmark.transforms.audio.formats import AUDIO_EXTENSIONS
from earmark.transforms.audio.reading import AudioReader, open_audio
from earmark.transforms.audio.recording_time import RecordedAt, recorded_at
from earmark.transforms.audio.time_names import check_time_pattern

__all__ = [
    "AUDIO_EXTENSIONS",
    "AudioReader",
    "RecordedAt",
    "check_time_pattern",
    "open_audio",
    "recorded_at",
]
