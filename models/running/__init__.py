"""Running a model: interpreters, what it takes and gives, and the fastest way to score frames."""

from earmark.models.running.interface import Interface, read_interface
from earmark.models.running.interpreters import Kernels, Output, described_ports
from earmark.models.running.scorers import fastest_scorer

__all__ = ["Interface", "Kernels", "Output", "described_ports", "fastest_scorer", "read_interface"]
