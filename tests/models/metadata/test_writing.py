"""Giving a .tflite file its metadata and the files packed with it."""

from __future__ import annotations

import hashlib
import io
import zipfile
from dataclasses import replace
from pathlib import Path

import flatbuffers
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter
from hypothesis import given, settings
from hypothesis import strategies as st

from earmark.models import builtin
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
from tests.models.fen import ENGLISH, FEN, fen

# Any text that UTF-8 can carry.
TEXT = st.text(st.characters(exclude_categories=["Cs"]))
LINE = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\n\ufeff"))
SCORE = st.floats(width=32, allow_nan=False, allow_infinity=False)


def test_what_was_packed_is_read(bare: bytes, described: bytes) -> None:
    assert metadata.read(described) == replace(FEN, min_parser_version="1.3.0")


@settings(derandomize=True, deadline=None)
@given(
    name=TEXT,
    labels=st.lists(LINE, max_size=20).map(tuple),
    sample_rate_hz=st.integers(1, 2**32 - 1),
    channels=st.integers(1, 8),
    threshold=st.none() | SCORE,
    calibration=st.none()
    | st.builds(
        CalibrationMetadata, st.sampled_from(["identity", "log", "inverse_logistic"]), SCORE, LINE
    ),
)
def test_any_text_and_any_numbers_survive(
    bare: bytes,
    name: str,
    labels: tuple[str, ...],
    sample_rate_hz: int,
    channels: int,
    threshold: float | None,
    calibration: CalibrationMetadata | None,
) -> None:
    said = ModelMetadata(
        name=name,
        version="",
        min_parser_version="1.3.0",
        inputs=(InputMetadata(name, name, sample_rate_hz, channels),),
        outputs=(
            OutputMetadata(
                name, name, (LabelFile("a", name or None, labels),), threshold, calibration
            ),
        ),
    )
    assert metadata.read(pack(bare, said)) == said


def test_the_same_words_make_the_same_bytes(bare: bytes, described: bytes) -> None:
    assert pack(bare, FEN) == described


def test_the_builtin_model_says_what_it_would_say_if_written_now() -> None:
    model = (Path(builtin.__file__).with_name("builtin.tflite")).read_bytes()
    written = pack(model, metadata.read(model))
    assert metadata.read(written) == metadata.read(model)
    assert pack(written, metadata.read(model)) == written


def test_the_builtin_model_stays_the_same_file() -> None:
    """Outputs made with it hold its hash, and only rows of the same model are added to them."""
    model = (Path(builtin.__file__).with_name("builtin.tflite")).read_bytes()
    assert hashlib.sha256(model).hexdigest().startswith("6720e16f8dd0")


def test_packing_again_replaces_what_was_packed(described: bytes) -> None:
    assert pack(described, FEN) == described
    renamed = pack(described, replace(fen(label_files=(ENGLISH,)), name="fen"))
    assert metadata.read(renamed).name == "fen"
    assert metadata.read(renamed).outputs[0].locales == ()
    assert len(renamed) < len(described)


def test_other_entries_of_the_models_metadata_are_kept(bare: bytes) -> None:
    graph = schema.ModelT.InitFromPackedBuf(bare)
    graph.buffers.append(schema.BufferT(data=np.frombuffer(b"1.14.0", np.uint8)))
    graph.metadata = [schema.MetadataT(b"min_runtime_version", len(graph.buffers) - 1)]
    builder = flatbuffers.Builder()
    builder.Finish(graph.Pack(builder), b"TFL3")
    packed = schema.ModelT.InitFromPackedBuf(pack(pack(bytes(builder.Output()), FEN), FEN))
    entries = {each.name: bytes(packed.buffers[each.buffer].data) for each in packed.metadata}
    assert list(entries) == [b"min_runtime_version", b"TFLITE_METADATA"]
    assert entries[b"min_runtime_version"] == b"1.14.0"


def test_a_model_computes_the_same_after_packing(yamnet_path: Path) -> None:
    model = yamnet_path.read_bytes()
    noise = np.random.default_rng(1).normal(0, 0.1, 15_600).astype(np.float32)
    np.testing.assert_array_equal(run(pack(model, FEN), noise), run(model, noise))


def test_weights_lie_at_multiples_of_16_bytes_after_packing(yamnet_path: Path) -> None:
    model = np.frombuffer(pack(yamnet_path.read_bytes(), FEN), np.uint8)
    root = schema.Model.GetRootAsModel(model, 0)
    weights = [root.Buffers(i).DataAsNumpy() for i in range(root.BuffersLength())]
    starts = [
        each.__array_interface__["data"][0] - model.__array_interface__["data"][0]
        for each in weights
        if isinstance(each, np.ndarray)
    ]
    assert len(starts) > 50
    assert all(start % 16 == 0 for start in starts)


def test_packed_files_are_stored_uncompressed_for_other_readers(described: bytes) -> None:
    with zipfile.ZipFile(io.BytesIO(described)) as archive:
        entries = archive.infolist()
    assert [each.filename for each in entries] == ["labels.txt", "labels_de.txt"]
    assert {each.compress_type for each in entries} == {zipfile.ZIP_STORED}
    assert b"bittern\nwater rail\n" in described


def test_outputs_share_a_file_of_one_content(two_headed: bytes) -> None:
    shared = OutputMetadata(label_files=(ENGLISH,))
    model = pack(two_headed, ModelMetadata(outputs=(shared, shared)))
    with zipfile.ZipFile(io.BytesIO(model)) as archive:
        assert archive.namelist() == ["labels.txt"]
    assert metadata.read(model).outputs == (shared, shared)


def test_two_contents_of_one_name_are_refused(two_headed: bytes) -> None:
    other = ENGLISH._replace(labels=("on", "off"))
    outputs = tuple(OutputMetadata(label_files=(file,)) for file in (ENGLISH, other))
    with pytest.raises(ModelError, match=r"two different files .* 'labels\.txt': rename one"):
        pack(two_headed, ModelMetadata(outputs=outputs))


@pytest.mark.parametrize(
    ("said", "says"),
    [
        (fen(label_files=(LabelFile("a", None, ("two\nlines",)),)), "single line"),
        (fen(label_files=(LabelFile("a", None, ("carriage\rreturn",)),)), "single line"),
        (fen(label_files=(LabelFile("", None, ()),)), "'' cannot be the name"),
        (fen(label_files=(LabelFile("../a", None, ()),)), "'../a' cannot be the name"),
        (fen(label_files=(LabelFile("a\0b", None, ()),)), "cannot be the name"),
        (fen(label_files=(LabelFile("a", None, ("\ud800",)),)), "cannot be written as UTF-8"),
        (replace(FEN, name="\ud800"), r"'\\ud800' cannot be written as UTF-8"),
        (
            fen(calibration=CalibrationMetadata("sqrt", 0, "")),
            "'sqrt' is not a score transformation",
        ),
        (fen(calibration=CalibrationMetadata("log", 1e39, "")), "default score must be a number"),
        (fen(score_threshold=float("nan")), "score threshold must be a number"),
        (replace(FEN, inputs=(InputMetadata(sample_rate_hz=-1),)), "sample rate of -1 is not"),
        (replace(FEN, inputs=(InputMetadata(channels=2**32),)), "channels of 4294967296 is not"),
        (replace(FEN, inputs=FEN.inputs * 2), "2 inputs are described, but the model has 1"),
        (replace(FEN, outputs=FEN.outputs * 2), "2 outputs are described, but the model has 1"),
    ],
)
def test_what_cannot_be_written_is_refused_in_one_line(
    bare: bytes, said: ModelMetadata, says: str
) -> None:
    with pytest.raises(ModelError, match=says) as refused:
        pack(bare, said)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "the file is empty"),
        (b"RIFF\x00\x00\x00\x00WAVEfmt ", "not a TFLite model"),
        (b"\x1c\x00\x00\x00TFL3", "damaged or cut short"),
        (b"\xff\xff\xff\xffTFL3" + bytes(64), "damaged or cut short"),
    ],
)
def test_what_is_no_model_cannot_be_described(content: bytes, says: str) -> None:
    with pytest.raises(ModelError, match=says) as refused:
        pack(content, FEN)
    assert "\n" not in str(refused.value)


def run(model: bytes, samples: np.ndarray) -> np.ndarray:
    interpreter = Interpreter(model_content=model, num_threads=1)
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], samples)
    interpreter.invoke()
    return interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
