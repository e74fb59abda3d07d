"""Long silences left out, so that a gap of hours takes neither time nor memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import repeat

from earmark.transforms.elements import Silence
from earmark.transforms.frames.resampling import LEAD_IN_S, SEGMENT_S
from earmark.transforms.samples import Samples


def stretches(
    seconds: Iterable[Samples | Silence],
    silent_second: Samples,
    frame_s: int,
    start_s: int,
) -> Iterator[tuple[int, Iterator[Samples]]]:
    """Divide a recording where it is silent for so long that no frame needs all of the silence.

    A stretch ends when the last frame that begins before a silence is complete. The next begins at
    the last place where a recording may be cut (see resampling) before the first frame that
    reaches beyond the silence. Silences that are too short for that become samples.

    Args:
      seconds: [n, channels] each, second by second; a Silence for several of them.
      silent_second: what a second of silence is.
      frame_s: the length of a frame, rounded up.
      start_s: where the frames that are wanted begin.

    Yields:
      Where the frames of a stretch begin, and its seconds, from the one before that on; to be read
      to their end before the next stretch is asked for.
    """
    source, at_s = iter(seconds), max(0, start_s - LEAD_IN_S)
    upcoming: list[tuple[int, int]] = [(start_s, 0)]
    tail_s = frame_s + LEAD_IN_S

    def stretch(leading_s: int) -> Iterator[Samples]:
        nonlocal at_s
        yield from repeat(silent_second, leading_s)
        for part in source:
            silent_s = part.samples // len(silent_second) if isinstance(part, Silence) else 0
            end_s = at_s + (silent_s or 1)
            begin_s = (end_s - frame_s) // SEGMENT_S * SEGMENT_S
            is_long = begin_s - LEAD_IN_S >= at_s + tail_s
            at_s = end_s
            if not isinstance(part, Silence):
                yield part
            elif is_long:
                yield from repeat(silent_second, tail_s)
                upcoming.append((begin_s, end_s - begin_s + LEAD_IN_S))
                return
            else:
                yield from repeat(silent_second, silent_s)

    while upcoming:
        begin_s, leading_s = upcoming.pop()
        yield begin_s, stretch(leading_s)
