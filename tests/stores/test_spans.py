"""Long recordings in stores, of which each worker fetches no more than its span."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from earmark.transforms.decoding import splitting
from earmark.transforms.decoding.local_copies import local_copy
from earmark.transforms.errors import ReadError
from earmark.transforms.storage import look_up
from tests.stores.faults import Faults, Store
from tests.stores.web import Web
from tests.transforms.audio.files import audiomoth, harp, pause

PLAIN = ("pcm.wav", "float.wav", "noted.wav", "a.rf64", "a.w64", "a.aiff", "a.caf", "a.au")
OTHERS = ("a.flac", "a.mp3", "a.ogg", "a.opus", "cut.wav", "law.wav")
PAUSED = ("a.x.wav", "20240528_100000T.WAV")
HEAD_BYTES = 1 << 18
TABLES = {
    "detections": "* exclude clip, parse_filename(clip) as name",
    "events": "* exclude clip, parse_filename(clip) as name",
    "clips": "* exclude (clip, version, run_id), parse_filename(clip) as name",
    "failures": "* exclude (clip, version, run_id), parse_filename(clip) as name",
}


@pytest.fixture(autouse=True)
def _nothing_is_short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(splitting, "_SHORT_REMOTE_BYTES", HEAD_BYTES)
    monkeypatch.setattr(splitting, "_HEAD_BYTES", HEAD_BYTES)


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Recordings of 150 s, of the formats that can be cut and of others."""
    from tests.pipelines.conftest import record

    write, folder = record.__wrapped__(), tmp_path_factory.mktemp("archive")
    subtypes = {"float.wav": "FLOAT", "law.wav": "ULAW"}
    for name in (*PLAIN, *OTHERS):
        kind = {"a.opus": "OGG", "a.rf64": "RF64"}.get(name)
        how = {"format": kind} if kind else {}
        how |= {"subtype": "OPUS"} if name == "a.opus" else {}
        how |= {"subtype": subtypes[name]} if name in subtypes else {}
        write(folder / name, "tone", "noise", "hum", seconds=50, rate=8_000, channels=2, **how)
    noted = folder / "noted.wav"
    content = noted.read_bytes() + b"guan" + struct.pack("<I", 60)
    content += b"GUANO|Version: 1.0\nTimestamp: 2026-05-01T10:00:00Z\n".ljust(60, b"\n")
    noted.write_bytes(content[:4] + struct.pack("<I", len(content) - 8) + content[8:])
    sound = np.random.default_rng(0).integers(-9000, 9000, 60 * 8000).astype("<i2")
    harp(folder / PAUSED[0], [0, 100, 400], [sound] * 3, 8000)
    audiomoth(folder / PAUSED[1], (sound.tobytes() + pause(9000)) * 2)
    (folder / "cut.wav").write_bytes((folder / "cut.wav").read_bytes()[:1_500_000])
    return folder


def upload(archive: Path, store: Store) -> None:
    for path in archive.iterdir():
        store.put(f"in/{path.name}", path.read_bytes())


def all_rows(rows: Callable[..., list[tuple]], output: Path) -> dict[str, list[str]]:
    return {
        table: sorted(map(str, rows(output, table, columns)))
        for table, columns in TABLES.items()
        if list((output / table).glob("*.parquet"))
    }


@pytest.fixture(scope="module")
def local_rows(
    archive: Path, rows: Callable[..., list[tuple]], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, list[str]]:
    """Those of the same files on disk, uncut."""
    from earmark.pipelines.cli import main

    output = tmp_path_factory.mktemp("local")
    flags = ["--output", str(output), "--model", "builtin", "--span_s", "6000"]
    assert main(["classify", "--input", str(archive), *flags]) == 0
    return all_rows(rows, output)


@pytest.mark.parametrize(
    ("span_s", "faults"),
    [
        (60, Faults()),
        (6000, Faults()),
        (60, Faults(refused=0.05, cut=0.1, slow=0.05, slow_s=0.1, seed=4)),
    ],
    ids=["cut", "uncut", "badly"],
)
def test_the_rows_are_those_of_local_files(
    s3: Store,
    archive: Path,
    local_rows,
    classify,
    rows,
    tmp_path: Path,
    span_s: int,
    faults: Faults,
) -> None:
    upload(archive, s3)
    s3.proxy.misbehave(faults)
    status, _, errors = classify(s3.uri("in"), tmp_path / "out", "--span_s", str(span_s))
    assert status == 0, errors
    assert all_rows(rows, tmp_path / "out") == local_rows
    assert local_rows["clips"]
    if faults == Faults():
        for name in PLAIN:
            size = (archive / name).stat().st_size
            sent = s3.proxy.sent_bytes[f"/archive/in/{name}"]
            heads = 4 * HEAD_BYTES if span_s == 60 else HEAD_BYTES
            assert size <= sent <= size * 1.1 + heads
        for name in (*OTHERS, *PAUSED):
            size = (archive / name).stat().st_size
            assert s3.proxy.sent_bytes[f"/archive/in/{name}"] <= size + HEAD_BYTES


@pytest.mark.parametrize("etag", ['"{}"', 'W/"{}"', ""])
def test_so_are_those_of_files_on_the_web(
    web: Web, archive: Path, local_rows, classify, rows, tmp_path: Path, etag: str
) -> None:
    web.etag = etag
    for path in archive.iterdir():
        web.files[f"/{path.name}"] = path.read_bytes()
    listed = tmp_path / "list.csv"
    listed.write_text("\n".join(["uri", *(f"{web.url}{path}" for path in web.files)]))
    assert classify(listed, tmp_path / "out", "--span_s", "60")[0] == 0
    assert all_rows(rows, tmp_path / "out") == local_rows


def test_parts_are_all_of_the_version_that_was_listed(s3: Store) -> None:
    s3.put("a.wav", b"old" * 1000)
    listed = look_up(s3.uri("a.wav"))
    parts = [(0, 10), (1000, 1100), (2900, 3000)]
    with local_copy(listed, parts) as path:
        content = Path(path).read_bytes()
        assert (
            content
            == (b"old" * 4)[:10]
            + bytes(990)
            + (b"ldo" * 34)[:100]
            + bytes(1800)
            + (b"old" * 1000)[2900:]
        )
    asked: list[str] = []

    def replace_before_the_last(method: str, path: str) -> bool:
        asked.append(path)
        if len(asked) == 3:
            s3.put("a.wav", b"new" * 1000)
        return True

    s3.proxy.gate = replace_before_the_last
    with pytest.raises(ReadError, match="has changed since"), local_copy(listed, parts):
        pytest.fail("there is a copy")


def test_a_recording_that_is_replaced_meanwhile_is_a_failure_and_no_mixture(
    s3: Store, archive: Path, classify, rows, tmp_path: Path
) -> None:
    s3.put("in/a.wav", (archive / "pcm.wav").read_bytes())
    loud = (archive / "pcm.wav").read_bytes()[:-100] + bytes([255, 127] * 50)
    asked: list[str] = []

    def replace_in_the_middle(method: str, path: str) -> bool:
        asked.extend([path] if method == "GET" and path.endswith("a.wav") else [])
        if len(asked) == 4:
            s3.put("in/a.wav", loud)
        return True

    s3.proxy.gate = replace_in_the_middle
    flags = ["--span_s", "60", "--direct_num_workers", "1"]
    assert classify(s3.uri("in"), tmp_path / "out", *flags)[0] == 0
    assert len(asked) > 4
    (found,) = rows(tmp_path / "out", "clips", "status, reason, message, clipped_fraction")
    assert found[:2] == ("partial", "io")
    assert "has changed since it was listed" in found[2]
    assert found[3] == 0
    assert classify(s3.uri("in"), tmp_path / "out", *flags)[0] == 0
    (again,) = rows(tmp_path / "out", "clips", "status, clipped_fraction > 0")
    assert again == ("scored", True)
