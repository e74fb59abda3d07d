"""From a local audio file to blocks of samples, and when it was recorded. Beam plays no part."""

from earmark.transforms.audio.reading import AudioReader, open_audio
from earmark.transforms.audio.recording_time import RecordedAt, check_time_pattern, recorded_at

__all__ = ["AudioReader", "RecordedAt", "check_time_pattern", "open_audio", "recorded_at"]
