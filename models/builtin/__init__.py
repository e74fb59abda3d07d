"""The model that comes with earmark, the sounds that it knows, and how it was trained."""

from earmark.models.builtin.synthesis import synthesise

__all__ = ["synthesise"]
