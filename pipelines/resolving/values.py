"""From options to what a run goes by: files are read, and settings filled."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from inspect import signature
from typing import Any, TypeVar

from earmark.models.classifier import parse_labels
from earmark.models.errors import ModelError
from earmark.models.metadata import CalibrationMetadata
from earmark.models.scores import parse_label_list, parse_thresholds
from earmark.pipelines.errors import UsageError
from earmark.pipelines.options import OWN_PLACE, ClassifyOptions, told
from earmark.transforms.elements import Place
from earmark.transforms.storage import ListingError, read_small, reason, shown, unusable_errors

_T = TypeVar("_T")

_LARGEST_TEXT_BYTES = 16_000_000

_BRIEF = 2000
"""Characters of several values that files state; of longer ones, they state the sha256."""


def resolved(options: ClassifyOptions) -> dict[str, Any]:
    """The values of options by name; of those that name a file, its content.

    Raises:
      UsageError: a file cannot be read, or has another content.
    """
    return {
        **dict(options),
        "labels": _parsed("labels", options.labels, lambda text: parse_labels(text.encode())),
        "calibration": _calibration(options),
        "thresholds": _parsed("thresholds", options.thresholds, parse_thresholds) or {},
        "allow": sorted(_listed("allow", options.allow or ())),
        "usual_place": _usual_place(options.place),
        "deny": sorted(_listed("deny", options.deny or ())),
    }


def filled(kind: Callable[..., _T], values: Mapping[str, Any], **others: Any) -> _T:
    """Settings of some kind: fields that are named like an option get its value.

    Args:
      kind: a class of settings.
      values: of options, by name.
      others: fields that are named otherwise, or have another value.
    """
    own = {name: values[name] for name in signature(kind).parameters if name in values}
    return kind(**{**own, **others})


def stated(values: Mapping[str, Any]) -> dict[str, str]:
    """What files state of options that rows depend on, by name."""
    states = {name: told(name)["stated"] for name in ClassifyOptions.model_fields}
    return {
        name: _in_words(values[name], "none" if unset is True else unset)
        for name, unset in states.items()
        if unset is not False
    }


def _in_words(value: object, unset: str) -> str:
    if value is None:
        return unset
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, Mapping):
        return _brief(f"{name},{each}" for name, each in sorted(value.items()))
    return _brief(map(str, value)) if isinstance(value, (list, tuple)) else str(value)


def _brief(parts: Iterable[str]) -> str:
    text = "; ".join(parts) or "none"
    if len(text) <= _BRIEF and "\n" not in text:
        return text
    return f"sha256 {hashlib.sha256(text.encode()).hexdigest()}"


def read_text(option: str, path: str) -> str:
    """The text of the file or URI that an option names.

    Raises:
      UsageError: it cannot be read, or is not text.
    """
    try:
        return read_small(path, _LARGEST_TEXT_BYTES).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UsageError(f"--{option} {shown(path)}: not UTF-8 text") from error
    except ListingError as error:
        raise UsageError(f"--{option} {error}") from error
    except unusable_errors() as error:
        said = error.strerror if isinstance(error, OSError) else None
        raise UsageError(f"--{option} {shown(path)}: {said or reason(error)}") from error


def read_calibration(path: str) -> str:
    """The text of a score calibration file, without the newline of its last line.

    That newline would otherwise count as an empty line, for one class more.

    Raises:
      UsageError: it cannot be read, or is not text.
    """
    return read_text("calibration", path).replace("\r\n", "\n").removesuffix("\n")


def _usual_place(place: str | None) -> Place | None:
    return None if place in (None, OWN_PLACE) else Place.of(str(place))


def _calibration(options: ClassifyOptions) -> CalibrationMetadata | None:
    if options.calibration is None:
        return None
    how = options.calibration_transformation, options.calibration_default
    return CalibrationMetadata(*how, read_calibration(options.calibration))


def _parsed(option: str, path: str | None, parse: Callable[[str], _T]) -> _T | None:
    if path is None:
        return None
    text = read_text(option, path)
    try:
        return parse(text)
    except ModelError as error:
        raise UsageError(f"--{option} {shown(path)}: {error}") from error


def _listed(option: str, given: Sequence[str]) -> Iterator[str]:
    """Labels and patterns, with the lines of the files that are among them."""
    for each in given:
        if not each.startswith("@"):
            yield each
            continue
        if each == "@":
            raise UsageError(f"--{option} @: name a file after the @")
        listed = parse_label_list(read_text(option, each[1:]))
        if not listed:
            raise UsageError(f"--{option} {shown(each)}: contains no labels")
        yield from listed
