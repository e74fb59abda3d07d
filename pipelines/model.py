"""`earmark model`: showing a model, packing labels into one, fetching and listing known ones."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from pathlib import Path

from rich.console import Console

from earmark.models.catalogue import cache_folder, fetch, label_locales, published_models
from earmark.models.classifier import check_runs, parse_labels
from earmark.models.describing import describe
from earmark.models.errors import ModelError, nearest
from earmark.models.metadata import TRANSFORMATIONS, CalibrationMetadata
from earmark.pipelines.console import plain, screen
from earmark.pipelines.errors import UsageError
from earmark.pipelines.model_facts import facts, show_facts
from earmark.pipelines.options import Parser
from earmark.pipelines.resolving import find_model, read_calibration, read_text
from earmark.transforms.storage import read_uri, write_whole
from earmark.transforms.text import printable_json

_SAID = (
    *("labels", "sample_rate", "channels", "calibration", "score_threshold"),
    *("name", "description", "version", "author", "license"),
)
"""The options of `earmark model label` that give something to pack."""

_ANY_MODEL = "a .tflite file or URI, builtin, or a name of `earmark model list`"


def command(arguments: Sequence[str]) -> None:
    """Show, label, fetch or list models.

    Raises:
      UsageError: there is no such model, or it cannot be used, labelled or fetched.
    """
    asked = _parser().parse_args(arguments or ["--help"])
    try:
        _ACTIONS[asked.action](asked, screen())
    except ModelError as error:
        raise UsageError(str(error)) from error


def show_info(asked: argparse.Namespace, console: Console) -> None:
    """Print a model's inputs, outputs and labels."""
    said = facts(asked.model)
    if asked.json:
        text = printable_json(json.dumps(said, indent=2, ensure_ascii=False))
        console.print(text, soft_wrap=True, markup=False)
    else:
        show_facts(said, console, all_labels=asked.labels)


def label(asked: argparse.Namespace, console: Console) -> None:
    """Pack labels and metadata into a copy of a .tflite file, and print its path."""
    if not any(getattr(asked, each) is not None for each in _SAID):
        raise UsageError(
            f"nothing to pack: give --{_SAID[0]} or another option with something to pack"
        )
    source = find_model(asked.model)
    if asked.output == "":
        raise UsageError("--output: is empty; name a file")
    output = Path(asked.output or f"{source.name}-labelled.tflite")
    if asked.output is None and output.exists():
        raise UsageError(
            f"{output} exists already: name another file with --output, or this one to replace it"
        )
    if output.exists() and not output.is_file():
        raise UsageError(f"--output {output}: is not a regular file; name another")
    described = describe(
        source.read(read_uri),
        labels=_labels(asked.labels),
        locale=asked.locale,
        sample_rate_hz=asked.sample_rate,
        channels=asked.channels,
        name=asked.name,
        description=asked.description,
        version=asked.version,
        author=asked.author,
        license=asked.license,
        head=asked.head,
        calibration=_calibration(asked),
        score_threshold=asked.score_threshold,
    )
    check_runs(described)
    try:
        write_whole(str(output.absolute()), described)
    except OSError as error:
        raise UsageError(f"--output {output}: {error.strerror}") from error
    console.print(plain(output), soft_wrap=True)


def show_fetched(asked: argparse.Namespace, console: Console) -> None:
    """Get the files of a published model into the user's cache, and print its path."""
    published = {each.name: each for each in published_models()}
    if asked.model not in published:
        hint = nearest(asked.model, published) or f"; known are: {', '.join(published)}"
        raise UsageError(f"{asked.model} is not a model that can be fetched{hint}")
    model = published[asked.model]
    copy = None if asked.copy is None else Path(asked.copy)
    for role in model.files:
        fetch(model, role=role, copy=copy)
    console.print(plain(model.path_in(cache_folder())), soft_wrap=True)


def show_published(asked: argparse.Namespace, console: Console) -> None:
    """Print the models that are known by name."""
    folder = cache_folder()
    for model in published_models():
        where = "in the cache" if model.is_in(folder) else "not fetched yet"
        size_mb = sum(files[0].size_bytes for files in model.files.values()) / 1e6
        about = {
            "files": f"{size_mb:.0f} MB, {where}",
            "license": "; ".join(filter(None, (model.license, model.terms))),
            "languages": ", ".join(label_locales(model)),
            "home": model.home,
            "cite": model.cite,
            "sha256": model.sha256,
        }
        console.print(f"[bold]{plain(model.name)}[/bold]  {plain(model.title)}", soft_wrap=True)
        for name, value in about.items():
            if value:
                console.print(f"  {name:<9}  {plain(value)}", soft_wrap=True, highlight=False)
        console.print()


_ACTIONS: dict[str, Callable[[argparse.Namespace, Console], None]] = {
    "info": show_info,
    "label": label,
    "fetch": show_fetched,
    "list": show_published,
}


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="earmark model", description="Show, label, fetch or list models.", allow_abbrev=False
    )
    actions = parser.add_subparsers(dest="action", required=True, metavar="|".join(_ACTIONS))
    info = actions.add_parser(
        "info", help="show a model's inputs, outputs and labels", allow_abbrev=False
    )
    info.add_argument("model", metavar="MODEL", help=_ANY_MODEL)
    info.add_argument("--labels", action="store_true", help="list every label")
    info.add_argument("--json", action="store_true", help="print everything as JSON")
    _add_label_arguments(
        actions.add_parser(
            "label",
            allow_abbrev=False,
            help="pack labels and metadata into a .tflite file",
            description="Pack labels and metadata into a copy of a .tflite file. What is not given "
            "is kept, so labels of several heads or locales can be packed one after another.",
        )
    )
    get = actions.add_parser("fetch", help="get a published model into the user's cache")
    get.add_argument("model", metavar="MODEL", help="a name of `earmark model list`")
    get.add_argument(
        "--from",
        dest="copy",
        metavar="PATH",
        help="take its files from this file, archive or folder, under whatever names, instead of "
        "downloading them",
    )
    actions.add_parser("list", help="list the models that are known by name")
    return parser


def _add_label_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("model", metavar="MODEL", help=_ANY_MODEL)
    add(
        "--labels",
        metavar="FILE",
        help="a name for each class, one per line, in the output's order",
    )
    add("--locale", help="the language of these labels, such as de; without one, the main labels")
    add(
        "--head",
        type=whole_number,
        metavar="N",
        help="the number of the output, from 0, if there are several",
    )
    add("--sample_rate", type=whole_number, metavar="HZ", help="of the model's input")
    add("--channels", type=whole_number, metavar="N", help="of the model's input; default: 1")
    add(
        "--calibration",
        metavar="FILE",
        help="score calibration: scale,slope,offset[,min_score] for each class, one per line; an "
        "empty line for a class that gets the default score",
    )
    add(
        "--calibration_transformation",
        choices=TRANSFORMATIONS,
        default="identity",
        help="applied to scores before calibration; default: identity",
    )
    add("--calibration_default", type=float, default=0.0, help="the default score; default: 0")
    add("--score_threshold", type=float, help="the lowest score of a detection in this head")
    for text in ("name", "description", "version", "author", "license"):
        add(f"--{text}", metavar="TEXT", help=f"the model's {text}")
    add("--output", metavar="FILE", help="default: MODEL-labelled.tflite, in the current folder")


def whole_number(text: str) -> int:
    """A non-negative integer; argparse's error message uses this function's name."""
    if not (text.isascii() and text.isdigit()):
        raise ValueError
    return int(text)


def _labels(path: str | None) -> tuple[str, ...] | None:
    if path is None:
        return None
    try:
        return parse_labels(read_text("labels", path).encode())
    except ModelError as error:
        raise UsageError(f"--labels {path}: {error}") from error


def _calibration(asked: argparse.Namespace) -> CalibrationMetadata | None:
    if asked.calibration is None:
        if asked.calibration_transformation != "identity" or asked.calibration_default:
            raise UsageError(
                "--calibration_transformation and --calibration_default need --calibration"
            )
        return None
    return CalibrationMetadata(
        asked.calibration_transformation,
        asked.calibration_default,
        read_calibration(asked.calibration),
    )
