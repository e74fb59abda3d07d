"""Where pipelines run: in this process, or on a remote engine. No other room asks which."""

from earmark.pipelines.engines.base import Dealt, Engine, Round, RoundSize, StreamEngine
from earmark.pipelines.engines.choosing import engine_of
from earmark.pipelines.engines.flink import known_flags

__all__ = ["Dealt", "Engine", "Round", "RoundSize", "StreamEngine", "engine_of", "known_flags"]
