"""Published models: what the catalogue says of them, and their files in a user's copy."""

from __future__ import annotations

import hashlib
import tracemalloc
import zipfile
from pathlib import Path

import pytest

from earmark.models.catalogue import (
    PublishedFile,
    PublishedModel,
    fetch,
    known_model,
    label_locales,
    published_models,
    read_labels_of,
)
from earmark.models.errors import ModelError

MODEL, PLACES = b"TFL3 a model", b"TFL3 where it holds"
LABELS = b"Turdus merula_Eurasian Blackbird\nStrix aluco_Tawny Owl\n"
GERMAN = b"Turdus merula_Amsel\nStrix aluco_Waldkauz\n"
SHORT = b"Turdus merula_Merle noir\n"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "cache"
    monkeypatch.setenv("EARMARK_CACHE", str(folder))
    return folder


def file_of(content: bytes) -> tuple[PublishedFile, ...]:
    sha256 = hashlib.sha256(content).hexdigest()
    return (PublishedFile(sha256=sha256, size_bytes=len(content)),)


THRUSH = PublishedModel(
    name="thrush",
    files={"model": file_of(MODEL), "labels": file_of(LABELS), "places": file_of(PLACES)},
    urls=("http://127.0.0.1:1/thrush.zip",),
    label_form="scientific_common",
)


def copy_in_folder(folder: Path) -> Path:
    (folder / "labels").mkdir(parents=True)
    (folder / "audio-model.tflite").write_bytes(MODEL)
    (folder / "meta-model.tflite").write_bytes(PLACES)
    (folder / "labels" / "en_us.txt").write_bytes(LABELS)
    (folder / "labels" / "de.txt").write_bytes(GERMAN)
    (folder / "labels" / "fr.txt").write_bytes(SHORT)
    return folder


def copy_in_zip(folder: Path) -> Path:
    with zipfile.ZipFile(folder.with_suffix(".whl"), "w") as packed:
        packed.writestr("pkg/models/Thrush_Model_FP32.tflite", MODEL)
        packed.writestr("pkg/models/Thrush_MData_Model.tflite", PLACES)
        packed.writestr("pkg/models/Thrush_Labels.txt", LABELS)
        packed.writestr("pkg/models/Thrush_Labels_de.txt", GERMAN)
        packed.writestr("pkg/models/Thrush_Labels_fr.txt", SHORT)
    return folder.with_suffix(".whl")


@pytest.mark.parametrize("make", [copy_in_folder, copy_in_zip])
def test_all_files_are_found_in_a_copy_by_their_content(make, tmp_path):
    assert fetch(THRUSH, copy=make(tmp_path / "copy")) == MODEL
    assert fetch(THRUSH, role="places") == PLACES
    assert read_labels_of(THRUSH) == LABELS.decode()
    assert read_labels_of(THRUSH, "de") == GERMAN.decode()


def test_languages_with_another_number_of_lines_are_left_out(tmp_path):
    fetch(THRUSH, copy=copy_in_zip(tmp_path / "copy"))
    assert label_locales(THRUSH) == ["de"]
    with pytest.raises(ModelError, match="no labels in the language 'fr'; there is de"):
        read_labels_of(THRUSH, "fr")


@pytest.mark.parametrize("name", ["bomb.tflite", "labels/de.txt"])
def test_members_that_are_too_large_for_the_models_files_are_not_unpacked(name, tmp_path):
    path = tmp_path / "copy.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("model.tflite", MODEL)
        packed.writestr(name, bytes(64_000_000))
    tracemalloc.start()
    try:
        assert fetch(THRUSH, copy=path) == MODEL
        assert tracemalloc.get_traced_memory()[1] < 32_000_000
    finally:
        tracemalloc.stop()


def test_a_copy_without_the_model_is_an_error_that_says_what_is_missing(tmp_path):
    (tmp_path / "other.tflite").write_bytes(PLACES + b"?")
    with pytest.raises(ModelError, match=f"has no file whose sha256 is {THRUSH.sha256}"):
        fetch(THRUSH, copy=tmp_path / "other.tflite")
    with pytest.raises(ModelError, match=r"cannot read .*nowhere: No such file"):
        fetch(THRUSH, copy=tmp_path / "nowhere")


def test_one_of_several_files_will_do(tmp_path, cache):
    either = file_of(PLACES) + file_of(PLACES * 2)
    model = THRUSH.model_copy(update={"files": {**THRUSH.files, "places": either}})
    copy = copy_in_folder(tmp_path / "copy")
    (copy / "meta-model.tflite").write_bytes(PLACES * 2)
    fetch(model, copy=copy)
    assert fetch(model, role="places") == PLACES * 2
    assert model.is_in(cache)


def test_a_model_is_known_by_its_content():
    assert known_model(published_models()[0].sha256) == published_models()[0]
    assert known_model(hashlib.sha256(MODEL).hexdigest()) is None


@pytest.mark.parametrize("model", published_models(), ids=lambda model: model.name)
def test_the_catalogue_says_what_users_need_to_know(model):
    assert model.title
    assert model.license
    assert model.cite
    assert model.home.startswith("https://")
    assert all(url.startswith("https://") for url in model.urls)
    for files in model.files.values():
        assert all(int(file.sha256, 16) and len(file.sha256) == 64 for file in files)


def test_the_default_is_listed_first():
    assert published_models()[0].name == "yamnet"
