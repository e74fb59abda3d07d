"""Threads that libraries start by themselves."""

from __future__ import annotations

from typing import Final

ONE_BLAS_THREAD: Final = {f"{library}_NUM_THREADS": "1" for library in ("OPENBLAS", "OMP", "MKL")}
"""Environment that keeps numpy's BLAS from starting a thread per core in each worker.

It is read when numpy is loaded, so it must be set before.
"""
