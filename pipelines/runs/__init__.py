"""Runs: preparing and executing them, round by round or as a watch."""

from earmark.pipelines.runs.rounds import list_inputs, retry
from earmark.pipelines.runs.run import Outcome, Run, execute, holding_output, prepare

__all__ = [
    "Outcome",
    "Run",
    "execute",
    "holding_output",
    "list_inputs",
    "prepare",
    "retry",
]
