"""Listing every object that patterns or manifests name."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import chain, islice

from earmark.transforms.archives import trouble_with_member
from earmark.transforms.elements import AudioObject, Found
from earmark.transforms.listing.manifests import (
    URI_COLUMN,
    check_is_no_spreadsheet,
    is_manifest,
    read_manifest,
)
from earmark.transforms.listing.matching import count_in_other_case
from earmark.transforms.listing.member_listing import list_with_members, look_up_with_members
from earmark.transforms.storage import (
    KINDS,
    OTHERS,
    ListingError,
    absolute,
    check_known,
    check_reachable,
    local_path,
    scheme,
    shown,
    trouble_with,
)
from earmark.transforms.text import printable

_LOOK_UP_BATCH = 256
_LOOK_UP_THREADS = 16


def list_audio(
    patterns: Iterable[str],
    manifests: Iterable[str] = (),
    *,
    all_files: bool = False,
    uri_column: str = URI_COLUMN,
) -> Iterator[Found]:
    """List the objects that patterns and manifests name; one for each pattern that matches it.

    A pattern is a file, a folder, which means everything below it, a glob (see pattern_regex), or a
    URI of a store or a web server, where the same goes. What exists locally by exactly that
    name is meant, whatever signs are in it; elsewhere that goes for single objects. A single file
    that is a manifest by its name (see is_manifest) stands for the objects that it names.

    For a folder, or a glob that doesn't say how names end (`**`, `2024*`), files whose names rule
    out audio are skipped. A file, an entry of a manifest, or a glob that does say (`**/*.dat`)
    means whatever it matches; but a glob never means the ._* files of macOS. Skipped files are
    counted.

    Links are followed. A local folder that several paths lead to is walked once for each pattern,
    by the path that goes over no link where there is one; by others only for what the pattern asks
    for by their names, as `**/link/*.wav` does. Of two names for one file, each is an object. A
    folder that cannot be read, and a link that leads nowhere, are listed as objects of unknown
    size, and so get their rows among the failures: nothing is dropped in silence.

    An archive, a tar, tar.gz or zip by its name, stands for its members, whose URIs are
    `archive.tar!/a/b.flac`: as a folder does when it was found by a pattern, named, or an entry of
    a manifest. Behind the `!/` there may be a name, a folder or a glob. What could not be read of
    a damaged archive is an object of its own, `archive.tar!/`, without a size.

    Folders in which earmark keeps a run's unfinished output, _staging-RUN, are left out uncounted,
    unless a pattern begins in one.

    The version of an object is SIZE-NANOSECONDS for a local one, with the time of its last change,
    and SIZE-MILLISECONDS-ETAG for others; it is empty where the object couldn't be looked up.

    Args:
      patterns: what to list.
      manifests: CSV, JSON lines or Parquet files, whatever their names.
      all_files: include files of any name.
      uri_column: the column of manifests with the URIs.

    Raises:
      ListingError: a manifest broke on the way.
    """
    to_match, to_read = _sorted_out(patterns, manifests)
    for pattern in to_match:
        yield from list_with_members(pattern, all_files)
    for manifest in to_read:
        for batch in _read_in_batches(manifest, uri_column):
            yield from _look_up_all(batch, all_files)


def check_patterns(
    patterns: Iterable[str],
    manifests: Iterable[str] = (),
    *,
    all_files: bool = False,
    may_be_empty: bool = False,
    uri_column: str = URI_COLUMN,
) -> None:
    """Check, before anything runs, that there is something to process.

    It stops at the first object of each pattern. Manifests are read to their end, but their entries
    are not looked up. Beam's filesystems must have their options already.

    Args:
      patterns: what to list.
      manifests: files that list objects, as for `list_audio`.
      all_files: include files of any name.
      may_be_empty: whether a pattern may match nothing yet.
      uri_column: the column of manifests with the URIs.

    Raises:
      ListingError: a pattern that matches nothing, or nothing that can be audio by name; a file,
        folder or filesystem that there isn't; a manifest that is missing, broken, or has a row
        without a uri.
    """
    patterns, manifests = list(patterns), list(manifests)
    if not all((*patterns, *manifests)):
        raise ListingError("an input is empty: name a file, a folder, a pattern or a URI")
    to_match, to_read = _sorted_out(patterns, manifests)
    for pattern in to_match:
        check_known(pattern)
        check_is_no_spreadsheet(pattern)
        _check_pattern(pattern, all_files, may_be_empty)
    for manifest in to_read:
        check_known(manifest)
        _check_manifest(manifest, uri_column)


def anywhere(pattern: str) -> str:
    """A pattern that doesn't depend on the current folder: a local one is made absolute."""
    path = local_path(pattern)
    return pattern if path is None else absolute(path)


# the steps of listing


def _sorted_out(patterns: Iterable[str], manifests: Iterable[str]) -> tuple[list[str], list[str]]:
    """The patterns, and the manifests with those among the patterns; both absolute."""
    to_match: list[str] = []
    to_read = list(manifests)
    for pattern in patterns:
        (to_read if is_manifest(pattern) else to_match).append(pattern)
    return list(map(anywhere, to_match)), list(map(anywhere, to_read))


def _read_in_batches(manifest: str, uri_column: str) -> Iterator[list[str]]:
    uris = read_manifest(manifest, uri_column)
    return iter(lambda: list(islice(uris, _LOOK_UP_BATCH)), [])


def _look_up_all(uris: list[str], all_files: bool) -> Iterator[Found]:
    with ThreadPoolExecutor(_LOOK_UP_THREADS) as threads:
        for found in threads.map(lambda uri: _look_up(uri, all_files), uris):
            yield from found


def _look_up(uri: str, all_files: bool) -> Iterator[Found]:
    """What an entry of a manifest means; its first object at once, since that takes its time."""
    found = look_up_with_members(uri, all_files)
    return chain(list(islice(found, 1)), found)


# the checks


def _check_pattern(pattern: str, all_files: bool, may_be_empty: bool) -> None:
    unseen, skipped = None, Counter[str]()
    for found in list_with_members(pattern, all_files):
        if found.skipped_as is not None:
            is_known = found.skipped_as in skipped or len(skipped) < KINDS
            skipped[found.skipped_as if is_known else OTHERS] += 1
        elif found.object.size_bytes is None:
            unseen = unseen or found.object
        else:
            return
    if unseen is not None or not may_be_empty:
        raise ListingError(_nothing_to_hear(pattern, unseen, skipped))


def _nothing_to_hear(pattern: str, unseen: AudioObject | None, skipped: Counter[str]) -> str:
    if unseen is not None:
        where = "" if shown(unseen.uri) == shown(pattern) else f"{shown(pattern)}: "
        trouble = trouble_with_member(unseen) or trouble_with(unseen.source)
        return f"{where}{shown(unseen.uri)} {trouble}"
    if not skipped and (others := count_in_other_case(pattern)):
        files = "1 file matches" if others == 1 else f"{others:,} files match"
        return (
            f"{shown(pattern)} matches nothing, but {files} it in another case: write it like "
            "*.[wW][aA][vV], or name the folder"
        )
    if not skipped:
        return f"{shown(pattern)} matches nothing; in a pattern, ** stands for folders of any depth"
    kinds = ", ".join(
        f"{count} {printable(kind, 40) or 'without an extension'}"
        for kind, count in skipped.most_common(3)
    )
    return (
        f"{shown(pattern)}: no file in it may be audio by its name (it has {kinds}); "
        "--all_files includes files of any name"
    )


def _check_manifest(manifest: str, uri_column: str) -> None:
    check_reachable(manifest)
    schemes = set()
    uri = None
    for uri in read_manifest(manifest, uri_column):
        if scheme(uri) not in schemes:
            schemes.add(scheme(uri))
            check_known(uri)
    if uri is None:
        raise ListingError(f"manifest {shown(manifest)} lists nothing")
