"""From spans of recordings to blocks of frames, in processes that a bad recording may crash.

The processes import this package, so it must not import Beam, and offers nothing itself: the
transforms, which need Beam, are in stage and splitting.
"""
