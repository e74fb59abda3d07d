"""Text of unknown origin, made safe to print: names, labels, metadata, messages of libraries."""

from __future__ import annotations

import re

from earmark.transforms.text.secrets import masked

LONGEST = 400
"""How many characters of a value are shown."""

_LONGEST_MASKED = 100_000
"""How many characters of a text are searched for secrets; the rest is dropped."""


def printable(text: object, at_most: int = LONGEST) -> str:
    """A text in one line, without secrets, that cannot control a terminal.

    Control characters, bidirectional formatting characters, line ends and lone surrogates are shown
    as backslash escapes.

    Args:
      text: of any content.
      at_most: how many of its characters are shown.
    """
    shown = masked(str(text)[:_LONGEST_MASKED])
    if len(shown) > at_most:
        shown = f"{shown[:at_most]}..."
    return _UNPRINTABLE.sub(_escaped, shown)


def printable_json(text: str) -> str:
    """JSON with the characters that `printable` escapes as JSON escapes; its lines stay."""
    return _UNPRINTABLE.sub(lambda sign: sign[0] if sign[0] == "\n" else _in_json(sign[0]), text)


def _escaped(sign: re.Match[str]) -> str:
    return sign[0].encode("unicode_escape", "surrogatepass").decode("ascii")


def _in_json(sign: str) -> str:
    return f"\\u{ord(sign):04x}"


_UNPRINTABLE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)
