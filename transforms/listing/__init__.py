"""From patterns and manifests to the objects that they name."""

from earmark.transforms.listing.manifests import is_manifest
from earmark.transforms.listing.member_listing import is_meant, list_meant, look_up_with_members
from earmark.transforms.listing.objects import anywhere, check_patterns, list_audio
from earmark.transforms.listing.roots import roots_of

__all__ = [
    "anywhere",
    "check_patterns",
    "is_manifest",
    "is_meant",
    "list_audio",
    "list_meant",
    "look_up_with_members",
    "roots_of",
]
