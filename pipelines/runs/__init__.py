"""Runs: preparing and executing them, round by round or as a watch."""

from earmark.pipelines.runs.graph import scope
from earmark.pipelines.runs.rounds import retry
from earmark.pipelines.runs.run import Outcome, Run, execute, holding_output, prepare

__all__ = [
    "Outcome",
    "Run",
    "execute",
    "holding_output",
    "prepare",
    "retry",
    "scope",
]
