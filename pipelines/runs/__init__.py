"""Runs: preparing and executing them, round by round or as a watch."""

from earmark.pipelines.runs.graph import Hear
from earmark.pipelines.runs.grids import framing
from earmark.pipelines.runs.rounds import list_inputs, retry
from earmark.pipelines.runs.run import (
    Outcome,
    Run,
    execute,
    hearing_of,
    holding_output,
    prepare,
)

__all__ = [
    "Hear",
    "Outcome",
    "Run",
    "execute",
    "framing",
    "hearing_of",
    "holding_output",
    "list_inputs",
    "prepare",
    "retry",
]
