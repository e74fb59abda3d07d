"""Members of tar, tar.gz and zip files as objects of their own."""

from earmark.transforms.archives.members import (
    Place,
    archives_of,
    is_archive,
    list_members,
    look_up_member,
    member_copy,
    place_of,
    split_at_archives,
    trouble_with_member,
)

__all__ = [
    "Place",
    "archives_of",
    "is_archive",
    "list_members",
    "look_up_member",
    "member_copy",
    "place_of",
    "split_at_archives",
    "trouble_with_member",
]
