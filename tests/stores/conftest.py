"""Stores on loopback: moto's S3 and gcp-storage-emulator's GCS, each behind a faulty proxy."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from apache_beam.io.filesystems import FileSystems
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.utils import retry

from tests.pipelines.conftest import classify, record  # noqa: F401 (fixtures)
from tests.stores.faults import SECRET, FaultyProxy, Store


@pytest.fixture(scope="session")
def moto() -> Iterator[tuple[str, int]]:
    server = pytest.importorskip("moto.server", reason="moto[server] is not installed")
    pytest.importorskip("boto3", reason="earmark[aws] is not installed")
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    running = server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    running.start()
    yield running.get_host_and_port()
    running.stop()


@pytest.fixture(scope="session")
def gcs_emulator() -> Iterator[tuple[str, int]]:
    server = pytest.importorskip(
        "gcp_storage_emulator.server", reason="gcp-storage-emulator is not installed"
    )
    pytest.importorskip("google.cloud.storage", reason="earmark[gcp] is not installed")
    logging.getLogger("gcp_storage_emulator").setLevel(logging.ERROR)
    running = server.create_server("127.0.0.1", 0, in_memory=True, default_bucket="archive")
    running.start()
    yield running._api._httpd.server_address[:2]
    running.stop()


@pytest.fixture
def s3(moto: tuple[str, int], environment: pytest.MonkeyPatch) -> Iterator[Store]:
    import boto3

    host, port = moto
    keys = {"aws_access_key_id": "tester", "aws_secret_access_key": SECRET}
    resource = boto3.resource(
        "s3", endpoint_url=f"http://{host}:{port}", region_name="us-east-1", **keys
    )
    bucket = resource.create_bucket(Bucket="archive")
    proxy = FaultyProxy(moto)
    environment.setenv("AWS_ENDPOINT_URL", proxy.url)
    environment.setenv("AWS_ACCESS_KEY_ID", "tester")
    environment.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    environment.setenv("AWS_DEFAULT_REGION", "us-east-1")

    def put(name: str, content: bytes) -> None:
        bucket.put_object(Key=name, Body=content)

    def get_all() -> dict[str, bytes]:
        return {each.key: each.get()["Body"].read() for each in bucket.objects.all()}

    FileSystems.set_options(PipelineOptions([]))
    yield Store("s3://archive", proxy, put, get_all)
    proxy.close()
    bucket.objects.all().delete()


@pytest.fixture
def gcs(gcs_emulator: tuple[str, int], environment: pytest.MonkeyPatch) -> Iterator[Store]:
    from apache_beam.internal.gcp import auth
    from google.auth.credentials import AnonymousCredentials
    from google.cloud import storage

    host, port = gcs_emulator
    client = storage.Client(
        project="tests",
        credentials=AnonymousCredentials(),
        client_options={"api_endpoint": f"http://{host}:{port}"},
    )
    proxy = FaultyProxy((host, port))
    proxy.page_size = 100
    # as if there were none: those of a service account would be looked up at Google
    environment.setattr(auth._Credentials, "_credentials_init", True)
    environment.setattr(auth._Credentials, "_credentials", None)
    environment.setenv("STORAGE_EMULATOR_HOST", proxy.url)
    bucket = client.bucket("archive")

    def put(name: str, content: bytes) -> None:
        bucket.blob(name).upload_from_string(content)

    def get_all() -> dict[str, bytes]:
        return {each.name: each.download_as_bytes() for each in client.list_blobs("archive")}

    FileSystems.set_options(PipelineOptions([]))
    yield Store("gs://archive", proxy, put, get_all)
    proxy.close()
    for blob in client.list_blobs("archive"):
        blob.delete()


@pytest.fixture(params=["s3", "gcs"])
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
