"""Where patterns begin: what paths in an archive are relative to."""

from __future__ import annotations

import os
from collections.abc import Iterable

from earmark.transforms.archives import split_at_archives
from earmark.transforms.listing.globs import Glob, is_glob
from earmark.transforms.listing.manifests import is_manifest
from earmark.transforms.storage import absolute, local_path, local_uri, without_signature


def roots_of(patterns: Iterable[str]) -> tuple[str, ...]:
    """The roots of patterns, as `relative_path` takes them.

    A folder is its own root, and so is a single file; of a pattern it is the part before the first
    wildcard, up to a slash; of a manifest its folder. Manifests' come last, and of others the one
    that holds the most comes first.

    Args:
      patterns: what is listed.
    """
    manifests = {pattern: is_manifest(pattern) for pattern in patterns}
    roots = {(is_last, _root(pattern, is_last)) for pattern, is_last in manifests.items()}
    ordered = sorted(roots, key=lambda each: (each[0], len(each[1]), each[1]))
    return tuple(dict.fromkeys(root for _, root in ordered))


def _root(pattern: str, is_manifest: bool) -> str:
    path = local_path(pattern)
    whole = without_signature(pattern)[0] if path is None else absolute(path)
    if is_manifest:
        return _as_uri(whole.rpartition("/")[0], path is not None)
    if not is_glob(whole) or (path is not None and os.path.lexists(whole)):
        return _as_uri(whole, path is not None)
    for archive, _ in split_at_archives(whole):
        if not is_glob(archive):
            return _as_uri(archive, path is not None)
    return _as_uri(Glob(whole).folder, path is not None)


def _as_uri(root: str, is_local: bool) -> str:
    return local_uri(root or "/") if is_local else root.rstrip("/")
