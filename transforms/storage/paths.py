"""Names of objects: what kind of file they are, and how local paths become URIs."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from urllib.parse import quote, unquote_to_bytes

from earmark.transforms.errors import ExpectedError
from earmark.transforms.storage.signed_urls import without_signature
from earmark.transforms.text import printable

APPLE_DOUBLE = "._*"
"""The kind of files in which macOS keeps metadata on other filesystems, ._a.wav beside a.wav."""

KINDS = 100
"""How many kinds of skipped files are counted separately."""

OTHERS = "others"
"""The kind that further files are counted as; no kind has this name."""


class ListingError(ExpectedError, ValueError):
    """Input that cannot be listed; the message is one line for the person who typed it."""


def file_kind(uri: str) -> str:
    """The kind that a file is counted as: its extension, as '.txt' or '', or APPLE_DOUBLE."""
    name = uri.rpartition("/")[2]
    return APPLE_DOUBLE if name.startswith("._") else os.path.splitext(name)[1].lower()


def local_path(uri: str) -> str | None:
    """The path to open for a plain path or a file: URI; None for other URIs."""
    if match := _FILE_SCHEME.match(uri):
        return os.fsdecode(unquote_to_bytes(uri[match.end() :]))
    return None if _SCHEME.match(uri) else uri


def local_uri(path: str) -> str:
    """The URI of a local path: the path made absolute, its links unresolved.

    A name that isn't UTF-8 cannot pass through Beam or Parquet: it becomes a file: URI with its
    bytes percent-encoded.
    """
    path = normal_path(path)
    try:
        path.encode("utf-8")
    except UnicodeEncodeError:
        return f"file://{quote(os.fsencode(path))}"
    return path


def absolute(path: str) -> str:
    """A path or local pattern made absolute; it keeps a slash at its end."""
    without_slash = normal_path(path)
    return os.path.join(without_slash, "") if path.endswith("/") else without_slash


def normal_path(path: str) -> str:
    """A path made absolute, with each step of it once; links stay as they are.

    Two slashes at the beginning, whose meaning POSIX leaves open, become one, as on Linux.
    """
    normal = os.path.abspath(path)
    return normal[1:] if normal.startswith("//") else normal


def scheme(uri: str) -> str | None:
    """The scheme of a URI such as gs://bucket/a.wav, in lower case; None for a plain path."""
    match = _SCHEME.match(uri)
    return match[1].lower() if match else None


def relative_path(uri: str, roots: Iterable[str]) -> str:
    """A URI from the first of some roots that it lies under; from its store where from none.

    What is a root itself, or lies in an archive that is one, is relative to the root's folder.

    Args:
      uri: of an object, such as /cards/1/a.wav.
      roots: folders or objects, such as /cards.
    """
    for root in (each.rstrip("/") for each in roots):
        for written in (root, _quoted(root)) if uri.startswith("file:") else (root,):
            rest = uri.removeprefix(written)
            if rest != uri and rest.startswith("/"):
                return rest[1:]
            if rest != uri and (not rest or rest.startswith("!/")):
                return written.rpartition("/")[2] + rest
    return _SCHEME.sub("", uri, count=1).partition("/")[2] if scheme(uri) else uri[1:]


def _quoted(root: str) -> str:
    return root if root.startswith("file:") else f"file://{quote(root)}"


def parse_root(text: str) -> list[tuple[str, str]]:
    """The roots that a text OLD=NEW may name, as URIs; several if paths contain the sign.

    Raises:
      ValueError: it names none.
    """
    places = [index for index, sign in enumerate(text) if sign == "="]
    roots = [(text[:place], text[place + 1 :]) for place in places]
    found = [(_root(old), _root(new)) for old, new in roots if old and new]
    if not found:
        raise ValueError("is written OLD=NEW, such as /media/card1=/media/card2")
    return found


def _root(text: str) -> str:
    path = local_path(text)
    return (text if path is None else local_uri(absolute(path))).rstrip("/") or "/"


def is_web(uri: str) -> bool:
    """Whether a URI is of a file on a web server, where there are no folders to be listed."""
    return scheme(uri) in ("http", "https")


def shown(uri: str) -> str:
    """A URI or pattern made safe to print, without secrets."""
    return printable(without_signature(uri)[0])


_FILE_SCHEME = re.compile(r"file:(?://(?:localhost)?(?=/)|(?=/(?!/)))", re.IGNORECASE)
_SCHEME = re.compile(r"([a-z][a-z0-9+.-]*)://", re.IGNORECASE)
