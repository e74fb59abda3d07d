"""Reading what a .tflite file says about itself.

Metadata that has to be odd is written slot by slot, as metadata_schema.fbs numbers the fields.
"""

from __future__ import annotations

import contextlib
import io
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from earmark.models.errors import ModelError
from earmark.models.metadata import reading as metadata
from earmark.models.metadata.reading import (
    CalibrationMetadata,
    InputMetadata,
    LabelFile,
    ModelMetadata,
    OutputMetadata,
)
from earmark.models.metadata.writing import pack

CALIBRATION_FILE = 4


@pytest.fixture(scope="module")
def bare(tiny_model: Callable[..., bytes]) -> bytes:
    return tiny_model(np.eye(3, 8, dtype=np.float32))


@pytest.fixture(scope="module")
def two_headed(odd_model: Callable[..., bytes], port: Callable[..., Any]) -> bytes:
    return odd_model([port([1, 8])], [port([1, 3]), port([1, 2])])


@pytest.fixture(scope="module")
def described(two_headed: bytes) -> bytes:
    """A model that uses everything that is read."""
    first = OutputMetadata(
        name="calls",
        label_files=(
            LabelFile("a.txt", None, ("bittern", "water rail", "Rohrdommel, große")),
            LabelFile("a_de.txt", "de", ("x", "y", "z")),
        ),
        score_threshold=0.25,
    )
    second = OutputMetadata(
        label_files=(LabelFile("b.txt", None, ("on", "off")),),
        calibration=CalibrationMetadata("log", 0.5, "1,2,3\n"),
    )
    audio = InputMetadata("audio", sample_rate_hz=32_000, channels=1)
    return pack(two_headed, ModelMetadata("fen", inputs=(audio,), outputs=(first, second)))


def test_yamnet_says_what_its_publisher_wrote(yamnet_path: Path) -> None:
    read = metadata.read(yamnet_path.read_bytes())
    assert read.name == "yamnet/classification"
    assert read.description is not None
    assert read.description.startswith("Recognizes 521 sound event classes")
    assert (read.version, read.author) == ("v1", "TensorFlow")
    assert read.license is not None
    assert read.license.startswith("Apache License. Version 2.0")
    assert (read.sample_rate_hz, read.channels) == (16_000, 1)
    assert read.min_parser_version == "1.3.0"
    assert [len(each.label_files) for each in read.outputs] == [1]


def test_labels_of_yamnet_are_the_lines_of_its_packed_file(yamnet_path: Path) -> None:
    with zipfile.ZipFile(yamnet_path) as archive:
        lines = archive.read("yamnet_label_list.txt").decode().splitlines()
    labels = metadata.read(yamnet_path.read_bytes()).labels
    assert labels is not None
    assert list(labels) == lines
    assert (len(labels), labels[0]) == (521, "Speech")


def test_a_model_without_metadata_says_nothing(bare: bytes, shared: Path) -> None:
    assert metadata.read(bare) == ModelMetadata()
    real = (shared / "models" / "no_metadata_5360x527.tflite").read_bytes()
    assert metadata.read(real) == ModelMetadata()


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "the file is empty"),
        (b"<!DOCTYPE html><html>Not found</html>", "begins with b'<!DOCTYPE html>"),
        (b"RIFF\x00\x00\x00\x00WAVEfmt ", "not a TFLite model"),
        (b"TFL3", "not a TFLite model"),
        (b"\x1c\x00\x00\x00TFL3", "damaged or cut short"),
        (b"\xff\xff\xff\xffTFL3" + bytes(64), "damaged or cut short"),
    ],
)
def test_what_is_no_model_is_refused_in_one_line(content: bytes, says: str) -> None:
    with pytest.raises(ModelError, match=says) as refused:
        metadata.read(content)
    assert "\n" not in str(refused.value)


def test_a_model_whose_label_file_is_cut_off_is_refused(described: bytes) -> None:
    with pytest.raises(ModelError, match=r"label file 'a\.txt' cannot be read"):
        metadata.read(described[:-10])


def test_labels_are_those_of_no_language(bare: bytes) -> None:
    files = {"labels_de.txt": "de", "labels.txt": None, "labels_fr.txt": "fr"}
    read = metadata.read(with_files(bare, files))
    assert read.labels == ("labels.txt",)
    assert read.outputs[0].locales == ("de", "fr")


def test_labels_of_a_model_that_has_them_in_languages_only_are_the_first(bare: bytes) -> None:
    files: dict[str, str | None] = {"labels_de.txt": "de", "labels_en.txt": "en"}
    assert metadata.read(with_files(bare, files)).labels == ("labels_de.txt",)


def test_names_in_a_language_are_of_that_one_and_no_other(bare: bytes) -> None:
    files = {"labels.txt": None, "labels_de.txt": "de", "labels_de_AT.txt": "de-AT"}
    (output,) = metadata.read(with_files(bare, files)).outputs
    assert output.display_names("de") == ("labels_de.txt",)
    assert output.display_names("de-AT") == ("labels_de_AT.txt",)
    assert output.display_names("fr") is None


def test_a_locale_of_no_letters_is_none(bare: bytes) -> None:
    (output,) = metadata.read(with_files(bare, {"labels.txt": ""})).outputs
    assert output.label_files == (LabelFile("labels.txt", None, ("labels.txt",)),)
    assert output.locales == ()


def test_a_packed_file_of_another_kind_is_not_taken_for_labels(bare: bytes) -> None:
    assert metadata.read(with_files(bare, {"a.txt": None}, kind=1)).labels is None


def test_labels_that_are_not_utf_8_are_refused(bare: bytes) -> None:
    with pytest.raises(ModelError, match=r"label file 'a\.txt' .* UTF-8\? \('utf-8' codec"):
        metadata.read(with_files(bare, {"a.txt": None}, content=b"\xff\xfe\n"))


def test_a_calibration_without_its_file_is_refused(bare: bytes) -> None:
    with pytest.raises(ModelError, match="calibrates scores, but names no calibration file"):
        metadata.read(with_files(bare, {"labels.txt": None}, transformation=1))


@pytest.mark.parametrize("transformation", [3, 255])
def test_an_unknown_transformation_is_refused(bare: bytes, transformation: int) -> None:
    model = with_files(bare, {"a": None}, CALIBRATION_FILE, transformation=transformation)
    with pytest.raises(ModelError, match=f"transformation {transformation}, and only 0 to 2"):
        metadata.read(model)


def test_calibration_parameters_that_are_not_utf_8_are_refused(bare: bytes) -> None:
    model = with_files(bare, {"a": None}, CALIBRATION_FILE, content=b"\xe9", transformation=1)
    with pytest.raises(ModelError, match=r"score calibration file 'a' .* UTF-8\?"):
        metadata.read(model)


@pytest.mark.parametrize("flipped", [0x01, 0x04, 0x10, 0x80, 0xFF])
def test_any_damaged_byte_is_a_model_error_or_goes_unnoticed(
    described: bytes, flipped: int
) -> None:
    for place in range(len(described)):
        damaged = bytearray(described)
        damaged[place] ^= flipped
        with contextlib.suppress(ModelError):
            metadata.read(bytes(damaged))


def test_any_cut_that_loses_labels_is_a_model_error(described: bytes) -> None:
    for kept in range(len(described)):
        with pytest.raises(ModelError):
            metadata.read(described[:kept])


def test_a_list_that_would_take_for_ever_is_refused(bare: bytes) -> None:
    with pytest.raises(ModelError, match="1000000 entries in OutputTensorMetadata"):
        metadata.read(with_files(bare, {"a.txt": None}, outputs=1_000_000))
    with pytest.raises(ModelError, match="1000 entries in AssociatedFiles"):
        metadata.read(with_files(bare, dict.fromkeys(map(str, range(1000)))))


@pytest.mark.parametrize("packed_as", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2])
def test_packed_files_that_would_fill_the_memory_are_refused(bare: bytes, packed_as: int) -> None:
    model = with_files(bare, {"a.txt": None}, content=bytes(1 << 27), packed_as=packed_as)
    assert len(model) < 1 << 18
    with pytest.raises(ModelError, match=r"larger than 64 MB|neither stored nor deflated"):
        metadata.read(model)


def test_labels_may_be_deflated(bare: bytes) -> None:
    model = with_files(bare, {"a.txt": None}, packed_as=zipfile.ZIP_DEFLATED)
    assert metadata.read(model).labels == ("a.txt",)


@pytest.mark.parametrize(
    ("content", "lines"),
    [
        (b"", ()),
        (b"a", ("a",)),
        (b"a\nb\n", ("a", "b")),
        (b"a\r\nb\r\n", ("a", "b")),
        (b"\xef\xbb\xbfa\n\nc\n", ("a", "", "c")),
        ("a\u2028b\x0bc\n".encode(), ("a\u2028b\x0bc",)),
    ],
)
def test_lines_end_where_label_files_end_them(content: bytes, lines: tuple[str, ...]) -> None:
    assert metadata.lines_of(content) == lines


def with_files(
    model: bytes,
    files: dict[str, str | None],
    kind: int = 2,
    content: bytes | None = None,
    transformation: int | None = None,
    outputs: int = 1,
    packed_as: int = zipfile.ZIP_STORED,
) -> bytes:
    """A model with packed files, each for a language and with its own name as its only line.

    Args:
      model: that gets them.
      files: the locale of each, by name.
      kind: of all, in the schema's AssociatedFileType.
      content: of all, instead of their names.
      transformation: of scores before they are calibrated; None where they are not.
      outputs: how often the output is listed that has all of this.
      packed_as: the compression of the files, as zipfile calls it.
    """
    builder = flatbuffers.Builder()
    written = [associated_file(builder, name, kind, locale) for name, locale in files.items()]
    fields = {6: tables(builder, written)}
    if transformation is not None:
        fields[4] = tables(builder, [calibration_unit(builder, transformation)])
    graph = table(builder, {3: tables(builder, [table(builder, fields)] * outputs)})
    builder.Finish(table(builder, {3: tables(builder, [graph])}), b"M001")
    described = with_buffer(model, bytes(builder.Output()))
    return with_archive(described, list(files), content, packed_as)


def associated_file(builder: flatbuffers.Builder, name: str, kind: int, locale: str | None) -> int:
    texts = {0: builder.CreateString(name)}
    if locale is not None:
        texts[3] = builder.CreateString(locale)
    return table(builder, texts, {2: kind})


def calibration_unit(builder: flatbuffers.Builder, transformation: int) -> int:
    options = table(builder, {}, {0: transformation})
    return table(builder, {1: options}, {0: 2})


def table(
    builder: flatbuffers.Builder, offsets: dict[int, int], kinds: dict[int, int] | None = None
) -> int:
    builder.StartObject(7)
    for slot, kind in (kinds or {}).items():
        builder.PrependUint8Slot(slot, kind, 0)
    for slot, offset in offsets.items():
        builder.PrependUOffsetTRelativeSlot(slot, offset, 0)
    return int(builder.EndObject())


def tables(builder: flatbuffers.Builder, offsets: list[int]) -> int:
    builder.StartVector(4, len(offsets), 4)
    for offset in reversed(offsets):
        builder.PrependUOffsetTRelative(offset)
    return int(builder.EndVector())


def with_buffer(model: bytes, content: bytes) -> bytes:
    graph = schema.ModelT.InitFromPackedBuf(model)
    graph.buffers.append(schema.BufferT(data=np.frombuffer(content, np.uint8)))
    graph.metadata = [schema.MetadataT(b"TFLITE_METADATA", len(graph.buffers) - 1)]
    builder = flatbuffers.Builder()
    builder.Finish(graph.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def with_archive(model: bytes, names: list[str], content: bytes | None, packed_as: int) -> bytes:
    file = io.BytesIO(model)
    with zipfile.ZipFile(file, "a", packed_as) as archive:
        for name in names:
            archive.writestr(name, name + "\n" if content is None else content)
    return file.getvalue()
