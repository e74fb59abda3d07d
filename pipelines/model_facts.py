"""A description of a model, as JSON values and as text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

from rich.console import Console
from rich.table import Table

from earmark.models.classifier import AudioClassifier
from earmark.models.errors import ModelError
from earmark.models.metadata import InputMetadata, OutputMetadata
from earmark.models.scores import Head
from earmark.pipelines.console import plain
from earmark.pipelines.options import ClassifyOptions
from earmark.pipelines.resolving import ModelLoader, find_model, with_known_use
from earmark.transforms.text import printable

_LABELS_SHOWN = 20
_LONGEST_LINE = 4000


def facts(model: str) -> dict[str, Any]:
    """All that is known about a model; JSON values.

    Raises:
      ModelError: the model cannot be read or run.
    """
    source = find_model(model)
    classifier, embedding_size = _loaded(source)
    said, interface = classifier.metadata, classifier.interface
    return {
        "name": classifier.name,
        "location": source.location,
        "sha256": classifier.sha256,
        "metadata": {
            "name": said.name,
            "version": said.version,
            "author": said.author,
            "license": said.license,
            "description": said.description,
            "min_parser_version": said.min_parser_version,
            "inputs": [_input(each) for each in said.inputs],
            "outputs": [_output(each) for each in said.outputs],
        },
        "takes": {
            "tensor": str(interface.audio),
            "frame_samples": classifier.frame_samples,
            "hop_samples": classifier.hop_samples,
            "window_samples": classifier.window_samples,
            "channels": classifier.channels,
            "sample_rate_hz": classifier.sample_rate_hz,
            "sample_rate_assumed": classifier.sample_rate_assumed,
            "cuts_frames": interface.cuts_frames,
            "batch": interface.batch,
        },
        "heads": [_head(each) for each in classifier.heads],
        "embedding_size": embedding_size,
        "unused_outputs": list(interface.unused),
        "runs": classifier.runs,
    }


def show_facts(said: Mapping[str, Any], console: Console, *, all_labels: bool) -> None:
    """Print a model's facts for people.

    Args:
      said: the result of `facts`.
      console: where to print.
      all_labels: list every label, not just the first of many.
    """
    grid = Table.grid(padding=(0, 2))
    grid.add_column()
    grid.add_column(overflow="fold")
    for name, value in _lines(said, all_labels):
        lines = [plain(line, _LONGEST_LINE) for line in value.split("\n")]
        grid.add_row(f"[dim]{plain(name, 100)}[/dim]", "\n".join(lines))
    console.print(grid)


def _loaded(source: Any) -> tuple[AudioClassifier, int | None]:
    """The model as runs use it, and how many values its embeddings have, if it has any."""
    values = dict(ClassifyOptions(input=("-",), output="-"))
    with suppress(ModelError):  # its labels may be somewhere else
        values = with_known_use(source, values)
    try:
        with_embeddings = ModelLoader.of(source, {**values, "embeddings": "float32"})()
    except ModelError:
        return ModelLoader.of(source, values)(), None
    return with_embeddings, with_embeddings.embedding_size


def _input(described: InputMetadata) -> dict[str, Any]:
    return {
        "name": described.name,
        "description": described.description,
        "sample_rate_hz": described.sample_rate_hz,
        "channels": described.channels,
    }


def _output(described: OutputMetadata) -> dict[str, Any]:
    calibration = described.calibration
    return {
        "name": described.name,
        "description": described.description,
        "label_files": [
            {"name": file.name, "locale": file.locale, "labels": len(file.labels)}
            for file in described.label_files
        ],
        "score_threshold": described.score_threshold,
        "calibration": None if calibration is None else calibration._asdict(),
    }


def _head(head: Head) -> dict[str, Any]:
    return {
        "name": head.name,
        "output": head.output.position,
        "classes": head.output.values,
        "score_threshold": head.score_threshold,
        "calibrated": head.calibration is not None,
        "labels": list(head.labels),
    }


def _lines(said: Mapping[str, Any], all_labels: bool) -> Iterator[tuple[str, str]]:
    metadata, takes = said["metadata"], said["takes"]
    for name in ("name", "location", "sha256"):
        yield name, said[name]
    titles = ("version", "author", "license", "description")
    described = {"title": metadata["name"], **{name: metadata[name] for name in titles}}
    described["parser"] = metadata["min_parser_version"]
    yield from ((name, value) for name, value in described.items() if value)
    assumed = " (assumed: the model does not give it)" if takes["sample_rate_assumed"] else ""
    named = [each["name"] for each in metadata["inputs"] if each["name"]]
    yield "takes", ", ".join([_takes(takes), *map(repr, named)])
    yield "sample rate", f"{takes['sample_rate_hz']} Hz{assumed}"
    for head in said["heads"]:
        yield from _head_lines(head, _output_of(metadata, head))
    if said["embedding_size"]:
        yield "embeddings", f"{said['embedding_size']} values"
    if said["unused_outputs"]:
        yield "not used", ", ".join(f"output {each}" for each in said["unused_outputs"])
    yield "runs", said["runs"]
    for head in said["heads"]:
        name = "labels" if len(said["heads"]) == 1 else f"labels of {head['name']}"
        every = "\n".join(map(printable, head["labels"]))
        yield name, every if all_labels else _some(head["labels"])


def _takes(takes: Mapping[str, Any]) -> str:
    def seconds(samples: int) -> str:
        return f"{samples / takes['sample_rate_hz']:g} s"

    channels = "mono" if takes["channels"] == 1 else f"{takes['channels']} channels, interleaved"
    frames = f"frames of {takes['frame_samples']} samples, {seconds(takes['frame_samples'])}"
    if not takes["cuts_frames"]:
        return f"{frames}, {channels}"
    window, hop = seconds(takes["window_samples"]), seconds(takes["hop_samples"])
    return f"audio of any length, {channels}; a row is {window}, every {hop}"


def _output_of(metadata: Mapping[str, Any], head: Mapping[str, Any]) -> Mapping[str, Any]:
    outputs = metadata["outputs"]
    described: Mapping[str, Any] = outputs[head["output"]] if outputs else {}
    return described


def _head_lines(head: Mapping[str, Any], described: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    yield "gives", f"{head['classes']} scores, {head['name']!r}"
    if head["score_threshold"] is not None:
        yield "", f"threshold {head['score_threshold']:g}"
    if calibration := described.get("calibration"):
        yield "", f"calibrated ({calibration['transformation']})"
    locales = [file["locale"] for file in described.get("label_files", ()) if file["locale"]]
    if locales:
        yield "locales", ", ".join(locales)


def _some(labels: Sequence[str]) -> str:
    more = len(labels) - _LABELS_SHOWN
    rest = f"; and {more} more (--labels lists all)" if more > 0 else ""
    return "; ".join(printable(label, 100) for label in labels[:_LABELS_SHOWN]) + rest
