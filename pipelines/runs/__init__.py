"""Runs: preparing and executing them, round by round or as a watch."""

from earmark.pipelines.runs.executing import Outcome, execute, holding_output
from earmark.pipelines.runs.graph import scope
from earmark.pipelines.runs.preparing import Run, prepare
from earmark.pipelines.runs.rounds import retry

__all__ = ["Outcome", "Run", "execute", "holding_output", "prepare", "retry", "scope"]
