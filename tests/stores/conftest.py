"""Stores on loopback, each behind a faulty proxy: moto's S3, the same as GCS, and Azurite."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.utils import retry

from benchmarks.environments import MissingPeerError
from earmark.transforms.storage.beam_filesystems import use_options
from tests.pipelines.conftest import classify, record  # noqa: F401 (fixtures)
from tests.stores.azurite import Azurite
from tests.stores.faults import SECRET, FaultyProxy, Store
from tests.stores.web import Web


@pytest.fixture(scope="session")
def moto() -> Iterator[tuple[str, int]]:
    server = pytest.importorskip("moto.server", reason="moto[server] is not installed")
    pytest.importorskip("boto3", reason="earmark[aws] is not installed")
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    running = server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    running.start()
    yield running.get_host_and_port()
    running.stop()


@pytest.fixture
def s3(moto: tuple[str, int], environment: pytest.MonkeyPatch) -> Iterator[Store]:
    proxy = FaultyProxy(moto)
    environment.setenv("AWS_ENDPOINT_URL", proxy.url)
    environment.setenv("AWS_ACCESS_KEY_ID", "tester")
    environment.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    environment.setenv("AWS_DEFAULT_REGION", "us-east-1")
    yield from _filled_by_boto3("s3://archive", moto, proxy)


@pytest.fixture
def gcs(moto: tuple[str, int], environment: pytest.MonkeyPatch) -> Iterator[Store]:
    pytest.importorskip("google.auth", reason="earmark[gcp] is not installed")
    proxy = FaultyProxy(moto, is_gcs=True)
    environment.setenv("STORAGE_EMULATOR_HOST", proxy.url)
    yield from _filled_by_boto3("gs://archive", moto, proxy)


def _filled_by_boto3(url: str, moto: tuple[str, int], proxy: FaultyProxy) -> Iterator[Store]:
    import boto3

    keys = {"aws_access_key_id": "tester", "aws_secret_access_key": SECRET}
    endpoint = "http://{}:{}".format(*moto)
    resource = boto3.resource("s3", endpoint_url=endpoint, region_name="us-east-1", **keys)
    bucket = resource.create_bucket(Bucket="archive")

    def put(name: str, content: bytes) -> None:
        bucket.put_object(Key=name, Body=content)

    def get_all() -> dict[str, bytes]:
        return {each.key: each.get()["Body"].read() for each in bucket.objects.all()}

    use_options(PipelineOptions([]))
    yield Store(url, proxy, put, get_all)
    proxy.close()
    bucket.objects.all().delete()


@pytest.fixture(scope="session")
def azurite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Azurite]:
    try:
        running = Azurite(tmp_path_factory.mktemp("azurite"))
    except MissingPeerError as error:
        pytest.skip(str(error))
    yield running
    running.close()


@pytest.fixture
def azure(azurite: Azurite, environment: pytest.MonkeyPatch) -> Iterator[Store]:
    azurite.make_container("archive")
    proxy = FaultyProxy(azurite.address)
    environment.setenv("AZURE_STORAGE_USE_EMULATOR", "true")
    environment.setenv("AZURITE_BLOB_STORAGE_URL", proxy.url)
    use_options(PipelineOptions([]))
    yield Store(
        "az://archive",
        proxy,
        lambda name, content: azurite.put("archive", name, content),
        lambda: azurite.get_all("archive"),
    )
    proxy.close()
    azurite.delete_all("archive")


@pytest.fixture
def web(monkeypatch: pytest.MonkeyPatch) -> Iterator[Web]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    web = Web()
    yield web
    web.close()


@pytest.fixture(params=["s3", "gcs", "azure"])
def store(request: pytest.FixtureRequest) -> Store:
    found: Store = request.getfixturevalue(request.param)
    return found


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    """One without anybody's own credentials, where Beam waits a tenth as long."""
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "GOOGLE_APPLICATION_CREDENTIALS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    pause = threading.Event().wait
    monkeypatch.setattr(retry.Clock, "sleep", lambda _, seconds: pause(seconds / 20))
    return monkeypatch
