"""What is shown of URIs and flags holds no secrets."""

from __future__ import annotations

import pytest

from transforms.patterns import masked, masked_flags


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("hdfs://me:hush@host/a.wav", "hdfs://me:***@host/a.wav"),
        ("http://:hush@host:9000", "http://:***@host:9000"),
        (
            "cannot read s3://k:p@b/x and gs://k:q@b/y",
            "cannot read s3://k:***@b/x and gs://k:***@b/y",
        ),
        (
            "https://h/a.wav?X-Amz-Date=1&X-Amz-Signature=ab12",
            "https://h/a.wav?X-Amz-Date=1&X-Amz-Signature=***",
        ),
        ("https://h/a?sv=1&sig=a%2Fb#x", "https://h/a?sv=1&sig=***#x"),
        ("https://h/a?access_token=t&b=1", "https://h/a?access_token=***&b=1"),
        ("gs://bucket/a b/[1]?.wav", "gs://bucket/a b/[1]?.wav"),
        ("s3://bucket/12:30@home.wav", "s3://bucket/12:30@home.wav"),
        ("/archive/me:you@home.wav", "/archive/me:you@home.wav"),
    ],
)
def test_secrets_in_uris_are_masked(text: str, shown: str) -> None:
    assert masked(text) == shown


def test_secret_flags_are_masked_however_they_are_written() -> None:
    flags = [
        "--s3_secret_access_key=hush",
        "--s3_session_token",
        "hush",
        "--s3_access_key_id=hush",
        "--s3_region_name",
        "eu-west-1",
        "--s3_endpoint_url=http://me:hush@localhost:9000",
        "--s3_disable_ssl",
    ]
    shown = masked_flags(flags)
    assert not any("hush" in word for word in shown)
    assert shown == [
        "--s3_secret_access_key=***",
        "--s3_session_token",
        "***",
        "--s3_access_key_id=***",
        "--s3_region_name",
        "eu-west-1",
        "--s3_endpoint_url=http://me:***@localhost:9000",
        "--s3_disable_ssl",
    ]
