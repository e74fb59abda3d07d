"""The formats of audio, a row each: all that is known of one, but for the parser of its header."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum, auto

from earmark.transforms.audio import containers
from earmark.transforms.audio.containers import Note
from earmark.transforms.audio.declared_length import DeclaredLength
from earmark.transforms.audio.file_parts import FilePart


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
      read_length: reads how much sound its header declares.
      read_notes: reads what recorders noted in it, such as the time of recording.
      frame_bytes: the size of a frame by its first six bytes, None where there is none. Formats
        that have no header are recognised by frames that follow each other without a gap.
      junk_bytes: how much else may lie before its beginning.
      big_endian: samples whose byte order isn't stated are big-endian.
    """

    name: str
    demuxer: str
    signature: bytes
    extensions: str = ""
    decoder: Decoder = Decoder.LIBAV
    duration: Duration = Duration.GUESSED
    read_length: Callable[[FilePart], DeclaredLength] = lambda content: DeclaredLength()
    read_notes: Callable[[FilePart], Iterable[Note]] = lambda content: ()
    frame_bytes: Callable[[bytes], int | None] | None = None
    junk_bytes: int = 0
    big_endian: bool = False


_SNDFILE = Decoder.LIBSNDFILE
_IF_WHOLE, _TOLD, _COUNTED = Duration.IF_WHOLE, Duration.TOLD, Duration.COUNTED

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
    Format("flac", "flac", rb"fLaC", "flac", decoder=_SNDFILE, duration=_COUNTED),
    Format(
        "ogg", "ogg", rb"OggS", "oga ogg opus spx ogm ogv ogx", decoder=Decoder.OGG_CHAINS,
        duration=_IF_WHOLE, read_length=containers.ogg_length,
    ),
    Format(
        "aiff", "aiff", rb"FORM....AIF[FC]", "aif aifc aiff", decoder=_SNDFILE,
        duration=_TOLD, read_length=containers.aiff_length, big_endian=True,
    ),
    Format("caf", "caf", rb"caff", "caf", duration=_IF_WHOLE, read_length=containers.caf_length),
    Format(
        "au", "au", rb"\.snd|dns\.", "au snd", decoder=_SNDFILE,
        read_length=containers.au_length, big_endian=True,
    ),
    Format(
        "mp4", "mov", rb"....(ftyp|moov|mdat|free|skip|wide|pnot)",
        "3ga aax alac f4a m4a m4b m4p m4r 3g2 3gp 3gpp f4v m4v mov mp4 qt",
        duration=_TOLD, read_length=containers.mp4_length,
    ),
    Format(
        "matroska", "matroska", rb"\x1a\x45\xdf\xa3", "mka weba mkv webm",
        duration=_TOLD, read_length=containers.matroska_length,
    ),
    Format(
        "asf", "asf", rb"\x30\x26\xb2\x75\x8e\x66\xcf\x11\xa6\xd9\x00\xaa\x00\x62\xce\x6c",
        "wma asf wmv", read_length=containers.asf_length,
    ),
    Format(
        "avi", "avi", rb"RIFF....AVI ", "amv avi divx",
        duration=_IF_WHOLE, read_length=containers.avi_length,
    ),
    Format("flv", "flv", rb"FLV\x01", "flv", duration=_TOLD),
    Format("mpegts", "mpegts", rb"(G.{187}){5}|(.{4}G.{187}){5}", "m2t m2ts mts tod ts"),
    Format("mpeg", "mpeg", rb"\x00\x00\x01\xba", "m1v mpe mpeg mpg vob"),
    Format("mxf", "mxf", rb"\x06\x0e\x2b\x34\x02\x05\x01\x01\x0d\x01\x02", "mxf"),
    Format(
        "wtv", "wtv", rb"\xb7\xd8\x00\x20\x37\x49\xda\x11\xa6\x4e\x00\x07\xe9\x5e\xad\x8d", "wtv",
        duration=_IF_WHOLE,
    ),
    Format("rm", "rm", rb"\.RMF", "ra rm rmvb", duration=_TOLD),
    Format("amr", "amr", rb"#!AMR", "amr awb"),
    Format("wavpack", "wv", rb"wvpk", "wv", duration=_COUNTED),
    Format("ape", "ape", rb"MAC ", "ape", duration=_TOLD),
    Format("tta", "tta", rb"TTA1", "tta", duration=_COUNTED),
    Format("tak", "tak", rb"tBaK", "tak", duration=_TOLD),
    Format("mpc", "mpc", rb"MP\+", "mpc", duration=_TOLD),
    Format("mpc", "mpc8", rb"MPCK", "mpc", duration=_TOLD),
    Format("shorten", "shn", rb"ajkg", "shn"),
    Format("dsf", "dsf", rb"DSD ", "dsf", duration=_TOLD),
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
    Format("dts", "dts", rb"\x7f\xfe\x80\x01", "dts"),
    Format("ac3", "ac3", rb"\x0b\x77...[\x00-\x57]", "ac3"),
    Format("eac3", "eac3", rb"\x0b\x77...[\x58-\x87]", "eac3 ec3"),
    Format(
        "adts", "aac", rb"\xff[\xf0\xf1\xf8\xf9]", "aac adts",
        frame_bytes=containers.adts_frame_bytes,
    ),
    Format(
        "mp3", "mp3", rb"\xff[\xe2-\xff]", "mp1 mp2 mp3 mpa mpga",
        frame_bytes=containers.mpeg_frame_bytes, junk_bytes=1 << 16,
        read_length=containers.mp3_length,
    ),
)  # fmt: skip
"""All that are known here, in the order in which they are looked for."""

_WITHOUT_A_ROW = "aa ds2 dss dv g722 g726 g729 gsm vox wac"

AUDIO_EXTENSIONS = frozenset(
    " ".join([_WITHOUT_A_ROW, *(each.extensions for each in FORMATS)]).split()
)
"""Of names that can be audio: those of all formats, and of some that no row is about.

Files of the latter are listed so that it is told that they can't be heard.
"""
