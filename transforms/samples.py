"""Samples as decoders give them: those of 16 bits as they are, all others as float32."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias, cast

import numpy as np
from numpy.typing import NDArray

Samples: TypeAlias = NDArray[np.int16] | NDArray[np.float32]
"""[n, channels], in memory channel beside channel or one after another: of int16, whose full scale
is 32768, or float32 in [-1, 1]."""

INT16_STEP = 2.0**-15
"""What a step of int16 is on the scale of float32."""


def as_float32(samples: Samples) -> NDArray[np.float32]:
    """Samples of any shape as float32 in [-1, 1]: themselves if they are."""
    if samples.dtype == np.float32:
        return cast(NDArray[np.float32], samples)
    values = samples.astype(np.float32)
    values *= np.float32(INT16_STEP)
    return values


def joined(parts: Sequence[Samples]) -> Samples:
    """Samples one after another."""
    if len(parts) == 1:
        return parts[0]
    if len({part.dtype for part in parts}) > 1:
        parts = [as_float32(part) for part in parts]
    return cast(Samples, np.concatenate(parts))
