"""From spans of recordings to blocks of frames, in processes that a bad recording may crash.

The processes import this package, so it must not import Beam: what needs it (stage, splitting,
local_copies) is imported by name.
"""

from earmark.transforms.decoding.messages import Clock

__all__ = ["Clock"]
