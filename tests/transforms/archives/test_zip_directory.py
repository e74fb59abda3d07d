from __future__ import annotations

import io
import random
import struct
import zipfile
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from earmark.transforms.archives.bounded_files import HOSTILE_ARCHIVE_ERRORS, BoundedFile
from earmark.transforms.archives.zip_directory import ZipEntry, zip_entries
from earmark.transforms.errors import DamagedError

ALL_ONES = 0xFFFFFFFF


def own(content: bytes) -> list[ZipEntry]:
    return list(zip_entries(BoundedFile(io.BytesIO(content), 1 << 20)))


def by_zipfile(content: bytes) -> list[ZipEntry]:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return [
            ZipEntry(
                each.filename,
                each.header_offset,
                each.compress_size,
                each.file_size,
                each.CRC,
                each.compress_type,
                each.flag_bits,
                each.external_attr >> 16,
            )
            for each in archive.infolist()
        ]


def made(*names: str, comment: bytes = b"", method: int = zipfile.ZIP_STORED) -> bytes:
    file, chance = io.BytesIO(), random.Random(1)
    with zipfile.ZipFile(file, "w", method) as archive:
        for number, name in enumerate(names):
            archive.writestr(name, chance.randbytes(number * 50) + bytes(number * 50))
        archive.comment = comment
    return file.getvalue()


class Unseekable(io.RawIOBase):
    """What a zip is written to with sizes that follow the members."""

    def __init__(self) -> None:
        self.content = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, part: bytes) -> int:
        self.content += part
        return len(part)


def streamed() -> bytes:
    file = Unseekable()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.wav", bytes(5000))
        with archive.open("b.wav", "w", force_zip64=True) as member:
            member.write(b"x" * 3000)
    return bytes(file.content)


def in_zip64(changed: tuple[int, ...] = (1, 2, 3), extra: bytes = b"") -> bytes:
    """A directory of one entry, of whose size, packed size and offset some stand in its fields."""
    numbers = {1: 5 << 40, 2: 6 << 40, 3: 7 << 40}
    small = [ALL_ONES if place in changed else 9 for place in (2, 1, 3)]
    longs = b"".join(struct.pack("<Q", numbers[place]) for place in changed)
    field = extra + struct.pack("<HH", 1, len(longs)) + longs
    head = struct.pack("<4s4B4HI2I5H2I", b"PK\1\2", 45, 3, 45, 0, 0, 0, 0, 0, 77, *small[:2],
                       5, len(field), 2, 0, 0, 0o100644 << 16, small[2])  # fmt: skip
    entry = head + b"a.wav" + field + b"hi"
    record = struct.pack("<4sQ2H2I4Q", b"PK\6\6", 44, 45, 45, 0, 0, 1, 1, len(entry), 0)
    locator = struct.pack("<4sIQI", b"PK\6\7", 0, len(entry), 1)
    end = struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, 1, 1, ALL_ONES, ALL_ONES, 0)
    return entry + record + locator + end


def many_entries() -> bytes:
    """More of a directory than is read at once, with long fields and comments."""
    file, chance = io.BytesIO(), random.Random(2)
    with zipfile.ZipFile(file, "w") as archive:
        for number in range(300):
            entry = zipfile.ZipInfo(f"{number}/{'n' * chance.randrange(9000)}.wav")
            size = chance.choice((0, 9, 60_000))
            entry.extra = struct.pack("<HH", 0x9999, size) + bytes(size) if size else b""
            entry.comment = bytes(chance.choice((0, 7, 65_535)))
            archive.writestr(entry, b"")
    return file.getvalue()


CORPUS: dict[str, Callable[[], bytes]] = {
    "nothing in it": lambda: made(),
    "stored": lambda: made("a.wav", "b/c.flac", "d/"),
    "deflated": lambda: made("a.wav", "b/c.flac", "d/", method=zipfile.ZIP_DEFLATED),
    "lzma": lambda: made("a.wav", "b.wav", method=zipfile.ZIP_LZMA),
    "names beyond ASCII": lambda: made("ü.wav", "\N{SNOWMAN}/x.wav", "a\\b.wav"),
    "names in cp437": lambda: made("a_b.wav", "c.wav").replace(b"a_b.wav", b"a\x81b.wav"),
    "a name with a NUL": lambda: made("a_b.wav", "c.wav").replace(b"a_b.wav", b"a\0b.wav"),
    "a comment": lambda: made("a.wav", comment=b"what a comment\0\0"),
    "the longest comment": lambda: made("a.wav", comment=b"PK" * 32_767 + b"x"),
    "a comment that looks like an end": lambda: made("a.wav", comment=b"PK\5\6" + bytes(40)),
    "a program in front": lambda: b"#!/bin/sh\n" * 777 + made("a.wav", "b.wav", comment=b"x"),
    "junk behind": lambda: made("a.wav") + b"junk",
    "streamed": streamed,
    "zip64": in_zip64,
    "zip64 behind something": lambda: bytes(999) + in_zip64(),
    "zip64 size": lambda: in_zip64((1,)),
    "zip64 packed size and offset": lambda: in_zip64((2, 3)),
    "zip64 behind other fields": lambda: in_zip64(extra=struct.pack("<HHH", 0x5455, 2, 1)),
    "many": many_entries,
}  # fmt: skip


@pytest.mark.parametrize("name", CORPUS)
def test_entries_are_those_that_zipfile_finds(name):
    content = CORPUS[name]()
    expected = by_zipfile(content)
    assert own(content) == expected
    assert expected or name in ("nothing in it", "a comment that looks like an end")


@given(
    names=st.lists(st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=20)),
    comment=st.binary(max_size=60),
    in_front=st.binary(max_size=60),
)
@settings(max_examples=200, deadline=None)
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_so_they_are_in_zips_of_any_names_and_comments(names, comment, in_front):
    names = [name for name in names if not name.startswith("\0")]  # zipfile cannot write those
    content = in_front + made(*names, comment=comment)
    assert own(content) == by_zipfile(content)


@pytest.mark.parametrize("name", ["stored", "streamed", "zip64", "a comment"])
def test_damage_is_found_wherever_zipfile_finds_it_and_gives_nothing_else(name):
    whole, chance = CORPUS[name](), random.Random(7)
    for number in range(3000):
        damaged = bytearray(whole[: chance.randrange(1, len(whole))] if number % 3 == 0 else whole)
        for _ in range(number % 3):
            damaged[chance.randrange(len(damaged))] = chance.choice(
                (0, 1, 255, chance.randrange(256))
            )
        try:
            expected = by_zipfile(bytes(damaged))
        except HOSTILE_ARCHIVE_ERRORS:
            expected = None
        try:
            found = own(bytes(damaged))
        except (DamagedError, *HOSTILE_ARCHIVE_ERRORS):
            continue  # a name that breaks off is none, though zipfile takes it for one
        assert found == expected


def test_an_entry_of_nothing_but_empty_fields_is_read_through_once():
    fields = struct.pack("<HH", 0x9999, 0) * (0xFFFF // 4)
    names = [f"{number}.wav" for number in range(20)]
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name in names:
            entry = zipfile.ZipInfo(name)
            entry.extra = fields
            archive.writestr(entry, b"")
    assert [each.name for each in own(file.getvalue())] == names


def test_a_directory_is_never_held_as_a_whole():
    content, read = many_entries(), []

    class Counting(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            read.append(size)
            return super().read(size)

    entries = zip_entries(BoundedFile(Counting(content), 1 << 20))
    next(entries)
    assert sum(read) < 3 << 20 < len(content)
    assert max(read) <= 1 << 20
