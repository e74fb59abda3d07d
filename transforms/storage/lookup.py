"""Looking up the object at a path or a URI, its size and its version."""

from __future__ import annotations

import os
import stat

from earmark.transforms.elements import AudioObject
from earmark.transforms.storage.checking import check_server
from earmark.transforms.storage.paths import ListingError, local_path, local_uri, shown
from earmark.transforms.storage.signed_urls import EXPIRED, has_expired, without_signature
from earmark.transforms.storage.stored import Stored, is_missing, reason, unusable_errors
from earmark.transforms.storage.stores import store_of
from earmark.transforms.text import holds_credentials, masked


def look_up(uri: str) -> AudioObject:
    """One object, wherever it is; of unknown size and without a version if it isn't there."""
    path = local_path(uri)
    if path is not None:
        return local_object(path)
    key, address = without_signature(uri)
    if holds_credentials(key):  # no store takes a password in a URI, and no row should hold one
        return AudioObject(masked(key), None, "")
    try:
        check_server(uri)
        return remote_object(store_of(uri).look(uri))._replace(address=address)
    except unusable_errors():
        return AudioObject(key, None, "", address)


def find(uri: str) -> AudioObject | None:
    """One object, wherever it is; None if it certainly isn't there, as after a deletion."""
    found = look_up(uri)
    return None if found.size_bytes is None and _is_missing(uri) else found


def trouble_with(uri: str) -> str:
    """Why an object cannot be looked up, or a folder not be read, such as "does not exist"."""
    path = local_path(uri)
    if path is None:
        return _remote_trouble(uri)
    try:
        if stat.S_ISDIR(os.stat(path).st_mode):
            os.scandir(path).close()
    except (FileNotFoundError, NotADirectoryError):
        return "is a dangling link" if os.path.islink(path) else "does not exist"
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        return f"cannot be read: {getattr(error, 'strerror', None) or error}"
    return "is not a regular file"


def _remote_trouble(uri: str) -> str:
    if has_expired(uri):
        return f"does not exist, or cannot be read: {EXPIRED}"
    try:
        check_server(uri)
        store_of(uri).look(uri)
    except ListingError as error:
        return str(error).removeprefix(f"{shown(uri)}: ")
    except unusable_errors() as error:
        if not is_missing(error):
            return f"cannot be read: {reason(error)}"
    return "does not exist, or cannot be read"


def _is_missing(uri: str) -> bool:
    path = local_path(uri)
    try:
        _ = store_of(uri).look(uri) if path is None else os.lstat(path)
    except unusable_errors() as error:
        return is_missing(error)
    return False


def local_object(path: str, look_up: bool = True) -> AudioObject:
    """A local file as an object; its size and version are None and "" where not looked up."""
    status = status_of(path) if look_up else None
    if status is None or not stat.S_ISREG(status.st_mode):
        return AudioObject(local_uri(path), None, "")
    version = f"{status.st_size}-{status.st_mtime_ns}"
    return AudioObject(local_uri(path), status.st_size, version)


def status_of(path: str) -> os.stat_result | None:
    """The status of a path's target; None if there is none."""
    try:
        return os.stat(path)
    except (OSError, ValueError):  # ValueError: a NUL in the name
        return None


def remote_object(stored: Stored) -> AudioObject:
    """An object of a store as it was listed or looked up."""
    return AudioObject(stored.uri, stored.size_bytes, stored.version)
