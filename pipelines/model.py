"""`earmark model`: what a model takes, gives and is called; fetching one ahead of time."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from models.classifier import AudioClassifier, load_classifier
from models.errors import ModelError
from models.sources import PUBLISHED, ModelSource, cache_folder, fetch, resolve
from pipelines.errors import UsageError, nearest
from pipelines.options import Parser
from transforms.local_copies import read_uri

_LABELS_SHOWN = 20


def command(arguments: Sequence[str]) -> None:
    """Show or fetch a model.

    Raises:
      UsageError: there is no such model, or it cannot be used or fetched.
    """
    asked = _parser().parse_args(arguments)
    try:
        if asked.action == "info":
            show_info(asked.model, Console(), all_labels=asked.labels)
        else:
            show_fetched(asked.model, Console())
    except ModelError as error:
        raise UsageError(str(error)) from error


def show_info(model: str, console: Console, *, all_labels: bool) -> None:
    """Print what a model takes, gives and is called."""
    source = resolve(model, read_uri)
    classifier = load_classifier(source, read=read_uri)
    grid = Table.grid(padding=(0, 2))
    for name, value in _facts(source, classifier, all_labels):
        grid.add_row(f"[dim]{name}[/dim]", escape(value))
    console.print(grid, highlight=False)


def show_fetched(model: str, console: Console) -> None:
    """Fetch a published model into the user's cache, and print where it lies."""
    published = {each.name: each for each in PUBLISHED}
    if model not in published:
        hint = nearest(model, published) or f"; there is {', '.join(published)}"
        raise UsageError(f"{model} is not a model to fetch{hint}")
    fetch(published[model])
    console.print(escape(str(published[model].path_in(cache_folder()))), soft_wrap=True)


def _parser() -> argparse.ArgumentParser:
    parser = Parser(prog="earmark model", description="Show or fetch a model.")
    actions = parser.add_subparsers(dest="action", required=True, metavar="info|fetch")
    info = actions.add_parser("info", help="what a model takes, gives and is called")
    info.add_argument("model", metavar="MODEL", help="a .tflite file or URI, yamnet or builtin")
    info.add_argument("--labels", action="store_true", help="list every label")
    get = actions.add_parser("fetch", help="fetch a model into the user's cache, and say where")
    get.add_argument("model", metavar="MODEL", help="yamnet")
    return parser


def _facts(
    source: ModelSource, classifier: AudioClassifier, all_labels: bool
) -> Iterator[tuple[str, str]]:
    said = classifier.metadata
    yield "name", classifier.name
    yield "location", source.location
    yield "sha256", classifier.sha256
    described = {
        "title": said.name,
        "version": said.version,
        "author": said.author,
        "license": said.license,
        "description": said.description,
    }
    yield from ((name, value) for name, value in described.items() if value)
    assumed = " (assumed: the model does not say)" if classifier.sample_rate_assumed else ""
    seconds = classifier.frame_samples / classifier.sample_rate_hz
    yield "takes", f"frames of {classifier.frame_samples} samples, {seconds:g} s, mono"
    yield "sample rate", f"{classifier.sample_rate_hz} Hz{assumed}"
    yield "gives", f"{classifier.classes} scores"
    yield "runs", classifier.runs
    yield "labels", "\n".join(classifier.labels) if all_labels else _some(classifier.labels)


def _some(labels: Sequence[str]) -> str:
    more = len(labels) - _LABELS_SHOWN
    rest = f", and {more} more (--labels lists all)" if more > 0 else ""
    return ", ".join(labels[:_LABELS_SHOWN]) + rest
