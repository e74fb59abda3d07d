"""Listing files: what a pattern means, on this machine and elsewhere."""

from __future__ import annotations

import glob
import os
from collections import defaultdict, deque
from collections.abc import Iterator
from itertools import chain

from earmark.transforms.audio import AUDIO_EXTENSIONS
from earmark.transforms.elements import AudioObject, Found
from earmark.transforms.listing.globs import Glob, is_glob, pattern_regex
from earmark.transforms.storage import (
    APPLE_DOUBLE,
    ListingError,
    Stored,
    absolute,
    check_reachable,
    file_kind,
    is_web,
    list_below,
    local_object,
    local_path,
    local_uri,
    look_up,
    reason,
    remote_object,
    shown,
    status_of,
    store_errors,
    without_signature,
)
from earmark.transforms.text import holds_credentials


def list_pattern(pattern: str, all_files: bool = False) -> Iterator[Found]:
    """List what a pattern means; local folders in the order of their names, links to them last.

    Args:
      pattern: a path or URI of a file or folder, or a glob.
      all_files: include files of any name.

    Raises:
      ListingError: the pattern is not a valid glob, or the filesystem cannot list.
    """
    path = local_path(pattern)
    if path is not None:
        return _list_local(absolute(path), all_files)
    return _list_remote(pattern, all_files)


def means(pattern: str, uri: str, all_files: bool = False) -> bool:
    """Whether list_pattern would give an object, if it exists, as one to process.

    It decides by names alone, without the filesystem: links are unknown, and a glob that is also
    the name of an object means both.
    """
    pattern_path, path = local_path(pattern), local_path(uri)
    if (pattern_path is None) != (path is None) or uri.endswith("/"):
        return False
    whole = pattern if pattern_path is None else absolute(pattern_path)
    name = uri if path is None else path
    globs = [each for each in _globs(whole, path is not None) if each.matches(name)]
    return name == whole or any(_skipped_as(name, each, all_files) is None for each in globs)


def count_in_other_case(pattern: str) -> int:
    """How many local files a glob would match if the case of letters did not count."""
    path = local_path(pattern)
    if path is None or not is_glob(path):
        return 0
    in_any_case = pattern_regex(absolute(path), any_case=True)
    everything = Glob(f"{glob.escape(Glob(absolute(path)).folder.rstrip('/'))}/**")
    return sum(
        is_file and in_any_case.fullmatch(found) is not None for found, is_file in _walk(everything)
    )


def _globs(pattern: str, is_local: bool) -> Iterator[Glob]:
    """The globs that a pattern stands for, besides the object of exactly that name."""
    if is_local or not is_glob(pattern):
        yield Glob(f"{glob.escape(pattern.removesuffix('/'))}/**")
    if is_glob(pattern):
        yield Glob(f"{pattern}**" if pattern.endswith("/") else pattern)


# local files


def _list_local(path: str, all_files: bool) -> Iterator[Found]:
    if os.path.isdir(path):
        return _list_matches(Glob(f"{glob.escape(path.rstrip('/'))}/**"), all_files)
    if not is_glob(path) or os.path.lexists(path):
        return iter([Found(local_object(path))])
    return _list_matches(Glob(f"{path}**" if path.endswith("/") else path), all_files)


def _list_matches(pattern: Glob, all_files: bool) -> Iterator[Found]:
    for path, is_file in _walk(pattern):
        if not is_file:
            yield Found(AudioObject(local_uri(path), None, ""))
        elif pattern.matches(path):
            skipped_as = _skipped_as(path, pattern, all_files)
            yield Found(local_object(path, skipped_as is None), skipped_as)


def _walk(pattern: Glob) -> Iterator[tuple[str, bool]]:
    """The paths that a pattern may match: True goes with files, False with unreadable folders.

    A folder that several paths lead to is walked again only for what the pattern can't have
    matched there before. Links wait until all else is walked.
    """
    walked: dict[tuple[int, int], frozenset[str]] = defaultdict(frozenset)
    real, linked = [pattern.folder], deque[str]()
    while real or linked:
        folder = real.pop() if real else linked.popleft()
        reached = pattern.reached(folder)
        try:
            itself = _identity(folder)
            if reached <= walked[itself]:
                continue
            entries = _entries(folder)
        except (OSError, ValueError):  # ValueError: a NUL in the name
            yield folder, False
            continue
        walked[itself] |= reached
        inner: list[str] = []
        for entry in entries:
            if _leads_on(entry) and pattern.reached(entry.path):
                (linked if entry.is_symlink() else inner).append(entry.path)
            elif _ends_here(entry):
                yield entry.path, True
        real += reversed(inner)


def _identity(folder: str) -> tuple[int, int]:
    """What identifies a folder, whatever path leads to it."""
    status = os.stat(folder)
    return status.st_dev, status.st_ino


def _entries(folder: str) -> list[os.DirEntry[str]]:
    with os.scandir(folder) as entries:
        return sorted(entries, key=lambda entry: entry.name)


def _leads_on(entry: os.DirEntry[str]) -> bool:
    """Whether it is a folder, or may be one: a dangling link without an extension."""
    if entry.is_symlink() and status_of(entry.path) is None:
        return not file_kind(entry.name)
    return not _ends_here(entry)


def _ends_here(entry: os.DirEntry[str]) -> bool:
    try:
        return not entry.is_dir()
    except OSError:
        return True


def _skipped_as(uri: str, pattern: Glob, all_files: bool) -> str | None:
    kind = file_kind(uri)
    meant = pattern.names_ending and kind != APPLE_DOUBLE
    return None if all_files or meant or kind[1:] in AUDIO_EXTENSIONS else kind


# objects elsewhere


def _list_remote(uri: str, all_files: bool) -> Iterator[Found]:
    name, address = without_signature(uri)
    if holds_credentials(name):
        raise ListingError(f"{shown(uri)}: credentials don't go into URIs; docs/object_stores.md")
    check_reachable(uri)
    itself = AudioObject(uri, None, "") if uri.endswith("/") else look_up(uri)
    if itself.size_bytes or (itself.size_bytes == 0 and is_glob(uri)):
        return iter([Found(itself)])
    if address or (is_web(uri) and not is_glob(uri)):  # it is in no folder that could be listed
        return iter([Found(itself)])
    if is_glob(uri):
        return _list_below(Glob(f"{uri}**" if uri.endswith("/") else uri), all_files)
    folder = uri if uri.endswith("/") else f"{uri}/"
    below = _list_below(Glob(f"{glob.escape(folder)}**"), all_files)
    return chain([next(below, Found(itself))], below)


def _list_below(pattern: Glob, all_files: bool) -> Iterator[Found]:
    for stored in _stored_below(pattern.prefix):
        if pattern.matches(stored.uri):
            yield Found(remote_object(stored), _skipped_as(stored.uri, pattern, all_files))


def _stored_below(beginning: str) -> Iterator[Stored]:
    try:
        yield from list_below(beginning)
    except store_errors() as error:
        raise ListingError(f"{shown(beginning)} cannot be listed: {reason(error)}") from error
