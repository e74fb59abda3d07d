"""Runs: preparing and executing them, round by round or as a watch."""

from earmark.pipelines.runs.advice import advised
from earmark.pipelines.runs.executing import Outcome, carry_out, execute, holding_output
from earmark.pipelines.runs.graph import Process
from earmark.pipelines.runs.grids import framing
from earmark.pipelines.runs.moves import asked_about_moves, note_roots
from earmark.pipelines.runs.preparing import Run, configure, configured, prepare
from earmark.pipelines.runs.rounds import retry

__all__ = [
    "Outcome",
    "Process",
    "Run",
    "advised",
    "asked_about_moves",
    "carry_out",
    "configure",
    "configured",
    "execute",
    "framing",
    "holding_output",
    "note_roots",
    "prepare",
    "retry",
]
