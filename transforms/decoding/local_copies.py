"""Recordings as local files, which is what decoders read fastest."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

from earmark.transforms.archives import member_copy, place_of
from earmark.transforms.elements import AudioObject, ByteRange
from earmark.transforms.errors import ReadError
from earmark.transforms.storage import fetched, local_path, reason, shown, unusable_errors


@contextmanager
def local_copy(listed: AudioObject, parts: Sequence[ByteRange] | None = None) -> Iterator[str]:
    """The path of a local file with an object's content.

    A local object is that file itself. A remote one is downloaded once, in full, into a temporary
    file that is deleted afterwards; if the connection breaks, the download resumes. A member of an
    archive is unpacked into such a file.

    Args:
      listed: the object as listed, which must not have changed if it has a version.
      parts: all that is needed of a remote object, in order: the rest of its copy is a hole. None
        for all of it.

    Raises:
      ReadError: the object could not be read, or is another by now, or there is no room for a copy.
      AudioError: a member of an archive cannot be unpacked.
    """
    place = place_of(listed.uri, listed.address)
    if place is not None:
        with member_copy(place) as unpacked:
            yield unpacked
        return
    path = local_path(listed.uri)
    if path is not None:
        yield path
        return
    with ExitStack() as stack:
        try:
            copy = stack.enter_context(fetched(listed.source, listed.version, parts))
        except unusable_errors() as error:
            raise ReadError(f"{shown(listed.uri)}: {reason(error)}") from error
        yield copy.name
