"""Opens a recording with the library that decodes it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, BinaryIO, NamedTuple, TypeAlias

from earmark.transforms.audio.declared_length import DeclaredLength
from earmark.transforms.audio.file_parts import FilePart
from earmark.transforms.audio.flac_decoder import FlacDecoder
from earmark.transforms.audio.formats import Decoder, Format
from earmark.transforms.audio.pieces import PiecedDecoder, pieced_decoder
from earmark.transforms.audio.plain_sound import PlainDecoder, plain_decoder
from earmark.transforms.audio.sniffing import Sniffed, sniff, sniff_samples
from earmark.transforms.audio.soundfile_decoder import SoundfileDecoder, open_soundfile
from earmark.transforms.errors import (
    AudioError,
    DamagedError,
    NoAudioStreamError,
    NoSamplesError,
    ReadError,
    UnsupportedError,
)

if TYPE_CHECKING:  # what needs libav is imported where it is used: most wav files do without
    from earmark.transforms.audio.joined import JoinedDecoder
    from earmark.transforms.audio.libav_decoder import LibavDecoder
    from earmark.transforms.audio.ogg_chains import OggDecoder

_Single: TypeAlias = (
    "SoundfileDecoder | FlacDecoder | LibavDecoder | OggDecoder | PiecedDecoder | PlainDecoder"
)

OpenDecoder: TypeAlias = "_Single | JoinedDecoder"
"""One library's view of a recording: chunks of about the size wanted, then an AudioError."""


def open_decoder(stack: ExitStack, file: BinaryIO, sniffed: Sniffed) -> OpenDecoder:
    """Opens a file, and all recordings that were joined in it."""
    decoder, followed_by = _open_first(stack, file, sniffed)
    content, find = sniffed.content, sniffed.format.find_next
    if followed_by:
        from earmark.transforms.audio.joined import JoinedDecoder

        return JoinedDecoder(
            decoder, lambda: False, lambda: followed_by, partial(_open_later, file)
        )
    if find and isinstance(decoder, FlacDecoder):
        from earmark.transforms.audio.joined import JoinedDecoder

        before = os.fstat(file.fileno()).st_size - content.size
        behind = partial(_behind, find, content, before, decoder)
        is_single = partial(sniffed.format.is_single, content)
        return JoinedDecoder(decoder, is_single, behind, partial(_open_later, file))
    return decoder


def _behind(
    find: Callable[[FilePart, int], FilePart | None],
    content: FilePart,
    before: int,
    decoder: FlacDecoder,
) -> FilePart | None:
    return find(content, decoder.position - before)


@contextmanager
def _open_later(file: BinaryIO, content: FilePart) -> Iterator[tuple[_Single, FilePart | None]]:
    """Opens a recording behind the first, and finds the next."""
    with ExitStack() as stack:
        sniffed = sniff(content)
        find = sniffed.format.find_next
        following = find(sniffed.content, 0) if find else None
        if following:
            alone = sniffed.content.part(0, sniffed.content.size - following.size)
            sniffed = sniffed._replace(content=alone)
        opened = _open_first(stack, file, sniffed, is_first=False)
        yield opened.decoder, following or opened.followed_by


class _Opened(NamedTuple):
    """A recording that was opened, and where another one follows, if that is known."""

    decoder: _Single
    followed_by: FilePart | None


def _open_first(
    stack: ExitStack, file: BinaryIO, sniffed: Sniffed, is_first: bool = True
) -> _Opened:
    """Opens a recording with the library that suits its format, and with the other if that fails.

    libsndfile takes nothing but the file itself, as it is from its beginning.
    """
    format_, content = sniffed
    if format_.undecodable:
        raise UnsupportedError(f"it is {format_.undecodable}")
    declared = format_.read_length(content)
    followed_by = declared.followed_by
    if mended := declared.mended:
        content, declared = mended, format_.read_length(mended)
    if declared.sound_bytes == 0:
        raise declared.nothing_decoded()
    verdicts: list[AudioError] = []
    if format_.decoder is Decoder.LIBSNDFILE and is_first and not (mended or declared.is_mpeg):
        try:
            sound = stack.enter_context(open_soundfile(file, format_, declared))
            if sound.header.codec == "flac":
                return _Opened(FlacDecoder(content, format_, declared, sound), followed_by)
            return _Opened(_plainest(stack, content, format_, sound), followed_by)
        except AudioError as verdict:
            verdicts.append(verdict)
    from earmark.transforms.audio.libav_decoder import open_libav

    try:
        if format_.decoder is Decoder.OGG_CHAINS:
            from earmark.transforms.audio.ogg_chains import open_ogg

            return _Opened(stack.enter_context(open_ogg(content, format_)), None)
        opened = stack.enter_context(open_libav(content, format_, declared))
        return _Opened(_plainest(stack, content, format_, opened), followed_by)
    except AudioError as verdict:
        verdicts.append(verdict)
    raise _most_telling(verdicts, declared)


def _plainest(
    stack: ExitStack, content: FilePart, format_: Format, opened: SoundfileDecoder | LibavDecoder
) -> _Single:
    """Reads uncompressed sound straight from the file, unless its samples are a bitstream."""
    declared = opened.declared
    if declared.sound_start is not None and (opened.header.codec, opened.header.channels) == _SPDIF:
        end = None if declared.sound_bytes is None else declared.sound_start + declared.sound_bytes
        if bitstream := sniff_samples(content.part(declared.sound_start, end)):
            return _open_bitstream(stack, bitstream, format_)
    plain = plain_decoder(content, opened)
    return (plain and pieced_decoder(content, plain)) or plain or opened


def _open_bitstream(stack: ExitStack, bitstream: Sniffed, format_: Format) -> LibavDecoder:
    """Opens a compressed stream whose bytes stand as samples in a file of another format."""
    from earmark.transforms.audio.libav_decoder import open_libav

    kind = replace(bitstream.format, name=format_.name)
    try:
        return stack.enter_context(open_libav(bitstream.content, kind, DeclaredLength()))
    except ReadError:
        raise
    except AudioError as error:
        what = f"its samples are a bitstream in {bitstream.format.name.upper()}"
        raise UnsupportedError(f"{what}, which can't be decoded: {error}") from error


_SPDIF = ("pcm_s16", 2)
"""The samples as which digital links, and discs, carry bitstreams: codec and channels."""


def _most_telling(verdicts: list[AudioError], declared: DeclaredLength) -> AudioError:
    """Of the libraries' verdicts on a file, the one that says most; a known cut says still more."""
    kinds = (ReadError, UnsupportedError, NoAudioStreamError, NoSamplesError, DamagedError)
    best = min(verdicts, key=lambda verdict: kinds.index(type(verdict)))
    is_cut = isinstance(best, (DamagedError, NoAudioStreamError)) and not declared.is_whole
    return declared.nothing_decoded() if is_cut else best
