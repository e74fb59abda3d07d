"""URLs that carry their own permission: presigned ones of S3, GCS and CloudFront, Azure's SAS.

What such a URL names is told from what it permits, so that an object that is signed again tomorrow
is the same object.
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone
from urllib.parse import parse_qsl, urlsplit

from earmark.transforms.elements import Address

EXPIRED = "the URL's signature has expired"


def without_signature(uri: str) -> tuple[str, Address | None]:
    """The part of a URL that names an object, and the whole if it is signed.

    Other URIs, and other parts of its query, stay as they are.
    """
    beginning, _, rest = uri.partition("?")
    query, sign, fragment = rest.partition("#")
    named = _signing(query)
    if named is None or not beginning.lower().startswith(("http://", "https://")):
        return uri, None
    kept = "&".join(each for each in query.split("&") if not named.fullmatch(_name(each)))
    return f"{beginning}{'?' if kept else ''}{kept}{sign}{fragment}", Address(uri)


def refusal(uri: str, said: str) -> str:
    """What to tell of a request that a store has answered with an error."""
    is_refused = without_signature(uri)[1] and re.match("40[013]", said)
    return EXPIRED if is_refused and (has_expired(uri) or "expired" in said.lower()) else said


def has_expired(uri: str) -> bool:
    """Whether a URL says of itself that it permits nothing any more."""
    values = {name.lower(): value for name, value in parse_qsl(urlsplit(uri).query)}
    try:
        until = _until(values)
    except (ValueError, OverflowError):
        return False
    return until is not None and until < datetime.now(timezone.utc)


def _signing(query: str) -> re.Pattern[str] | None:
    """The names of the parameters that permit; None where none does."""
    names = set(map(_name, query.split("&")))
    return next((named for by, named in _SIGNED.items() if names.issuperset(by)), None)


def _name(parameter: str) -> str:
    return parameter.partition("=")[0].lower()


_SIGNED = {
    ("x-amz-signature",): re.compile("x-amz-.+"),
    ("x-goog-signature",): re.compile("x-goog-.+"),
    ("signature", "awsaccesskeyid"): re.compile(
        "signature|awsaccesskeyid|expires|x-amz-security-token"
    ),
    ("signature", "googleaccessid"): re.compile("signature|googleaccessid|expires"),
    ("signature", "key-pair-id"): re.compile("signature|key-pair-id|expires|policy|hash-algorithm"),
    ("sig", "sv"): re.compile(
        "sig|sv|s[eiprst]|ss|srt|sip|spr|scid|sdd|ses|sk(oid|tid|t|e|s|v)|(sa|su|sdu)oid|skdutid"
    ),
}
"""The parameters that a signature takes, by those by which it is recognised.

Sources: "Authenticating requests: using query parameters" and "Signing and authenticating REST
requests" of Amazon S3, "Signed URLs" and "V2 signing process" of Cloud Storage, "Using signed URLs"
of CloudFront, "Create a service SAS" and "Create a user delegation SAS" of Azure Storage.
"""


def _until(values: dict[str, str]) -> datetime | None:
    for maker in ("x-amz-", "x-goog-"):
        if f"{maker}signature" in values:
            signed_at = datetime.strptime(values.get(f"{maker}date", ""), "%Y%m%dT%H%M%SZ")
            lasts = timedelta(seconds=int(values.get(f"{maker}expires", "")))
            return signed_at.replace(tzinfo=timezone.utc) + lasts
    if "sig" in values and "se" in values:
        until = datetime.fromisoformat(values["se"].replace("Z", "+00:00"))
        return until if until.tzinfo else until.replace(tzinfo=timezone.utc)
    if "signature" in values and "expires" in values:
        return datetime.fromtimestamp(int(values["expires"]), timezone.utc)
    return None
