"""Runs: preparing and executing them, round by round or as a watch."""

from earmark.pipelines.runs.executing import Outcome, carry_out, execute, holding_output
from earmark.pipelines.runs.graph import Process
from earmark.pipelines.runs.grids import framing
from earmark.pipelines.runs.preparing import Run, configure, prepare
from earmark.pipelines.runs.rounds import retry

__all__ = [
    "Outcome",
    "Process",
    "Run",
    "carry_out",
    "configure",
    "execute",
    "framing",
    "holding_output",
    "prepare",
    "retry",
]
