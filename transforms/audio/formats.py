"""The formats of audio, a row each: all that is known of one, but for the parser of its header."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum, auto

from earmark.transforms.audio import containers, lost_ends
from earmark.transforms.audio.containers import Note
from earmark.transforms.audio.declared_length import DeclaredLength
from earmark.transforms.audio.file_parts import FilePart
from earmark.transforms.audio.mp4 import mp4_length


class Decoder(Enum):
    """What decodes a format; where libsndfile fails, libav has a try.

    libsndfile is the one for plain sound. It is not for MPEG and Apple's CAF, with which it writes
    to the terminal, nor for Ogg, where it is slower, and stops without a word behind the first of
    chained streams.
    """

    LIBSNDFILE = auto()
    LIBAV = auto()
    OGG_CHAINS = auto()


class Duration(Enum):
    """What the duration that libav tells is worth."""

    GUESSED = auto()
    """The format has none in its header: libav makes an estimate."""
    IF_WHOLE = auto()
    """It is an estimate where the file is shorter than its header says."""
    TOLD = auto()
    """It is the header's, up to the silence that encoders add at both ends, and to rounding."""
    COUNTED = auto()
    """It is the header's count of samples."""

    def is_told(self, is_whole: bool) -> bool:
        """Whether a file's header tells it, given whether nothing of the file is missing."""
        return is_whole if self is Duration.IF_WHOLE else self is not Duration.GUESSED


class Timestamps(Enum):
    """What tells where the sound of a format lies in time."""

    NONE = auto()
    """Nothing: its packets follow each other."""
    FROM_ZERO = auto()
    """Timestamps that count from the recording's start."""
    FROM_ZERO_IF_NEAR = auto()
    """The same, but of a stream that was joined late they are those of the stream."""
    NUMBERS = auto()
    """The numbers of its frames, as FLAC has them."""
    FROM_FIRST = auto()
    """Timestamps that count from any moment: the first of them is the start."""
    BYTES = auto()
    """Nothing, and its packets have no frame around them: damage takes as long as its bytes."""


@dataclass(frozen=True)
class Format:
    """A format: how it is recognised, decoded, and what its header tells.

    Attributes:
      name: as in AudioHeader.format.
      demuxer: what FFmpeg calls its reader.
      signature: the regular expression of what it begins with.
      extensions: of the names that its files have, without dots, with spaces between.
      decoder: what decodes it.
      duration: what libav's duration of it is worth.
      timestamps: what tells where its sound lies in time.
      read_length: reads how much sound its header declares.
      read_notes: reads what recorders noted in it, such as the time of recording.
      has_checksums: its frames have checksums, which tell damage.
      configured: the codec of which packets in it decode to nonsense without a configuration.
      is_start_lost: whether damage lies before the first sound, where it begins late by timestamps.
      is_tail_lost: whether damage lies behind the last packet, given where in the file that is.
      frame_bytes: the size of a frame by its first 16 bytes, None where there is none. Formats that
        have no header are recognised by frames that follow each other without a gap.
      frame_mask: the bits that the heads of all frames share, from the first on. What begins with
        such a head, and goes on with others far behind it, is damaged in between.
      search_bytes: how much else may lie before its beginning, such as the end of a frame or packet
        whose beginning was lost. Tags and zeros may lie before all formats.
      later_signature: what it is found by behind something else; None where by its signature.
      marks_in_samples: what it may be found by where its bytes were written as samples of sound.
      find_next: finds a recording that was written behind another in the same file, given how much
        of the content has been read; None where read_length tells, or nothing can.
      is_single: tells at once whether there seems to be no such other recording: it would mislead a
        decoder that seeks.
      big_endian: samples whose byte order isn't stated are big-endian.
      undecodable: what it is, where nothing here can decode it.
    """

    name: str
    demuxer: str
    signature: bytes
    extensions: str = ""
    decoder: Decoder = Decoder.LIBAV
    duration: Duration = Duration.GUESSED
    timestamps: Timestamps = Timestamps.NONE
    read_length: Callable[[FilePart], DeclaredLength] = lambda content: DeclaredLength()
    read_notes: Callable[[FilePart], Iterable[Note]] = lambda content: ()
    has_checksums: bool = False
    configured: str = ""
    is_start_lost: Callable[[FilePart], bool] = lambda content: False
    is_tail_lost: Callable[[FilePart, int], bool] = lambda content, offset: False
    frame_bytes: Callable[[bytes], int | None] | None = None
    frame_mask: bytes = b""
    search_bytes: int = 0
    later_signature: bytes | None = None
    marks_in_samples: tuple[bytes, ...] = ()
    find_next: Callable[[FilePart, int], FilePart | None] | None = None
    is_single: Callable[[FilePart], bool] = lambda content: True
    big_endian: bool = False
    undecodable: str = ""


_SNDFILE = Decoder.LIBSNDFILE
_IF_WHOLE, _TOLD, _COUNTED = Duration.IF_WHOLE, Duration.TOLD, Duration.COUNTED
_FROM_ZERO, _FROM_FIRST, _BYTES = Timestamps.FROM_ZERO, Timestamps.FROM_FIRST, Timestamps.BYTES

_FAR = 1 << 20
_DTS = (
    rb"\x7f\xfe\x80\x01|\xfe\x7f\x01\x80"  # 16 bits of each 16, in both byte orders
    rb"|\x1f\xff\xe8\x00\x07[\xf0-\xff]|\xff\x1f\x00\xe8[\xf0-\xff]\x07"  # 14 bits of each
)


def _packets(before: int, behind: int) -> bytes:
    """Eight packets of an MPEG transport stream, with so many more bytes around each."""
    header = rb"G[\x00-\x7f].[\x10-\x3f\x50-\x7f\x90-\xbf\xd0-\xff]"
    return b"(?:.{%d}%s.{%d}){8}" % (before, header, 184 + behind)


FORMATS = (
    Format(
        "wav", "wav", rb"(RIFF|RIFX)....WAVE", "wav wave bwf", decoder=_SNDFILE,
        duration=_IF_WHOLE, read_length=containers.wav_length, read_notes=containers.wav_notes,
    ),
    Format(
        "rf64", "wav", rb"(RF64|BW64)....WAVE", "rf64", decoder=_SNDFILE,
        duration=_IF_WHOLE, read_length=containers.wav_length, read_notes=containers.wav_notes,
    ),
    Format(
        "w64", "w64", rb"riff\x2e\x91\xcf\x11\xa5\xd6\x28\xdb\x04\xc1\x00\x00", "w64",
        decoder=_SNDFILE, duration=_IF_WHOLE, read_length=containers.w64_length,
    ),
    Format(
        "flac", "flac", rb"fLaC[\x00\x80]\x00\x00\x22", "flac", decoder=_SNDFILE, duration=_COUNTED,
        timestamps=Timestamps.NUMBERS, read_length=containers.flac_length,
        find_next=containers.next_flac, is_single=containers.is_one_flac,
    ),
    Format(
        "ogg", "ogg", rb"OggS", "oga ogg opus spx ogm ogv ogx", decoder=Decoder.OGG_CHAINS,
        duration=_IF_WHOLE, timestamps=Timestamps.FROM_ZERO_IF_NEAR,
        read_length=containers.ogg_length, is_start_lost=lost_ends.is_ogg_start_lost,
        is_tail_lost=lost_ends.is_ogg_tail_lost,
    ),
    Format(
        "aiff", "aiff", rb"FORM....AIF[FC]", "aif aifc aiff", decoder=_SNDFILE,
        duration=_TOLD, read_length=containers.aiff_length, big_endian=True,
    ),
    Format(
        "caf", "caf", rb"caff", "caf",
        duration=_IF_WHOLE, timestamps=_FROM_ZERO, read_length=containers.caf_length,
    ),
    Format(
        "au", "au", rb"\.snd|dns\.", "au snd", decoder=_SNDFILE,
        read_length=containers.au_length, big_endian=True,
    ),
    Format(
        "mp4", "mov", rb"....(ftyp|moov|mdat|free|skip|wide|pnot)",
        "3ga aax alac f4a m4a m4b m4p m4r 3g2 3gp 3gpp f4v m4v mov mp4 qt",
        duration=_TOLD, timestamps=_FROM_ZERO, read_length=mp4_length,
    ),
    Format(
        "matroska", "matroska", rb"\x1a\x45\xdf\xa3", "mka weba mkv webm",
        duration=_TOLD, timestamps=_FROM_ZERO, read_length=containers.matroska_length,
        is_start_lost=lost_ends.is_matroska_start_lost,
    ),
    Format(
        "asf", "asf", rb"\x30\x26\xb2\x75\x8e\x66\xcf\x11\xa6\xd9\x00\xaa\x00\x62\xce\x6c",
        "wma asf wmv", timestamps=_FROM_ZERO, read_length=containers.asf_length,
        is_start_lost=lost_ends.is_asf_start_lost,
    ),
    Format(
        "avi", "avi", rb"RIFF....AVI ", "amv avi divx",
        duration=_IF_WHOLE, read_length=containers.avi_length,
    ),
    Format(
        "flv", "flv", rb"FLV\x01", "flv",
        duration=_TOLD, timestamps=_FROM_ZERO, configured="aac",
        is_start_lost=lost_ends.is_flv_start_lost,
    ),
    Format(
        "mpegts", "mpegts", rb"(G.{187}){5}|(.{4}G.{187}){5}", "m2t m2ts mts tod ts",
        timestamps=_FROM_FIRST, is_tail_lost=lost_ends.is_mpegts_tail_lost,
        search_bytes=1 << 16, frame_mask=b"\xff",
        later_signature=b"|".join([_packets(0, 0), _packets(4, 0), _packets(0, 16)]),
    ),
    Format(
        "mpeg", "mpeg",
        rb"\x00\x00\x01\xba([\x20-\x2f].{7}|[\x40-\x7f].{9}\xff{0,7})\x00\x00\x01[\xb9-\xff]",
        "m1v mpe mpeg mpg vob", timestamps=_FROM_FIRST, search_bytes=1 << 18,
    ),
    Format(
        "dv", "dv", rb"\x1f\x07\x00[\x3f\xbf].{76}\x3f\x07\x00", "dif dv", search_bytes=1 << 18,
    ),
    Format(
        "mxf", "mxf", rb"\x06\x0e\x2b\x34\x02\x05\x01\x01\x0d\x01\x02", "mxf",
        timestamps=_FROM_ZERO,
    ),
    Format(
        "wtv", "wtv", rb"\xb7\xd8\x00\x20\x37\x49\xda\x11\xa6\x4e\x00\x07\xe9\x5e\xad\x8d", "wtv",
        duration=_IF_WHOLE, timestamps=_FROM_FIRST,
    ),
    Format("rm", "rm", rb"\.RMF", "ra rm rmvb", duration=_TOLD),
    Format("amr", "amr", rb"#!AMR(-WB)?\n|#!AMR(-WB)?_MC", "amr awb"),
    Format(
        "wavpack", "wv", rb"wvpk", "wv",
        duration=_COUNTED, timestamps=_FROM_ZERO, has_checksums=True,
    ),
    Format("ape", "ape", rb"MAC .[\x0d-\x10]", "ape", duration=_TOLD),
    Format("tta", "tta", rb"TTA1", "tta", duration=_COUNTED, has_checksums=True),
    Format("tak", "tak", rb"tBaK", "tak", duration=_TOLD),
    Format("mpc", "mpc", rb"MP\+[\x07\x17]", "mpc", duration=_TOLD),
    Format("mpc", "mpc8", rb"MPCK", "mpc", duration=_TOLD),
    Format("shorten", "shn", rb"ajkg", "shn"),
    Format("dsf", "dsf", rb"DSD \x1c", "dsf", duration=_TOLD),
    Format("dff", "iff", rb"FRM8", "dff", duration=_IF_WHOLE),
    Format("svx", "iff", rb"FORM....8SVX"),
    Format("xwma", "xwma", rb"RIFF....XWMA"),
    Format("qcp", "qcp", rb"RIFF....QLCM", "qcp"),
    Format("oma", "oma", rb"EA3[\x01\x02]", "oma"),
    Format("voc", "voc", rb"Creative Voice File\x1a", "voc", read_length=containers.voc_length),
    Format(
        "nistsphere", "nistsphere", rb"NIST_1A\n", "nist sph", read_length=containers.nist_length
    ),
    Format("ircam", "ircam", rb"\x64\xa3[\x01-\x04]\x00|\x00[\x01-\x04]\xa3\x64"),
    Format("dss", "dss", rb"[\x02\x03]dss", "dss"),
    Format(
        "ds2", "", rb"[\x01-\x07](ds2|enc)", "ds2",
        undecodable="dictation in Olympus' DS2, which only its makers' software can decode",
    ),
    Format(
        "wac", "", rb"WAac", "wac",
        undecodable="Wildlife Acoustics' WAC, which its maker's Kaleidoscope converts to wav",
    ),
    Format("aa", "", rb".{4}\x57\x90\x75\x36", "aa", undecodable="an encrypted book of Audible"),
    Format(
        "spdif", "spdif", rb"\x72\xf8\x1f\x4e[\x01-\x1f]", "spdif", search_bytes=_FAR,
        later_signature=rb"(\x72\xf8\x1f\x4e[\x01-\x1f]).{60,62000}?\1",
        marks_in_samples=(b"\x72\xf8\x1f\x4e",),
    ),
    Format(
        "dts", "dts", _DTS, "dts", search_bytes=_FAR,
        timestamps=_BYTES,
        later_signature=b"(" + _DTS + rb").{90,16400}?\1",
        marks_in_samples=(b"\x7f\xfe\x80\x01", b"\xfe\x7f\x01\x80", b"\xff\x1f\x00\xe8"),
    ),
    Format(
        "ac3", "ac3", rb"\x0b\x77...[\x00-\x57]", "ac3", search_bytes=_FAR,
        timestamps=_BYTES,
        marks_in_samples=(b"\x0b\x77",),
        frame_bytes=containers.ac3_frame_bytes, frame_mask=b"\xff\xff\0\0\xc0\xf8",
        read_length=containers.ac3_length,
    ),
    Format(
        "eac3", "eac3", rb"\x0b\x77...[\x58-\x87]", "eac3 ec3", search_bytes=_FAR,
        timestamps=_BYTES,
        frame_bytes=containers.ac3_frame_bytes, frame_mask=b"\xff\xff\0\0\xc0\xf8",
        read_length=containers.ac3_length,
    ),
    Format(
        "latm", "loas", rb"\x56[\xe0-\xff]", "latm loas", search_bytes=_FAR,
        timestamps=_BYTES,
        frame_bytes=containers.loas_frame_bytes, frame_mask=b"\xff\xe0",
    ),
    Format(
        "adts", "aac", rb"\xff[\xf0\xf1\xf8\xf9]", "aac adts", search_bytes=_FAR,
        timestamps=_BYTES,
        frame_bytes=containers.adts_frame_bytes, frame_mask=b"\xff\xff\xfd\xc0",
        read_length=containers.adts_length,
    ),
    Format(
        "mp3", "mp3", rb"\xff[\xe2-\xff]", "mp1 mp2 mp3 mpa mpga", search_bytes=_FAR,
        timestamps=_BYTES,
        frame_bytes=containers.mpeg_frame_bytes, frame_mask=b"\xff\xfe\x0c",
        # without layer I, as which small negative numbers pass
        later_signature=rb"\xff[\xe2-\xe5\xea-\xed\xf2-\xf5\xfa-\xfd]",
        read_length=containers.mp3_length,
    ),
    Format("gsm", "gsm", rb"([\xd0-\xdf].{32}){50}|([\xd0-\xdf].{32}){10,49}\Z", "gsm"),
)  # fmt: skip
"""All that are known here, in the order in which they are looked for."""

HEADERLESS = {
    "g722": "G.722",
    "g726": "G.726",
    "g729": "G.729",
    "vox": "Dialogic ADPCM",
}
"""Formats that nothing in a file tells: by the extension of its name, what it is said to be."""

AUDIO_EXTENSIONS = frozenset(
    " ".join([*HEADERLESS, *(each.extensions for each in FORMATS)]).split()
)
"""Of names that can be audio. Files that can't be heard are listed too, so that this is told."""
