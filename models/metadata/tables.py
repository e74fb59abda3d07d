"""Tables of flatbuffers, read and written slot by slot, for schemas without generated code.

The format: https://flatbuffers.dev/internals
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import flatbuffers
from flatbuffers import number_types
from flatbuffers.table import Table


class TableReader:
    """A table of a flatbuffer, read field by field; a field that is absent reads as None.

    Bytes that are damaged raise struct.error, TypeError, ValueError or LookupError.
    """

    def __init__(self, content: bytes, position: int) -> None:
        self._table = Table(content, position)

    @classmethod
    def root(cls, content: bytes) -> TableReader:
        """The table that a flatbuffer begins with."""
        return cls(content, struct.unpack_from("<I", content)[0])

    def string(self, slot: int) -> str | None:
        """Text, UTF-8 in the file."""
        content = self.content(slot)
        return None if content is None else content.decode()

    def uint(self, slot: int) -> int | None:
        """A number of four bytes."""
        value = self._scalar(slot, number_types.Uint32Flags)
        return None if value is None else int(value)

    def ubyte(self, slot: int) -> int | None:
        """A number of one byte, an enum's for one."""
        value = self._scalar(slot, number_types.Uint8Flags)
        return None if value is None else int(value)

    def float32(self, slot: int) -> float | None:
        """A number of four bytes with a fraction."""
        value = self._scalar(slot, number_types.Float32Flags)
        return None if value is None else float(value)

    def content(self, slot: int) -> bytes | None:
        """A vector of bytes."""
        offset = self._offset(slot)
        if not offset:
            return None
        start, count = self._table.Vector(offset), self._table.VectorLen(offset)
        content = bytes(self._table.Bytes[start : start + count])
        if len(content) < count:
            raise ValueError(f"{count} bytes are announced and {len(content)} are there")
        return content

    def table(self, slot: int) -> TableReader | None:
        """A table within this one."""
        at = self._position(slot)
        return None if at is None else self._table_at(at)

    def tables(self, slot: int) -> list[TableReader]:
        """A vector of tables; none where it is absent."""
        offset = self._offset(slot)
        if not offset:
            return []
        start, count = self._table.Vector(offset), self._table.VectorLen(offset)
        return [self._table_at(start + 4 * i) for i in range(count)]

    def first(self, slot: int) -> TableReader | None:
        """The first of a vector of tables."""
        return next(iter(self.tables(slot)), None)

    def _scalar(self, slot: int, flags: Any) -> Any:
        at = self._position(slot)
        return None if at is None else self._table.Get(flags, at)

    def _table_at(self, position: int) -> TableReader:
        return TableReader(self._table.Bytes, self._table.Indirect(position))

    def _position(self, slot: int) -> int | None:
        offset = self._offset(slot)
        return self._table.Pos + offset if offset else None

    def _offset(self, slot: int) -> int:
        """Where a field lies in its table, 0 where it is absent."""
        return int(self._table.Offset(4 + 2 * slot))


class Scalar(NamedTuple):
    """A number and the flatbuffers type that it is written as."""

    flags: Any
    value: float


def uint(value: int) -> Scalar:
    """A number of four bytes, to be written."""
    return Scalar(number_types.Uint32Flags, value)


def ubyte(value: int) -> Scalar:
    """A number of one byte, to be written."""
    return Scalar(number_types.Uint8Flags, value)


def float32(value: float) -> Scalar:
    """A number of four bytes with a fraction, to be written."""
    return Scalar(number_types.Float32Flags, value)


def write_strings(builder: flatbuffers.Builder, texts: Mapping[int, str | None]) -> dict[int, int]:
    """Write text for slots of a table: where each lies, without those that are None."""
    return {slot: builder.CreateString(text) for slot, text in texts.items() if text is not None}


def write_table(builder: flatbuffers.Builder, fields: Mapping[int, int | Scalar]) -> int:
    """Write a table of numbers and of what was written before; return where it lies.

    A number that is 0 is left out, as it is what an absent one means.
    """
    builder.StartObject(max(fields, default=-1) + 1)
    for slot, field in fields.items():
        if isinstance(field, Scalar):
            builder.PrependSlot(field.flags, slot, field.value, 0)
        else:
            builder.PrependUOffsetTRelativeSlot(slot, field, 0)
    return int(builder.EndObject())


def write_vector(builder: flatbuffers.Builder, tables: Sequence[int]) -> int:
    """Write a vector of tables that were written before; return where it lies."""
    builder.StartVector(4, len(tables), 4)
    for table in reversed(tables):
        builder.PrependUOffsetTRelative(table)
    return int(builder.EndVector())
