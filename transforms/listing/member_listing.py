"""Listing a pattern or a manifest's entry that may be an archive, or something in one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from earmark.transforms.archives import (
    Place,
    is_archive,
    list_members,
    look_up_member,
    place_of,
    split_at_archives,
)
from earmark.transforms.audio import AUDIO_EXTENSIONS
from earmark.transforms.elements import AudioObject, Found
from earmark.transforms.listing.globs import Glob, is_glob
from earmark.transforms.listing.matching import list_pattern, means
from earmark.transforms.storage import (
    APPLE_DOUBLE,
    file_kind,
    local_path,
    look_up,
)


def list_with_members(pattern: str, all_files: bool = False) -> Iterator[Found]:
    """List what a pattern means: as list_pattern does, but the members of archives in their place.

    What follows the `!/` of `archive.tar!/a` is a member, a folder of members, or a glob.

    Raises:
      ListingError: as for list_pattern.
    """
    place = place_of(pattern)
    member = look_up_member(place) if place and place.name else None
    if member is not None and member.version:
        yield Found(member)
        return
    archives, inside = _split(pattern) if place is None else (place.archive.uri, place.name)
    wanted = _Wanted(inside or "", all_files)
    for found in list_pattern(archives, all_files):
        if inside is None or is_archive(found.object.uri):
            yield from _expanded(found, wanted)


def look_up_with_members(uri: str, all_files: bool = False) -> Iterator[Found]:
    """What a manifest's entry means: an object, a member of an archive, or all of an archive's."""
    place = place_of(uri)
    if place is not None and place.name:
        yield Found(look_up_member(place))
    else:
        named = look_up(uri) if place is None else place.archive
        yield from _expanded(Found(named), _Wanted("", all_files))


def is_meant(uri: str, patterns: Iterable[str], all_files: bool = False) -> bool:
    """Whether patterns mean an object, if it is there; of an archive, all or some of its members.

    It decides by names alone, as `means` does.
    """
    return any(True for pattern in patterns for _ in _meant_of(uri, pattern, all_files))


def list_meant(found: AudioObject, patterns: Iterable[str], all_files: bool) -> Iterator[Found]:
    """What patterns mean of an object that was looked up: itself, or members of an archive."""
    for pattern in patterns:
        for inside in _meant_of(found.uri, pattern, all_files):
            yield from _expanded(Found(found), _Wanted(inside, all_files))


def _meant_of(uri: str, pattern: str, all_files: bool) -> Iterator[str]:
    """What a pattern means in an object, in each way to take it; empty for all that it is."""
    if means(pattern, uri, all_files or is_archive(uri)):
        yield ""
    if is_archive(uri):
        path = local_path(pattern)
        for archives, inside in split_at_archives(pattern if path is None else path):
            if means(archives, uri, all_files=True):
                yield inside


def _split(pattern: str) -> tuple[str, str | None]:
    """A pattern for archives and one for what is in them; None if it doesn't look into any."""
    path = local_path(pattern)
    for archives, inside in split_at_archives(pattern if path is None else path):
        if is_glob(archives):
            return archives, inside
    return pattern, None


@dataclass(frozen=True)
class _Wanted:
    """The members to list of an archive.

    Attributes:
      inside: a member, a folder of members, or a glob; empty for everything.
      all_files: members of any name are included.
    """

    inside: str
    all_files: bool

    def matches(self, name: str) -> bool:
        """Whether a member is meant, by itself or with others."""
        folder = self.inside.rstrip("/")
        is_below = not folder or name.startswith(f"{folder}/")
        return is_below or name == self.inside or self._glob_matches(name)

    def skipped_as(self, name: str) -> str | None:
        """The kind of files that a member is skipped with; None if it is to be processed."""
        kind = file_kind(name)
        ends_so = self._glob_matches(name) and Glob(self.inside).names_ending
        meant = name == self.inside or (ends_so and kind != APPLE_DOUBLE)
        return None if self.all_files or meant or kind[1:] in AUDIO_EXTENSIONS else kind

    def _glob_matches(self, name: str) -> bool:
        return is_glob(self.inside) and Glob(self.inside).matches(name)


def _expanded(found: Found, wanted: _Wanted) -> Iterator[Found]:
    """An archive's members; any other object as it is."""
    uri = found.object.uri
    if not is_archive(uri):
        yield found
        return
    archive = look_up(found.object.source)
    if archive.size_bytes is None:  # a link that leads nowhere, a pipe
        yield Found(archive)
    else:
        yield from _members(archive, wanted)


def _members(archive: AudioObject, wanted: _Wanted) -> Iterator[Found]:
    is_there = False
    for name, member in list_members(archive):
        if not name:  # what could not be read may hold what is wanted
            is_there = True
            yield Found(member)
        elif wanted.matches(name):
            is_there = True
            yield Found(member, wanted.skipped_as(name))
    if wanted.inside and not is_there and not is_glob(wanted.inside):
        yield Found(look_up_member(Place(archive, wanted.inside)))
