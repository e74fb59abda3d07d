"""Objects that are read by URLs which carry their own permission."""

from __future__ import annotations

import json
import re
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import datetime, timedelta, timezone
from pathlib import Path
from urllib.parse import quote

import pytest

from earmark.pipelines.cli import main
from earmark.transforms.elements import Address, AudioObject, PlannedObject
from earmark.transforms.listing import check_patterns
from earmark.transforms.planning import Planner, Retry
from earmark.transforms.planning.plan_files import _read_plan, write_plan
from earmark.transforms.planning.watching import _ArrayCoder
from earmark.transforms.settings import Decoding, FrameGrid, Settings
from earmark.transforms.storage import (
    ListingError,
    look_up,
    shown,
    signed_urls,
    without_signature,
)
from earmark.transforms.storage.signed_urls import has_expired
from tests.stores.faults import Store
from tests.stores.web import Web

PLACE = "https://host/bucket/a%20b.wav"
OF_V4 = "{0}Algorithm=A4&{0}Credential=me%2F1&{0}Date={1}&{0}Expires=60&{0}SignedHeaders=host"
SIGNED = {
    "S3": f"{OF_V4.format('X-Amz-', '20261101T120000Z')}&X-Amz-Signature=hush",
    "S3, a role's": f"{OF_V4.format('X-Amz-', '20261101T120000Z')}&X-Amz-Security-Token=hu%2Fsh"
    "&X-Amz-Signature=hush",
    "S3, version 2": "AWSAccessKeyId=me&Signature=hu%2Fsh%3D&Expires=1793534460",
    "GCS": f"{OF_V4.format('X-Goog-', '20261101T120000Z')}&X-Goog-Signature=hush",
    "GCS, version 2": "GoogleAccessId=me%40host&Expires=1793534460&Signature=hu%2Fsh",
    "CloudFront": "Expires=1793534460&Signature=hush__&Key-Pair-Id=me",
    "Azure": "sv=2025-11-05&st=2026-11-01T11:00:00Z&se=2026-11-01T12%3A01%3A00Z&sr=b&sp=r"
    "&spr=https&sig=hush%3D",
    "Azure, a user's": "sp=r&st=2026-11-01&se=2026-11-01T12:01Z&skoid=a&sktid=b&skt=c&ske=d&sks=b"
    "&skv=e&sip=1.2.3.4&sv=2025-11-05&sr=c&sig=hush",
}


@pytest.mark.parametrize("signature", SIGNED.values(), ids=SIGNED)
@pytest.mark.parametrize("order", [1, -1])
class TestNames:
    def test_the_name_is_the_url_without_what_permits(self, signature: str, order: int) -> None:
        url = f"{PLACE}?{'&'.join(signature.split('&')[::order])}"
        assert without_signature(url) == (PLACE, Address(url))
        assert shown(url) == PLACE

    def test_what_else_is_asked_for_stays_to_the_letter(self, signature: str, order: int) -> None:
        parts = ["versionId=%2f+", *signature.split("&"), "x", "tag=a;b"][::order]
        kept = ["versionId=%2f+", "x", "tag=a;b"][::order]
        assert without_signature(f"{PLACE}?{'&'.join(parts)}")[0] == f"{PLACE}?{'&'.join(kept)}"

    def test_it_expires(self, signature: str, order: int, monkeypatch: pytest.MonkeyPatch) -> None:
        url = f"{PLACE}?{'&'.join(signature.split('&')[::order])}"
        at = datetime(2026, 11, 1, 12, 1, tzinfo=timezone.utc)
        for seconds, expected in ((-1, False), (1, True)):
            monkeypatch.setattr(signed_urls, "datetime", stopped(at + timedelta(seconds=seconds)))
            assert has_expired(url) is expected


def stopped(moment: datetime) -> type[datetime]:
    """A class of moments for which it is always the same time."""
    return type("Stopped", (datetime,), {"now": classmethod(lambda _, zone: moment)})


@pytest.mark.parametrize(
    "uri",
    [
        "/a.wav?X-Amz-Signature=x",
        "s3://bucket/a.wav?X-Amz-Signature=x",
        "https://host/a.wav",
        "https://host/a.wav?id=3&expires=soon",
        "https://host/a.wav?signature=x",
        "https://host/a.wav?sig=x",
        "https://host/?X-Amz-Date=20260101T000000Z",
    ],
)
def test_what_is_not_signed_so_stays(uri: str) -> None:
    assert without_signature(uri) == (uri, None)
    assert has_expired(uri) is False


@pytest.mark.parametrize("until", ["", "soon", "99999999999999999999"])
def test_who_does_not_say_when_expires_when_the_server_says_so(until: str) -> None:
    for signature in (
        f"Signature=x&AWSAccessKeyId=y&Expires={until}",
        f"X-Amz-Signature=x&X-Amz-Date=20260101T000000Z&X-Amz-Expires={until}",
        f"sig=x&sv=y&se={until}",
    ):
        assert has_expired(f"{PLACE}?{signature}") is False


def test_an_address_is_not_shown() -> None:
    listed = AudioObject("https://host/a.wav", 1, "1", Address("https://host/a.wav?sig=hush"))
    assert "hush" not in repr(listed)
    assert "hush" not in f"{listed}{listed.address}"
    assert repr(listed.without_address()) == repr(AudioObject("https://host/a.wav", 1, "1"))


PLANNED = [
    PlannedObject(AudioObject("https://h/a", 1, "1-1", Address("https://h/a?sig=hush")), "old"),
    PlannedObject(AudioObject("s3://b/ä\N{OWL}", None, "")),
]


def test_a_plan_that_others_may_read_has_no_address_and_workers_do(tmp_path: Path) -> None:
    key = write_plan(str(tmp_path / "plan"), PLANNED)
    written = (tmp_path / "plan").read_bytes()
    assert b"hush" not in written
    assert b"https://h/a" in written
    assert list(_read_plan(b"", str(tmp_path / "plan"), key)) == PLANNED


def test_the_state_of_a_stream_has_no_address() -> None:
    coder = _ArrayCoder(PlannedObject.of)
    encoded = coder.encode(PLANNED[0])
    assert b"hush" not in encoded
    assert coder.decode(encoded) == PLANNED[0].without_address()


class Signing:
    """A web server that answers GET by those who have a signature of its own.

    Attributes:
      valid: the signatures that it takes.
      kind: how URLs are signed, of SIGNED.
    """

    def __init__(self, web: Web, kind: str) -> None:
        self.web, self.kind = web, kind
        self.valid: set[str] = set()
        web.proxy.gate = self._is_let_through
        web.named = lambda path: re.split("[?&](?:X-[AG]|sv|GoogleA)", path)[0]

    def sign(self, path: str, *, seconds: int = 600) -> str:
        """A URL that nobody was given before."""
        signature = f"hush{len(self.valid)}"
        self.valid.add(signature)
        sign = "&" if "?" in path else "?"
        return f"{self.web.url}{path}{sign}{signed(self.kind, signature, seconds)}"

    def expire(self) -> None:
        self.valid.clear()

    def _is_let_through(self, method: str, path: str) -> bool:
        return method == "GET" and any(f"={each}" in path for each in self.valid)


def signed(kind: str, signature: str, seconds: int) -> str:
    now, lasts = datetime.now(timezone.utc), timedelta(seconds=abs(seconds))
    at = now - 2 * lasts if seconds < 0 else now
    date, end = f"{at:%Y%m%dT%H%M%SZ}", at + lasts
    maker = {"S3": "X-Amz-", "GCS": "X-Goog-"}.get(kind)
    if maker:
        what = f"{maker}Algorithm=A4&{maker}Credential=me%2F1&{maker}Date={date}"
        return f"{what}&{maker}Expires={lasts.seconds}&{maker}Signature={signature}"
    if kind == "Azure":
        return f"sv=2025-11-05&sp=r&sr=b&se={end:%Y-%m-%dT%H:%M:%SZ}&sig={signature}"
    return f"GoogleAccessId=me&Expires={end.timestamp():.0f}&Signature={signature}"


@pytest.fixture
def signing(web: Web, request: pytest.FixtureRequest) -> Signing:
    return Signing(web, getattr(request, "param", "S3"))


@pytest.fixture
def run(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> Iterator[Callable[..., tuple[int, str]]]:
    """Runs the command on a manifest of URLs, or on a URL; nothing that is left of it is secret."""
    said = []

    def classify(*inputs: str, output: str = "remote") -> tuple[int, str]:
        flags = ["--model", "builtin", "--verbose", "--output", str(tmp_path / output)]
        status = main(["classify", "--input", *inputs, *flags])
        out, err = capfd.readouterr()
        said.append(out + err)
        return status, out + err

    yield classify
    written = [path.read_bytes() for path in (tmp_path / "remote").rglob("*") if path.is_file()]
    for each in (*written, *(each.encode() for each in said)):
        assert b"hush" not in each


def manifest(tmp_path: Path, *urls: str) -> str:
    (tmp_path / "list.csv").write_text("\n".join(["uri", *urls]), encoding="utf-8")
    return str(tmp_path / "list.csv")


@pytest.mark.parametrize("signing", ["S3", "GCS", "GCS, version 2", "Azure"], indirect=True)
def test_rows_are_those_of_a_local_run_and_signing_again_changes_nothing(
    signing: Signing, run, record, rows, tmp_path: Path
) -> None:
    for name in ("a.wav", "b.flac"):
        record(tmp_path / "in" / name, "tone", "noise")
    paths = {"/a.wav?id=7": "a.wav", "/b.flac": "b.flac"}
    for path, name in paths.items():
        signing.web.files[path] = (tmp_path / "in" / name).read_bytes()
    assert run(str(tmp_path / "in"), output="local")[0] == 0
    status, said = run(manifest(tmp_path, *map(signing.sign, paths)))
    assert status == 0, said
    name = "parse_filename(split_part(clip, '?', 1)) as name"
    for table, columns in (("detections", f"{name}, * exclude clip"), ("clips", f"{name}, labels")):
        assert sorted(map(str, rows(tmp_path / "remote", table, columns))) == sorted(
            map(str, rows(tmp_path / "local", table, columns))
        )
    urls = {(f"{signing.web.url}{path}",) for path in paths}
    assert set(rows(tmp_path / "remote", "clips", "clip")) == urls
    assert "Nothing to do" in run(manifest(tmp_path, *map(signing.sign, paths)))[1]
    assert "Nothing to do" in run(signing.sign("/b.flac"))[1]
    signing.expire()
    stale = f"{signing.web.url}/b.flac?{signed(signing.kind, 'hush', -600)}"
    assert "Nothing to do" in run(manifest(tmp_path, stale))[1]
    assert rows(tmp_path / "remote", "failures", "clip") == []


def test_an_expired_signature_is_a_failure_that_the_next_run_tries_again(
    signing: Signing, run, record, rows, tmp_path: Path
) -> None:
    signing.web.files["/a.wav"] = record(tmp_path / "a.wav", "tone").read_bytes()
    url = f"{signing.web.url}/a.wav"
    stale = f"{url}?{signed(signing.kind, 'hush', -600)}"
    run(manifest(tmp_path, stale))
    (failure,) = rows(tmp_path / "remote", "failures", "clip, reason, message")
    assert failure == (url, "io", f"{url}: the URL's signature has expired")
    with pytest.raises(
        ListingError,
        match=r"a\.wav does not exist, or cannot be read: the URL's signature has expired",
    ):
        check_patterns((stale,))
    assert run(manifest(tmp_path, signing.sign("/a.wav")))[0] == 0
    assert rows(tmp_path / "remote", "failures", "clip") == []
    assert rows(tmp_path / "remote", "clips", "clip, status") == [(url, "scored")]


def test_one_that_expires_between_listing_and_reading_is_told_likewise(
    signing: Signing, run, record, rows, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    signing.web.files["/a.wav"] = record(tmp_path / "a.wav", "tone").read_bytes()
    url = signing.sign("/a.wav", seconds=1)
    listed = look_up(url)
    assert listed.size_bytes == len(signing.web.files["/a.wav"])
    time.sleep(1.1)
    signing.expire()
    monkeypatch.setattr("earmark.transforms.listing.member_listing.look_up", lambda _: listed)
    run(manifest(tmp_path, url))
    assert rows(tmp_path / "remote", "failures", "reason, message") == [
        ("io", f"{signing.web.url}/a.wav: the URL's signature has expired")
    ]


def test_a_signed_archive_is_its_members_and_a_signed_manifest_its_entries(
    signing: Signing, run, record, rows, tmp_path: Path
) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for name in ("x.wav", "y.wav"):
            archive.write(record(tmp_path / name, "tone"), name)
    signing.web.files["/a.zip"] = (tmp_path / "a.zip").read_bytes()
    signing.web.files["/list.csv"] = f"uri\n{signing.sign('/a.zip')}\n".encode()
    members = [(f"{signing.web.url}/a.zip!/{name}.wav", "scored") for name in "xy"]
    status, said = run(signing.sign("/list.csv"))
    assert status == 0, said
    assert sorted(rows(tmp_path / "remote", "clips", "clip, status")) == members
    assert "Nothing to do" in run(signing.sign("/a.zip"))[1]


def test_an_empty_file_is_one(signing: Signing) -> None:
    signing.web.files["/a.wav"] = b""
    assert look_up(signing.sign("/a.wav")).size_bytes == 0


def test_a_look_has_the_addresses_that_the_manifest_has_now(
    signing: Signing, tmp_path: Path
) -> None:
    signing.web.files["/a.wav"] = b"x"
    patterns, output = (str(tmp_path / "list.csv"),), str(tmp_path / "out")
    settings = Settings(Decoding(FrameGrid(4, 4, 4)), patterns=patterns, output=output)
    with closing(Planner(settings)) as planner:
        for _ in range(3):
            url = signing.sign("/a.wav")
            manifest(tmp_path, url)
            planner.look()
            (due,) = planner.plan.due(Retry.NOTHING)
            assert due.object.uri == f"{signing.web.url}/a.wav"
            assert due.object.source == url


def test_nobody_there_is_told_without_the_signature(
    signing: Signing, run, record, rows, tmp_path: Path
) -> None:
    url = signing.sign("/a.wav")
    signing.web.close()
    run(manifest(tmp_path, url))
    (message,) = rows(tmp_path / "remote", "failures", "message")[0]
    assert "Connection refused" in message


@pytest.mark.parametrize("version", ["s3v4", "s3"])
def test_urls_that_boto3_presigns_are_read(
    s3: Store, version: str, run, record, rows, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import boto3
    from botocore.config import Config

    monkeypatch.setenv("no_proxy", "127.0.0.1")
    s3.proxy.gate = lambda method, path: method == "GET" or "?" not in path
    s3.put("in/a b.wav", record(tmp_path / "a.wav", "tone").read_bytes())
    client = boto3.client("s3", config=Config(signature_version=version))
    wanted = {"Bucket": "archive", "Key": "in/a b.wav"}
    for seconds in (600, 900):
        url = client.generate_presigned_url("get_object", Params=wanted, ExpiresIn=seconds)
        monkeypatch.delenv("AWS_ACCESS_KEY_ID", raising=False)
        status, said = run(manifest(tmp_path, url))
        assert status == 0, said
        signature = dict(each.split("=") for each in url.partition("?")[2].split("&"))
        secret = signature.get("X-Amz-Signature") or signature["Signature"]
        files = [path for path in (tmp_path / "remote").rglob("*") if path.is_file()]
        for each in (said.encode(), *(path.read_bytes() for path in files)):
            assert secret.encode() not in each
    assert "Nothing to do" in said
    key = f"{s3.proxy.url}/archive/{quote('in/a b.wav')}"
    assert rows(tmp_path / "remote", "clips", "clip, status") == [(key, "scored")]
    assert json.loads(next((tmp_path / "remote/_runs").glob("*.json")).read_text())
