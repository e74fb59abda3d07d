"""Opens a recording with the library that decodes it."""

from __future__ import annotations

from contextlib import ExitStack
from typing import BinaryIO, TypeAlias

from earmark.transforms.audio.declared_length import DeclaredLength
from earmark.transforms.audio.formats import Decoder
from earmark.transforms.audio.libav_decoder import LibavDecoder, open_libav
from earmark.transforms.audio.ogg_chains import OggDecoder, open_ogg
from earmark.transforms.audio.plain_sound import PlainDecoder, plain_decoder
from earmark.transforms.audio.sniffing import Sniffed
from earmark.transforms.audio.soundfile_decoder import SoundfileDecoder, open_soundfile
from earmark.transforms.errors import (
    AudioError,
    DamagedError,
    NoAudioStreamError,
    NoSamplesError,
    ReadError,
    UnsupportedError,
)

OpenDecoder: TypeAlias = SoundfileDecoder | LibavDecoder | OggDecoder | PlainDecoder
"""One library's view of a recording: chunks of about the size wanted, then an AudioError."""


def open_decoder(stack: ExitStack, file: BinaryIO, sniffed: Sniffed) -> OpenDecoder:
    """Opens a file with the library that suits its format, and with the other where that fails."""
    format_, content = sniffed
    declared = format_.read_length(content)
    verdicts: list[AudioError] = []
    if format_.decoder is Decoder.LIBSNDFILE and not declared.is_mpeg:
        try:
            sound = stack.enter_context(open_soundfile(file, format_, declared))
            return plain_decoder(content, sound) or sound
        except AudioError as verdict:
            verdicts.append(verdict)
    try:
        if format_.decoder is Decoder.OGG_CHAINS:
            return stack.enter_context(open_ogg(content, format_))
        opened = stack.enter_context(open_libav(content, format_, declared))
        return plain_decoder(content, opened) or opened
    except AudioError as verdict:
        verdicts.append(verdict)
    raise _most_telling(verdicts, declared)


def _most_telling(verdicts: list[AudioError], declared: DeclaredLength) -> AudioError:
    """Of the libraries' verdicts on a file, the one that says most; a known cut says still more."""
    kinds = (ReadError, UnsupportedError, NoAudioStreamError, NoSamplesError, DamagedError)
    best = min(verdicts, key=lambda verdict: kinds.index(type(verdict)))
    is_cut = isinstance(best, (DamagedError, NoAudioStreamError)) and not declared.is_whole
    return declared.nothing_decoded() if is_cut else best
