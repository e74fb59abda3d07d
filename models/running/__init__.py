"""Running a model: interpreters, what it takes and gives, and the fastest way to score frames."""

from earmark.models.running.interface import Interface, read_interface
from earmark.models.running.interpreters import Kernels, Output
from earmark.models.running.scorers import fastest_scorer

__all__ = ["Interface", "Kernels", "Output", "fastest_scorer", "read_interface"]
