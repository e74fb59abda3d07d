"""What goes wrong with stores, told in one line."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from obstore.exceptions import BaseError, InvalidPathError

from earmark.transforms.errors import store_errors
from earmark.transforms.storage.signed_urls import refusal, without_signature
from earmark.transforms.storage.stored import StoreError, is_missing, reason
from earmark.transforms.text import printable


class OddNameError(StoreError):
    """There is an object whose name obstore cannot take."""


@contextmanager
def told(uri: str) -> Iterator[None]:
    """Have a library's errors told in one line, as those of a store, with what they are about."""
    named = without_signature(uri)[0]
    try:
        yield
    except StoreError as error:
        error.uri = error.uri or named
        raise
    except InvalidPathError as error:
        raise OddNameError(_line(error)) from error
    except store_errors(BaseError) as error:
        if is_missing(error):
            raise FileNotFoundError(_line(error)) from error
        failed = StoreError(refusal(uri, _line(error)))
        failed.uri = named
        raise failed from error


def _line(error: Exception) -> str:
    """What a store has answered, of all that a library tells about it."""
    said, is_of_obstore, details = str(error).partition("\n\nDebug source:")
    if not is_of_obstore:
        return reason(error)
    if "Range request not supported" in said:
        return "the connection broke off, or needs parts of the file, which the server doesn't send"
    said = " ".join(re.sub(r" in [0-9.]+[nµm]?s\b", "", said).split())
    if status := re.search(r"status code: ([0-9]{3}(?: [A-Za-z]+)*)", said):
        named = [re.search(rf"<{tag}>(.*?)</", said) for tag in ("Code", "Message")]
        return printable(": ".join([status[1], *(each[1] for each in named if each)]))
    asked = re.search(r"performing [A-Z]+ ([a-z]+://[^/ ]+)", said)
    if asked and re.search("kind: (?:Connect|Timeout)", details):
        said = f"nobody answers at {asked[1]}"
    system = re.search(r'(?:message|error): "([^"]+)"', details)
    why = system[1] if system else "timed out" if "source: TimedOut" in details else ""
    return printable(said) + (f": {printable(why)}" if why else "")
