"""Beam in IPython and notebooks."""

from __future__ import annotations

import apache_beam.pipeline
from apache_beam.utils.interactive_utils import is_in_ipython


def keep_labels() -> None:
    """Have Beam leave the labels of steps alone in IPython, where it fails to change them.

    It puts a cell's number in front of them, and imports Interactive Beam for that. Where there is
    no pandas, or one that is too new for it, that import fails, and so does every step of every
    pipeline.
    """
    if not is_in_ipython():
        return
    try:
        from apache_beam.runners.interactive import interactive_environment  # noqa: F401
    except (ImportError, AttributeError):
        apache_beam.pipeline.alter_label_if_ipython = lambda transform, pvalueish: None
