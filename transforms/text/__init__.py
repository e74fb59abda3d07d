"""Text of unknown origin, made safe to show: without secrets and terminal control characters."""

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
