"""Text of unknown origin, made fit to be printed: names, labels, metadata, what libraries say."""

from __future__ import annotations

import re

from earmark.transforms.text.secrets import masked

LONGEST = 400
"""Characters of a value that are shown."""

_LONGEST_MASKED = 100_000
"""Of a longer text, so many are looked at at all."""


def printable(text: object, at_most: int = LONGEST) -> str:
    """A text in one line that leaves a terminal alone, without the secrets in it.

    Control characters, signs that turn the direction of writing, ends of lines, and halves of
    surrogate pairs are shown as backslash escapes.

    Args:
      text: of any content.
      at_most: so many of its characters are shown.
    """
    shown = masked(str(text)[:_LONGEST_MASKED])
    if len(shown) > at_most:
        shown = f"{shown[:at_most]}..."
    return _UNPRINTABLE.sub(_escaped, shown)


def printable_json(text: str) -> str:
    """The same JSON, with escapes for such characters in its texts; lines end as before."""
    return _UNPRINTABLE.sub(lambda sign: sign[0] if sign[0] == "\n" else _in_json(sign[0]), text)


def _escaped(sign: re.Match[str]) -> str:
    return sign[0].encode("unicode_escape", "surrogatepass").decode("ascii")


def _in_json(sign: str) -> str:
    return f"\\u{ord(sign):04x}"


_UNPRINTABLE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)
