"""What talks to each store: where it is, and with whose credentials."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from datetime import timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeAlias, cast
from urllib.parse import quote, unquote, urlsplit

from obstore.exceptions import BaseError
from obstore.store import AzureStore, GCSStore, HTTPStore, S3Store

from earmark.transforms.storage.paths import is_web, scheme
from earmark.transforms.storage.stored import StoreError, reason
from earmark.transforms.storage.telling import told
from earmark.transforms.text import printable

Client: TypeAlias = S3Store | GCSStore | AzureStore | HTTPStore

ANSWER_S = 5.0
"""How long a store may take to answer that it is there."""

_SCOPE = "https://www.googleapis.com/auth/cloud-platform"
_WAITS: dict[str, str] = {"connect_timeout": "5s", "read_timeout": "60s", "timeout": "12h"}
"""A request lasts until its answer's last byte; of that, only standstill is a fault."""


def forget_clients() -> None:
    """Have endpoints and credentials looked for anew."""
    client_of.cache_clear()
    probe.cache_clear()
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


_NOT_SENT = re.compile(r"[#\x00-\x1f\x7f]")
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
def client_of(root: str, *, is_patient: bool = True) -> Client:
    """The client for a bucket, a container, a web server or a file on one; one for the process.

    Args:
      root: where it is.
      is_patient: False for a client that asks once, and doesn't wait long.

    Raises:
      StoreError: none can be made, such as without an account, or of such a name.
    """
    if not is_web(root) and not _NAME.fullmatch(_bucket(root)):  # with some, obstore panics
        raise StoreError(f"{printable(root)} cannot be a bucket or container")
    try:
        return _MAKERS[scheme(root) or ""](root, is_patient)
    except BaseError as error:
        said = reason(error)
        if "Account must be specified" in said:
            said = "no account is named: set AZURE_STORAGE_ACCOUNT_NAME, or write abfss://"
        failed = StoreError(said)
        failed.uri = root
        raise failed from error


_NAME = re.compile(r"[A-Za-z0-9._$@-]+")


@lru_cache(maxsize=256)
def probe(root: str) -> None:
    """Ask once whether a bucket, a container or a server is there; that it refuses is an answer.

    Raises:
      StoreError: nobody answers, or there is no such bucket, or no credentials are found.
    """
    client = client_of(root, is_patient=False)
    try:
        with told(root):
            _ = client.head("") if is_web(root) else client.get(_NOBODY)
    except FileNotFoundError as error:
        if re.search("NoSuchBucket|ContainerNotFound", str(error)):
            bucket = printable(root.partition("://")[2])
            raise StoreError(f"there is no bucket {bucket}") from error
    except StoreError as error:
        # Azure refuses who has no account; others, also what is not public
        is_answer = re.match("[0-9]{3} ", reason(error)) is not None
        if not is_answer or scheme(root) not in ("s3", "gs", "http", "https"):
            raise


_NOBODY = "earmark-asks-whether-you-are-there"
"""The key of no object."""


def _web_place(uri: str) -> tuple[Client, str]:
    """A server's client and a file on it; a client for that file alone where no key names it.

    That is with a query, or with percent signs that encode a slash, or what is no text.

    Raises:
      StoreError: what it has in it would be left out of the request.
    """
    if left_out := _NOT_SENT.search(uri):
        raise StoreError(f"a URL has no {left_out[0]!r}: write {quote(left_out[0])}")
    parts = urlsplit(uri)
    key = unquote(parts.path[1:])
    is_text = "\ufffd" not in key and key.count("/") == parts.path[1:].count("/")
    is_key = key and not key.endswith("/") and is_object_store(f"s3://_/{key}")
    if parts.query or not (is_text and is_key):
        return client_of(uri), ""
    return client_of(f"{parts.scheme}://{parts.netloc}"), key


# the makers of clients


def _s3(root: str, is_patient: bool) -> S3Store:
    """As boto3 would have it: its profiles, roles and endpoints, and the bucket's own region."""
    bucket, given = _bucket(root), _s3_flags()
    session, client = boto_client()
    endpoint = str(client.meta.endpoint_url)
    config: Any = {"region": client.meta.region_name or "us-east-1"}
    if urlsplit(endpoint).netloc.endswith(".amazonaws.com"):
        config["region"] = _region_of(bucket, client) or config["region"]
    else:
        config["endpoint"] = endpoint
    provider = None
    if key := given.get("aws_access_key_id"):
        config |= {"access_key_id": key, "secret_access_key": given.get("aws_secret_access_key")}
        config |= {"token": given["aws_session_token"]} if "aws_session_token" in given else {}
    elif _skips_signatures():
        config["skip_signature"] = True
    else:
        provider = _s3_credentials(session)
    manners = _manners(is_patient, endpoint, given.get("verify"))
    return S3Store(bucket, config=config, credential_provider=provider, **manners)


def _s3_credentials(session: Any) -> Any:
    from obstore.auth.boto3 import Boto3CredentialProvider

    if session.get_credentials() is None:
        raise StoreError("no credentials for S3 were found")
    return Boto3CredentialProvider(session)


def _skips_signatures() -> bool:
    """Whether requests to S3 go without a signature, as public buckets take them."""
    return os.environ.get("AWS_SKIP_SIGNATURE", "").lower() in ("1", "true")


@lru_cache(maxsize=1)
def boto_client() -> tuple[Any, Any]:
    """boto3's session and client, which know where S3 is and who we are."""
    import boto3
    from botocore import UNSIGNED
    from botocore.config import Config

    session = boto3.Session()
    config = Config(
        signature_version=UNSIGNED if _skips_signatures() else None,
        connect_timeout=ANSWER_S,
        read_timeout=ANSWER_S,
        retries={"total_max_attempts": 2},
    )
    return session, session.client("s3", config=config, **_s3_flags())


def _s3_flags() -> dict[str, Any]:
    """What Beam's options say of S3, as boto3 takes it."""
    from earmark.transforms.storage.beam_filesystems import s3_options

    said = s3_options()
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


def _gcs(root: str, is_patient: bool) -> GCSStore:
    """With Application Default Credentials; without any, as public buckets take it."""
    endpoint = os.environ.get("STORAGE_EMULATOR_HOST") or ""
    provider, config = None, cast(Any, {})
    if endpoint:
        endpoint = endpoint if "://" in endpoint else f"http://{endpoint}"
        config = {"base_url": endpoint, "bearer_token": "none"}  # which emulators ignore
    elif (credentials := _google_credentials()) is None:
        config = {"skip_signature": True}
    else:
        from obstore.auth.google import GoogleCredentialProvider

        provider = GoogleCredentialProvider(credentials)
    manners = _manners(is_patient, endpoint)
    return GCSStore(_bucket(root), config=config, credential_provider=provider, **manners)


@lru_cache(maxsize=1)
def _google_credentials() -> Any:
    import google.auth
    from google.auth import impersonated_credentials
    from google.auth.exceptions import DefaultCredentialsError

    from earmark.transforms.storage.beam_filesystems import google_options

    try:
        own, _ = google.auth.default(scopes=[_SCOPE])
    except DefaultCredentialsError:
        return None
    accounts = google_options().impersonate_service_account
    if not accounts:
        return own
    *delegates, target = accounts.split(",")
    impersonated: Any = impersonated_credentials.Credentials
    return impersonated(own, target, [_SCOPE], delegates=delegates)


def _azure(root: str, is_patient: bool) -> AzureStore:
    """az://container of AZURE_STORAGE_ACCOUNT_NAME's account, or abfss://container@account...."""
    container, _, host = _bucket(root).partition("@")
    config: Any = {"account_name": host.partition(".")[0]} if host else {}
    emulated = os.environ.get("AZURE_STORAGE_USE_EMULATOR", "").lower() in ("1", "true")
    endpoint = "http:" if emulated else os.environ.get("AZURE_STORAGE_ENDPOINT", "")
    return AzureStore(container, config=config, **_manners(is_patient, endpoint))


def _web(uri: str, is_patient: bool) -> HTTPStore:
    return HTTPStore(uri, **_manners(is_patient, uri))


_MAKERS: dict[str, Callable[[str, bool], Client]] = {
    "s3": _s3,
    "gs": _gcs,
    "az": _azure,
    "abfs": _azure,
    "abfss": _azure,
    "http": _web,
    "https": _web,
}

SCHEMES = frozenset(_MAKERS)
"""Of the URIs that obstore reaches."""


def _bucket(root: str) -> str:
    return root.partition("://")[2]


def _manners(is_patient: bool, endpoint: str = "", verify: Any = None) -> dict[str, Any]:
    """What every kind of client is told."""
    options: dict[str, Any] = {**_WAITS, "allow_http": endpoint.lower().startswith("http:")}
    verify = os.environ.get("AWS_CA_BUNDLE") if verify is None else verify
    if verify in (False, "False", "false"):
        options["allow_invalid_certificates"] = True
    elif isinstance(verify, str) and os.path.isfile(verify):
        options["root_certificate"] = Path(verify).read_bytes()
    if is_patient:
        return {"client_options": options}
    options["timeout"] = f"{round(ANSWER_S * 1000)}ms"
    once = {"max_retries": 0, "retry_timeout": timedelta(seconds=ANSWER_S)}
    return {"client_options": options, "retry_config": once}
