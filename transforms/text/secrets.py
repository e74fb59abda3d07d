"""Masking secrets, recognised by name and by form, in what is shown, logged or written."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any

MASK = "***"
"""What replaces a secret."""


def masked(text: str) -> str:
    """A text with *** for what looks like a secret, or is named like one.

    Secrets are passwords in URIs, signatures of presigned URLs, values after names such as
    password= or AccountKey=, bearer tokens, private keys, and well-known kinds of keys and tokens.
    """
    for shape, instead in _SHAPES:
        text = shape.sub(instead, text)
    return text


def masked_value(name: str, value: Any) -> Any:
    """An option's value, JSON or a text that may hold JSON, with *** for the secrets in it."""
    if value is None or isinstance(value, bool):
        return value
    if is_secret_name(name):
        return MASK
    if isinstance(value, dict):
        is_all_secret = name in _ENVIRONMENTS
        return {key: MASK if is_all_secret else masked_value(key, value[key]) for key in value}
    if isinstance(value, (list, tuple)):
        return [masked_value(name, each) for each in value]
    return _masked_text(value) if isinstance(value, str) else value


def masked_flags(flags: Iterable[str]) -> list[str]:
    """Flags of a command line, with *** for the secrets in their values.

    A value follows its flag's `=`, or is the next word.
    """
    shown: list[str] = []
    flag = ""
    for word in flags:
        if not word.startswith("--"):
            shown.append(str(masked_value(flag, word)))
            continue
        flag, equals, value = word.partition("=")
        flag = flag.lstrip("-")
        shown.append(f"--{flag}={masked_value(flag, value)}" if equals else masked(word))
    return shown


def is_secret_name(name: str) -> bool:
    """Whether a name is that of a secret."""
    return _SECRET_NAME.search(name) is not None


def holds_credentials(uri: str) -> bool:
    """Whether a URI has a password or a signature in it, which no store takes there."""
    return _PASSWORD.search(uri) is not None or _QUERY_SECRET.search(uri) is not None


def _masked_text(text: str) -> str:
    if not text.lstrip().startswith(("{", "[")):
        return masked(text)
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return MASK if text.lstrip().startswith("{") else masked(text)
    return json.dumps(masked_value("", value)) if isinstance(value, dict) else masked(text)


_ENVIRONMENTS = ("env", "environment", "environment_variables")
"""Keys in JSON whose values are variables of an environment, where secrets are usual."""

_NAMES = r"""(?:secret | token | passw(?:or)?d | passphrase | credential | signature
    | (?:access|account|api|private|shared|auth|encryption|client|master)[_-]?key
    | connection[_-]?string | authorization | process_variables | (?<![a-z])(?:pwd|sig)(?![a-z]))"""
_SECRET_NAME = re.compile(_NAMES, re.IGNORECASE | re.VERBOSE)

_PASSWORD = re.compile(
    r"(\b[a-z][a-z0-9+.-]{0,30}://[^\s/?\#:@]{0,200}:) [^\s/]* @", re.IGNORECASE | re.VERBOSE
)
_PASSWORD_WITH_SLASH = re.compile(
    r"(\b[a-z][a-z0-9+.-]{0,30}://[^\s/?\#:@]{0,200}:) (?!\d{1,5}/) [^\s'\"]{0,500} @",
    re.IGNORECASE | re.VERBOSE,
)
_QUERY_SECRET = re.compile(
    rf"([?&] [\w.%-]{{0,60}} {_NAMES} [\w.%-]{{0,40}} =) [^\s&\#'\"]+", re.IGNORECASE | re.VERBOSE
)
_QUOTED = re.compile(
    rf"""((?P<quote>\\?["']) [\w.-]{{0,60}} {_NAMES} [\w.-]{{0,40}} (?P=quote)
    \s*:\s* (?P<open>\\?["'])) (?: (?! (?P=open) ) . )* """,
    re.IGNORECASE | re.VERBOSE,
)
_NAMED = re.compile(
    rf"""((?: {_NAMES} [\w.-]{{0,40}} (?:\s*=\s*|:\s+)
    | --[\w-]{{0,60}} {_NAMES} [\w-]{{0,40}} \s+ (?!-) ) )
    (?: "[^"]*" | '[^']*' | (?:(?:bearer|basic)\s+)? (?!\*\*\*) [^\s;'"]+ )""",
    re.IGNORECASE | re.VERBOSE,
)
_PRIVATE_KEY = re.compile(
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL
)
_BEARER = re.compile(r"\b(bearer)(\s+)[\w.~+/=-]{8,}", re.IGNORECASE)
_OF_A_MAKE = re.compile(
    r"""\b(?: (?:AKIA|ASIA)[A-Z0-9]{16}            # AWS
    | gh[pousr]_[A-Za-z0-9]{20,} | github_pat_\w{20,} | glpat-[\w-]{20,}
    | xox[abprs]-[\w-]{10,}                         # Slack
    | AIza[\w-]{35} | ya29\.[\w-]{10,}              # Google
    | sk-(?:proj-)?[A-Za-z0-9]{20,}
    | eyJ[\w-]{10,}\.[\w-]{4,}\.[\w-]* )            # a JSON web token
    | (?<![\w/+=.-]) (?=[A-Za-z0-9/+]*[A-Z]) (?=[A-Za-z0-9/+]*[a-z]) (?=[A-Za-z0-9/+]*[0-9])
      [A-Za-z0-9+] [A-Za-z0-9/+]{39} (?![\w/+=.-])  # a secret access key of AWS""",
    re.VERBOSE,
)

_SHAPES = (
    (_PRIVATE_KEY, MASK),
    (_PASSWORD, rf"\1{MASK}@"),
    (_PASSWORD_WITH_SLASH, rf"\1{MASK}@"),
    (_QUERY_SECRET, rf"\1{MASK}"),
    (_QUOTED, rf"\1{MASK}"),
    (_NAMED, rf"\1{MASK}"),
    (_BEARER, rf"\1\2{MASK}"),
    (_OF_A_MAKE, MASK),
)
