"""Reading and writing what a .tflite file says about itself."""

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
from ai_edge_litert.interpreter import Interpreter
from hypothesis import given, settings
from hypothesis import strategies as st

from models import metadata
from models.errors import ModelError
from models.metadata import ModelMetadata

# Any text that UTF-8 can carry.
TEXT = st.text(st.characters(exclude_categories=["Cs"]))
LINE = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\n"))


@pytest.fixture(scope="module")
def bare(tiny_model: Callable[..., bytes]) -> bytes:
    return tiny_model(np.eye(3, 8, dtype=np.float32))


@pytest.fixture(scope="module")
def described(bare: bytes) -> bytes:
    return pack(bare)


def pack(model: bytes, **changes: Any) -> bytes:
    wanted: dict[str, Any] = {
        "name": "birds of the fen",
        "description": "Tells apart what calls there.",
        "sample_rate_hz": 32_000,
        "channels": 1,
        "labels": ["bittern", "water rail", "Rohrdommel, große"],
        "author": "the fen people",
        "license": "CC-BY-4.0",
    }
    return metadata.pack(model, **(wanted | changes))


def test_yamnet_says_what_its_publisher_wrote(yamnet_path: Path) -> None:
    read = metadata.read(yamnet_path.read_bytes())
    assert read.name == "yamnet/classification"
    assert read.description is not None
    assert read.description.startswith("Recognizes 521 sound event classes")
    assert (read.version, read.author) == ("v1", "TensorFlow")
    assert read.license is not None
    assert read.license.startswith("Apache License. Version 2.0")
    assert (read.sample_rate_hz, read.channels) == (16_000, 1)


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


def test_what_was_packed_is_read(described: bytes) -> None:
    assert metadata.read(described) == ModelMetadata(
        name="birds of the fen",
        description="Tells apart what calls there.",
        version=None,
        author="the fen people",
        license="CC-BY-4.0",
        sample_rate_hz=32_000,
        channels=1,
        labels=("bittern", "water rail", "Rohrdommel, große"),
    )


@settings(derandomize=True, deadline=None)
@given(
    name=TEXT,
    labels=st.lists(LINE, max_size=20),
    sample_rate_hz=st.integers(1, 2**32 - 1),
    channels=st.integers(1, 8),
)
def test_any_text_and_any_numbers_survive(
    bare: bytes, name: str, labels: list[str], sample_rate_hz: int, channels: int
) -> None:
    model = pack(
        bare, name=name, labels=labels, sample_rate_hz=sample_rate_hz, channels=channels, version=""
    )
    read = metadata.read(model)
    assert (read.name, read.version) == (name, "")
    assert (read.sample_rate_hz, read.channels) == (sample_rate_hz, channels)
    assert read.labels == tuple(labels)


def test_the_same_words_make_the_same_bytes(bare: bytes, described: bytes) -> None:
    assert pack(bare) == described


def test_packing_again_replaces_what_was_packed(described: bytes, bare: bytes) -> None:
    assert pack(described) == described
    renamed = pack(described, name="fen", labels=["a", "b", "c"])
    assert metadata.read(renamed).name == "fen"
    assert metadata.read(renamed).labels == ("a", "b", "c")
    assert len(renamed) < len(described) + 100


def test_a_model_computes_the_same_after_packing(yamnet_path: Path) -> None:
    model = yamnet_path.read_bytes()
    noise = np.random.default_rng(1).normal(0, 0.1, 15_600).astype(np.float32)
    np.testing.assert_array_equal(run(pack(model), noise), run(model, noise))


def test_weights_lie_at_multiples_of_16_bytes_after_packing(yamnet_path: Path) -> None:
    model = np.frombuffer(pack(yamnet_path.read_bytes()), np.uint8)
    root = schema.Model.GetRootAsModel(model, 0)
    weights = [root.Buffers(i).DataAsNumpy() for i in range(root.BuffersLength())]
    starts = [
        each.__array_interface__["data"][0] - model.__array_interface__["data"][0]
        for each in weights
        if isinstance(each, np.ndarray)
    ]
    assert len(starts) > 50
    assert all(start % 16 == 0 for start in starts)


def test_the_packed_label_file_is_stored_uncompressed_for_other_readers(described: bytes) -> None:
    with zipfile.ZipFile(io.BytesIO(described)) as archive:
        (entry,) = archive.infolist()
    assert entry.compress_type == zipfile.ZIP_STORED
    assert b"bittern\nwater rail\n" in described


@pytest.mark.parametrize("label", ["two\nlines", "carriage\rreturn"])
def test_a_label_of_more_than_a_line_is_refused(bare: bytes, label: str) -> None:
    with pytest.raises(ModelError, match="single line"):
        pack(bare, labels=[label])


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
    for use in (metadata.read, pack):
        with pytest.raises(ModelError, match=says) as refused:
            use(content)
        assert "\n" not in str(refused.value)


def test_a_model_whose_label_file_is_cut_off_is_refused(described: bytes) -> None:
    with pytest.raises(ModelError, match=r"label file 'labels\.txt' cannot be read"):
        metadata.read(described[:-10])


def test_labels_are_those_of_no_language(bare: bytes) -> None:
    files = {"labels_de.txt": "de", "labels.txt": None, "labels_fr.txt": "fr"}
    assert metadata.read(with_label_files(bare, files)).labels == ("labels.txt",)


def test_a_model_with_labels_in_one_language_only_has_no_labels(bare: bytes) -> None:
    assert metadata.read(with_label_files(bare, {"labels_de.txt": "de"})).labels is None


def test_a_packed_file_of_another_kind_is_not_taken_for_labels(bare: bytes) -> None:
    assert metadata.read(with_label_files(bare, {"a.txt": None}, kind=1)).labels is None


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


def with_label_files(model: bytes, files: dict[str, str | None], kind: int = 2) -> bytes:
    """A model with packed files, each for a language and with its own name as its only line.

    Written here slot by slot as metadata_schema.fbs numbers them, not by the code under test.
    """
    builder = flatbuffers.Builder()
    written = [label_file(builder, name, kind, locale) for name, locale in files.items()]
    tensor = table(builder, {6: tables(builder, written)})
    graph = table(builder, {3: tables(builder, [tensor])})
    builder.Finish(table(builder, {3: tables(builder, [graph])}), b"M001")
    return with_archive(with_buffer(model, bytes(builder.Output())), list(files))


def label_file(builder: flatbuffers.Builder, name: str, kind: int, locale: str | None) -> int:
    texts = {0: builder.CreateString(name)}
    if locale is not None:
        texts[3] = builder.CreateString(locale)
    return table(builder, texts, kind)


def table(builder: flatbuffers.Builder, offsets: dict[int, int], kind: int = 0) -> int:
    builder.StartObject(7)
    builder.PrependUint8Slot(2, kind, 0)
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


def with_archive(model: bytes, names: list[str]) -> bytes:
    file = io.BytesIO(model)
    with zipfile.ZipFile(file, "a") as archive:
        for name in names:
            archive.writestr(name, name + "\n")
    return file.getvalue()


def run(model: bytes, samples: np.ndarray) -> np.ndarray:
    interpreter = Interpreter(model_content=model, num_threads=1)
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], samples)
    interpreter.invoke()
    return interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
