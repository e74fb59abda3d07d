"""From spans of recordings to blocks of frames, in processes that a bad recording may bring down.

The processes import this package, so nothing of Beam is imported here: what needs it (stage,
splitting, local_copies) is imported by name.
"""

from earmark.transforms.decoding.messages import Clock

__all__ = ["Clock"]
