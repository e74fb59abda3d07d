"""What talks to each store: where it is, and with whose credentials."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeAlias, cast
from urllib.parse import unquote, urlsplit

from apache_beam.io.filesystem import FileSystem
from apache_beam.io.filesystems import FileSystems
from apache_beam.io.localfilesystem import LocalFileSystem
from apache_beam.options.pipeline_options import (
    GoogleCloudOptions,
    PipelineOptions,
    S3Options,
)
from obstore.exceptions import BaseError
from obstore.store import AzureStore, GCSStore, HTTPStore, S3Store

from earmark.transforms.storage.paths import is_web, scheme
from earmark.transforms.storage.stored import StoreError, reason
from earmark.transforms.text import printable

Client: TypeAlias = S3Store | GCSStore | AzureStore | HTTPStore

GCS = "https://storage.googleapis.com"

_SCOPE = "https://www.googleapis.com/auth/cloud-platform"
_WAITS: dict[str, str] = {"connect_timeout": "5s", "read_timeout": "60s", "timeout": "12h"}
"""A request lasts until its answer's last byte; of that, only standstill is a fault."""


def use_options(options: PipelineOptions) -> None:
    """Have stores, and Beam's own filesystems, go by Beam's options from now on."""
    FileSystems.set_options(options)
    forget_clients()


def forget_clients() -> None:
    """Have endpoints and credentials looked for anew."""
    client_of.cache_clear()
    boto_client.cache_clear()
    _google_credentials.cache_clear()


def is_object_store(uri: str) -> bool:
    """Whether obstore reaches what a URI names, and can take the name.

    It knows no empty steps in names, none that are . or .., and no control characters.
    """
    name = scheme(uri)
    if name not in _MAKERS:
        return False
    key = uri.split("/", 3)[3:]
    return is_web(uri) or not key or _ODD.search(f"/{key[0]}") is None


_ODD = re.compile(r"/(?=/)|/\.{1,2}(?=/|\Z)|[\x00-\x1f\x7f]")


def placed(uri: str) -> tuple[Client, str]:
    """The client for a URI, and the object's key there."""
    if is_web(uri):
        return _web_place(uri)
    root = root_of(uri)
    return client_of(root), uri[len(root) + 1 :]


def root_of(uri: str) -> str:
    """The bucket, container or server of a URI: s3://bucket."""
    return "/".join(uri.split("/", 3)[:3])


@lru_cache(maxsize=256)
def client_of(root: str) -> Client:
    """The client for a bucket, a container, a web server or a file on one; one for the process.

    Raises:
      StoreError: none can be made, such as without an account, or of such a name.
    """
    if not is_web(root) and not _NAME.fullmatch(_bucket(root)):  # with some, obstore panics
        raise StoreError(f"{printable(root)} cannot be a bucket or container")
    try:
        return cast(Client, _MAKERS[scheme(root) or ""](root))
    except BaseError as error:
        raise StoreError(f"{printable(root)}: {reason(error)}") from error


_NAME = re.compile(r"[A-Za-z0-9._$@-]+")


def _web_place(uri: str) -> tuple[Client, str]:
    """A server's client and a file on it; a client for that file alone where no key names it.

    That is with a query, or with percent signs that encode a slash, or what is no text.
    """
    parts = urlsplit(uri)
    key = unquote(parts.path[1:])
    is_text = "\ufffd" not in key and key.count("/") == parts.path[1:].count("/")
    is_key = key and not key.endswith("/") and is_object_store(f"s3://_/{key}")
    if parts.query or not (is_text and is_key):
        return client_of(uri), ""
    return client_of(f"{parts.scheme}://{parts.netloc}"), key


# S3


def _s3(root: str) -> S3Store:
    """As boto3 would have it: its profiles, roles and endpoints, and the bucket's own region."""
    bucket, given = _bucket(root), _s3_flags()
    session, client = boto_client()
    endpoint = str(client.meta.endpoint_url)
    config: Any = {"region": client.meta.region_name or "us-east-1"}
    if urlsplit(endpoint).netloc.endswith(".amazonaws.com"):
        config["region"] = _region_of(bucket, client) or config["region"]
    else:
        config["endpoint"] = endpoint
    if key := given.get("aws_access_key_id"):
        config |= {"access_key_id": key, "secret_access_key": given.get("aws_secret_access_key")}
        config |= {"token": given["aws_session_token"]} if "aws_session_token" in given else {}
        return S3Store(bucket, config=config, client_options=_options(endpoint, given))
    if skips_signatures():
        config["skip_signature"] = True
        return S3Store(bucket, config=config, client_options=_options(endpoint, given))
    from obstore.auth.boto3 import Boto3CredentialProvider

    return S3Store(
        bucket,
        config=config,
        client_options=_options(endpoint, given),
        credential_provider=Boto3CredentialProvider(session),
    )


def skips_signatures() -> bool:
    """Whether requests to S3 go without a signature, as public buckets take them."""
    return os.environ.get("AWS_SKIP_SIGNATURE", "").lower() in ("1", "true")


@lru_cache(maxsize=1)
def boto_client() -> tuple[Any, Any]:
    """boto3's session and client, which know where S3 is and who we are."""
    import boto3
    from botocore import UNSIGNED
    from botocore.config import Config

    session = boto3.Session()
    config = Config(signature_version=UNSIGNED) if skips_signatures() else None
    return session, session.client("s3", config=config, **_s3_flags())


def _s3_flags() -> dict[str, Any]:
    """What Beam's options say of S3, as boto3 takes it."""
    said = _beam_options().view_as(S3Options)
    given = {
        "aws_access_key_id": said.s3_access_key_id,
        "aws_secret_access_key": said.s3_secret_access_key,
        "aws_session_token": said.s3_session_token,
        "endpoint_url": said.s3_endpoint_url,
        "region_name": said.s3_region_name,
        "verify": said.s3_verify,
        "use_ssl": False if said.s3_disable_ssl else None,
    }
    return {name: value for name, value in given.items() if value is not None}


def _region_of(bucket: str, client: Any) -> str | None:
    """Where a bucket is, which S3 tells everybody."""
    from botocore.exceptions import ClientError

    try:
        answer = client.head_bucket(Bucket=bucket)
    except ClientError as error:
        answer = error.response
    headers: Mapping[str, str] = answer.get("ResponseMetadata", {}).get("HTTPHeaders", {})
    return headers.get("x-amz-bucket-region")


# the others


def _gcs(root: str) -> GCSStore:
    """With Application Default Credentials; without any, as public buckets take it."""
    emulator = os.environ.get("STORAGE_EMULATOR_HOST")
    if emulator:
        endpoint = emulator if "://" in emulator else f"http://{emulator}"
        config: Any = {"base_url": endpoint, "bearer_token": "none"}  # which emulators ignore
        return GCSStore(_bucket(root), config=config, client_options=_options(endpoint))
    credentials = _google_credentials()
    if credentials is None:
        return GCSStore(_bucket(root), config={"skip_signature": True}, client_options=_options())
    from obstore.auth.google import GoogleCredentialProvider

    provider = GoogleCredentialProvider(credentials)
    return GCSStore(_bucket(root), credential_provider=provider, client_options=_options())


@lru_cache(maxsize=1)
def _google_credentials() -> Any:
    import google.auth
    from google.auth import impersonated_credentials
    from google.auth.exceptions import DefaultCredentialsError

    try:
        own, _ = google.auth.default(scopes=[_SCOPE])
    except DefaultCredentialsError:
        return None
    accounts = _beam_options().view_as(GoogleCloudOptions).impersonate_service_account
    if not accounts:
        return own
    *delegates, target = accounts.split(",")
    impersonated: Any = impersonated_credentials.Credentials
    return impersonated(own, target, [_SCOPE], delegates=delegates)


def azure_client(root: str, retries: Any = None) -> AzureStore:
    """az://container of AZURE_STORAGE_ACCOUNT_NAME's account, or abfss://container@account...."""
    container, _, host = _bucket(root).partition("@")
    config: Any = {"account_name": host.partition(".")[0]} if host else {}
    emulated = os.environ.get("AZURE_STORAGE_USE_EMULATOR", "").lower() in ("1", "true")
    endpoint = "http:" if emulated else os.environ.get("AZURE_STORAGE_ENDPOINT", "")
    return AzureStore(
        container, config=config, client_options=_options(endpoint), retry_config=retries
    )


def _web(uri: str) -> HTTPStore:
    return HTTPStore(uri, client_options=_options(uri))


def _bucket(root: str) -> str:
    return root.partition("://")[2]


def _options(endpoint: str = "", given: Mapping[str, Any] | None = None) -> Any:
    options: dict[str, Any] = {**_WAITS, "allow_http": endpoint.lower().startswith("http:")}
    verify = (given or {}).get("verify", os.environ.get("AWS_CA_BUNDLE"))
    if verify in (False, "False", "false"):
        options["allow_invalid_certificates"] = True
    elif isinstance(verify, str) and os.path.isfile(verify):
        options["root_certificate"] = Path(verify).read_bytes()
    return options


_MAKERS = {
    "s3": _s3,
    "gs": _gcs,
    "az": azure_client,
    "abfs": azure_client,
    "abfss": azure_client,
    "http": _web,
    "https": _web,
}


class _AskedForOptions(LocalFileSystem):  # type: ignore[misc]
    """Has Beam tell its options, which each plugin is given, in workers, too; no filesystem."""

    SCHEME = "earmark-options"

    @classmethod
    def scheme(cls) -> str:
        return cls.SCHEME

    def __init__(self, pipeline_options: PipelineOptions | None) -> None:
        super().__init__(pipeline_options)
        self.options = pipeline_options


def beam_filesystem(uri: str) -> FileSystem:
    """Beam's filesystem for a URI; some can do nothing without options.

    Raises:
      ValueError: there is none.
    """
    _beam_options()
    return FileSystems.get_filesystem(uri)


def _beam_options() -> PipelineOptions:
    told = FileSystems.get_filesystem(f"{_AskedForOptions.SCHEME}://").options
    if isinstance(told, PipelineOptions):
        return told
    FileSystems.set_options(PipelineOptions([]))
    return PipelineOptions([])
