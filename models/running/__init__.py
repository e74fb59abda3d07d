"""Running a model: interpreters, what it takes and gives, and the fastest way to score frames."""

from earmark.models.running.interface import Interface, read_interface
from earmark.models.running.interpreters import (
    InterpreterPool,
    Kernels,
    Output,
    failing_as,
    port_details,
)
from earmark.models.running.scorers import fastest_scorer

__all__ = [
    "Interface",
    "InterpreterPool",
    "Kernels",
    "Output",
    "failing_as",
    "fastest_scorer",
    "port_details",
    "read_interface",
]
