"""Text of unknown origin, made fit to be shown: no secrets, nothing that acts on a terminal."""

from earmark.transforms.text.printing import printable, printable_json
from earmark.transforms.text.secrets import holds_credentials, masked, masked_flags, masked_value

__all__ = [
    "holds_credentials",
    "masked",
    "masked_flags",
    "masked_value",
    "printable",
    "printable_json",
]
