"""The whole command on stores: rows are those of a local run, whatever the connection does."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from earmark.pipelines.cli import main
from earmark.transforms.output import read
from earmark.transforms.storage.object_stores import ObjectStores
from tests.stores.faults import SECRET, Faults, Store

COMPARED = {
    "detections": "* exclude clip, clip.split('/')[-1] as name",
    "events": "* exclude clip, clip.split('/')[-1] as name",
    "clips": "* exclude (clip, version, run_id), clip.split('/')[-1] as name",
    "failures": "* exclude (clip, version, run_id), clip.split('/')[-1] as name",
}


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory, record: Callable[..., Path]) -> Path:
    """Recordings of several formats and sizes, one of them damaged."""
    folder = tmp_path_factory.mktemp("stores") / "archive"
    for number in range(12):
        kind = ("wav", "flac", "ogg")[number % 3]
        record(folder / f"{number:02}.{kind}", "tone", "noise", seconds=2 + number % 3)
    record(folder / "large.wav", "noise", seconds=30, rate=44_100, channels=2)
    (folder / "damaged.wav").write_bytes(b"RIFF" + bytes(200))
    return folder


@pytest.fixture(scope="module")
def local(archive: Path) -> Path:
    """What a local run makes of the archive."""
    output = archive.with_name("local")
    flags = ["--input", str(archive), "--output", str(output), "--model", "builtin"]
    assert main(["classify", *flags]) == 0
    return output


def upload(archive: Path, store: Store) -> None:
    for path in sorted(archive.iterdir()):
        store.put(f"in/{path.name}", path.read_bytes())


def download(store: Store, folder: Path) -> Path:
    for name, content in store.get_all().items():
        if name.startswith("out/"):
            path = folder / name.removeprefix("out/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
    return folder


def counts(output: str) -> dict[str, Counter[object]]:
    """How often each label or reason is in each table, as users read them."""
    columns = {"clips": "status", "failures": "reason"}
    return {
        name: Counter(rows.arrow([columns.get(name, "label")])[0].to_pylist())
        for name, rows in read(output).items()
    }


def compared(rows: Callable[..., list[tuple]], output: Path) -> dict[str, list[str]]:
    return {
        table: sorted(map(str, rows(output, table, columns))) for table, columns in COMPARED.items()
    }


@pytest.mark.parametrize(
    "faults",
    [Faults(refused=0.05, seed=1), Faults(refused=0.05, cut=0.05, slow=0.05, seed=2)],
    ids=["refused", "all"],
)
def test_the_rows_are_those_of_a_local_run(
    store: Store,
    archive: Path,
    local: Path,
    faults: Faults,
    classify: Callable[..., tuple[int, str, str]],
    rows: Callable[..., list[tuple]],
    tmp_path: Path,
) -> None:
    upload(archive, store)
    store.proxy.misbehave(faults)
    status, said, errors = classify(store.uri("in"), store.uri("out"))  # type: ignore[arg-type]
    assert status == 0, errors
    output = download(store, tmp_path / "remote")
    assert compared(rows, output) == compared(rows, local)
    assert store.proxy.done["refused"] > 0
    assert counts(store.uri("out")) == counts(str(local))
    everything = [said.encode(), errors.encode(), *store.get_all().values()]
    assert not any(SECRET.encode() in each for each in everything)
    assert {name.split("/")[1] for name in store.get_all() if name.startswith("out/")} == {
        *COMPARED,
        "_runs",
    }


def test_a_commit_that_was_cut_off_is_finished_by_the_next_run(
    store: Store,
    archive: Path,
    local: Path,
    classify: Callable[..., tuple[int, str, str]],
    rows: Callable[..., list[tuple]],
    tmp_path: Path,
) -> None:
    upload(archive, store)
    renamed: list[object] = []

    def rename_once(stores: ObjectStores, moves: list[tuple[str, str]]) -> None:
        renamed.append(moves)
        if len(renamed) == 2:
            raise RuntimeError("killed")
        rename(stores, moves)

    rename = ObjectStores.rename
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ObjectStores, "rename", rename_once)
        with pytest.raises(RuntimeError, match="killed"):
            classify(store.uri("in"), store.uri("out"))
    assert any("/_staging-" in name for name in store.get_all())

    status, said, errors = classify(store.uri("in"), store.uri("out"))
    assert (status, "Nothing to do" in said) == (0, True), errors
    output = download(store, tmp_path / "remote")
    assert compared(rows, output) == compared(rows, local)
    assert not any("/_staging-" in name or "/_locks" in name for name in store.get_all())


def test_a_moved_bucket_keeps_its_rows_and_other_settings_are_derived(
    store: Store,
    archive: Path,
    classify: Callable[..., tuple[int, str, str]],
    rows: Callable[..., list[tuple]],
    tmp_path: Path,
) -> None:
    upload(archive, store)
    assert classify(store.uri("in"), store.uri("out"))[0] == 0
    before = counts(store.uri("out"))
    for path in archive.iterdir():
        store.put(f"moved/site/{path.name}", path.read_bytes())
    old, new = store.uri("in"), store.uri("moved")
    status, _, said = classify(new, store.uri("out"))
    assert (status, f"--root {old}={new}/site gives" in said) == (2, True), said
    status, out, said = classify(new, store.uri("out"), "--root", f"{old}={new}/site")
    assert (status, "14 known clips given the root" in out) == (0, True), said
    assert counts(store.uri("out")) == before
    assert main(["rederive", store.uri("out"), "--min_score", "0.9"]) == 0
    status, out, said = classify(new, store.uri("out"), "--min_score", "0.9")
    assert (status, "Nothing to do: 14 objects" in out) == (0, True), said
    there = rows(download(store, tmp_path / "remote"), "clips", "clip, path, folder")
    assert (f"{new}/site/large.wav", "site/large.wav", "site") in there
    least = rows(tmp_path / "remote", "detections", "min(score)")
    assert least[0][0] >= 0.9
    assert not any("/_staging-" in name or "/_locks" in name for name in store.get_all())
