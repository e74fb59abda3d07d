"""What is shown, logged or written holds no secrets, whether told by a name or by their shape."""

from __future__ import annotations

import pytest

from earmark.transforms.text.secrets import holds_credentials, masked, masked_flags, masked_value


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


HUSH = "hush-Hush-42"

AZURE = f"DefaultEndpointsProtocol=https;AccountName=me;AccountKey={HUSH}/+==;EndpointSuffix=x.net"


@pytest.mark.parametrize(
    "text",
    [
        AZURE,
        f"https://me.blob.core.windows.net/in?sv=2024&sp=r&sig={HUSH}&se=2030",
        f"SharedAccessSignature=sv=2024&sig={HUSH}",
        f"password={HUSH}",
        f"password: '{HUSH} and {HUSH}'",
        f"Authorization: Bearer {HUSH}",
        f"the header bearer {HUSH} is refused",
        f"worker --db_password {HUSH} --port 3",
        f'{{"env": 1, "apiKey": "{HUSH}"}}',
        f"{{'client_secret': '{HUSH}', 'a': 1}}",
        f"hdfs://me:{HUSH}/more@host/a.wav",
        f"-----BEGIN RSA PRIVATE KEY-----\n{HUSH}\n-----END RSA PRIVATE KEY-----",
        f"-----BEGIN PRIVATE KEY-----\n{HUSH}",
    ],
)
def test_a_secret_is_masked_wherever_it_stands(text: str) -> None:
    assert HUSH not in masked(text)
    assert "***" in masked(text)
    assert masked(masked(text)) == masked(text)


@pytest.mark.parametrize(
    "secret",
    [
        "AKIA" + "ABCDEFGHIJKLMNOP",
        "wJalrXUtnFEMI/K7MDENG" + "/bPxRfiCYEXAMPLEKEY",
        "ghp_" + "0123456789abcdefghijABCDEFGHIJ",
        "xoxb-" + "1234567890-abcdefghij",
        "AIza" + "SyA1234567890abcdefghijklmnopqrstuv",
        "eyJhbGciOiJIUzI1NiJ9" + ".eyJzdWIiOiIxMjM0NTY3ODkwIn0.c2lnbmF0dXJl",
    ],
)
def test_keys_and_tokens_of_well_known_makes_are_masked_without_a_name(secret: str) -> None:
    assert masked(f"refused: {secret}, sorry") == "refused: ***, sorry"


@pytest.mark.parametrize(
    "text",
    [
        "/archive/2024/site 12/20240528_100000.wav",
        "sha256 10c95ea3eb9a7bb4cb8bddf6feb023250381008177ac162ce169694d05c317de",
        "http://host:9000/a@b.wav",
        "a label such as Whistling, or Bird vocalization, bird call, bird song",
        "--s3_region_name eu-west-1",
    ],
)
def test_what_is_no_secret_stays(text: str) -> None:
    assert masked(text) == text


def test_variables_of_an_environment_are_secret_whatever_they_are_called() -> None:
    config = '{"command": "/opt/run --password hush", "env": {"HOME": "hush", "A": "hush"}}'
    for flags in (["--environment_config", config], [f"--environment_config={config}"]):
        shown = " ".join(masked_flags(flags))
        assert "hush" not in shown
        assert '"HOME": "***"' in shown
    assert masked_flags(["--environment_options=process_variables=A=hush,B=hush"]) == [
        "--environment_options=process_variables=***"
    ]
    assert "hush" not in masked_flags(['--environment_config={"env": {"A": "hush"'])[0]


def test_an_option_is_masked_by_its_name() -> None:
    assert masked_flags([f"--azure_connection_string={AZURE}"]) == ["--azure_connection_string=***"]
    assert masked_value("api_key", ["a", "b"]) == "***"
    assert masked_value("input", [f"s3://me:{HUSH}@b/x"]) == ["s3://me:***@b/x"]
    assert masked_value("top_k", 5) == 5
    assert masked_value("watch", True) is True


def test_only_what_no_store_takes_counts_as_credentials_in_a_uri() -> None:
    assert holds_credentials("s3://me:hush@bucket/a.wav")
    assert holds_credentials("https://h/a?X-Amz-Signature=ab12")
    assert not holds_credentials("s3://bucket/token=5/AKIAABCDEFGHIJKLMNOP.wav")


def test_a_long_text_is_masked_in_good_time() -> None:
    for text in ("a." * 50_000, "://:" * 25_000, "a-token-" * 12_000, "x" * 100_000):
        assert len(masked(text)) > 0
