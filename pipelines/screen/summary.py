"""What a run prints at its start and at its end."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from textwrap import indent
from typing import Any

import pyarrow.compute as pc
from rich.console import Console
from rich.table import Table

from earmark.models.catalogue import known_model
from earmark.pipelines.console import counted, in_short, in_words, plain
from earmark.pipelines.options import ClassifyOptions
from earmark.pipelines.runs import Outcome, Run
from earmark.transforms.output import BrokenTableError, Tables, read, written_tables
from earmark.transforms.planning import Planned
from earmark.transforms.storage import OTHERS, unusable_errors
from earmark.transforms.text import masked_flags, masked_value

_LABELS_SHOWN = 12
_KINDS_SHOWN = 10


def show_start(run: Run, console: Console) -> None:
    """Print the model, the input, the output, and all options that differ from their defaults."""
    grid = Table.grid(padding=(0, 2))
    grid.add_column()
    grid.add_column(overflow="fold")
    for name, value in _settings(run):
        grid.add_row(f"[dim]{name}[/dim]", plain(value))
    console.print(grid)
    if run.classifier.sample_rate_assumed:
        console.print(
            f"The model does not give its sample rate; {run.classifier.sample_rate_hz} Hz is "
            "assumed. Set another with --sample_rate."
        )


def show_end(outcome: Outcome, output: str, console: Console) -> None:
    """Print a run's totals, its failures by reason, and where the rows are.

    Args:
      outcome: what came of it.
      output: the folder that it wrote to.
      console: where to print.
    """
    planned, record = outcome.planned, outcome.record
    if outcome.is_left:
        console.print("\nThe run is left to the engine; its job will end it.")
        return
    if record is None:
        before = f"{counted(planned.done, 'object')} already processed"
        console.print(f"\nNothing to do: {before if planned.done else 'no new objects'}.")
        _show_moved(planned, console)
        _show_folder(output, {}, console)
        return
    totals = record["totals"]
    console.print(_headline(record))
    if totals["labels"]:
        console.print(_label_table(totals["labels"]))
    _show_reasons("failed", "failures", totals["failures"], console)
    _show_reasons("scored in part", "clips", totals["partial"], console)
    _show_implausible(totals["implausible"], console)
    _show_skipped(record["listed"]["skipped"], console)
    _show_before(planned, console)
    _show_moved(planned, console)
    _show_folder(output, record, console)
    if totals["clips"]:
        _show_where(record, console)


def _show_before(planned: Planned, console: Console) -> None:
    """How much earlier runs had processed, and why some of it was processed again."""
    for objects, what in (
        (planned.changed, "processed again, having changed since an earlier run"),
        (planned.retried, "retried, having failed in an earlier run"),
        (planned.done, "already processed by earlier runs"),
    ):
        if objects:
            console.print(f"{objects:,} {what}")


def _show_moved(planned: Planned, console: Console) -> None:
    if planned.moved:
        console.print(f"{counted(planned.moved, 'known clip')} given the root that --root names")


def _settings(run: Run) -> list[tuple[str, str]]:
    classifier, settings = run.classifier, run.settings
    classes = "1 class" if classifier.classes == 1 else f"{classifier.classes} classes"
    gives = classes if settings.heads else "embeddings"
    frame_s = settings.grid.heard_samples / classifier.sample_rate_hz
    hop_s = settings.grid.hop_s
    every = "" if hop_s == frame_s else f" every {hop_s:g} s"
    version = f"version {settings.model_version}, " if settings.model_version else ""
    frames = f"{version}{gives}, {frame_s:g} s frames{every}"
    shown = {"model": f"{classifier.name} ({frames}, sha256 {classifier.sha256[:8]})"}
    known = known_model(classifier.sha256)
    if known is not None and known.terms:
        shown["license"] = f"{known.license}: {known.terms}; please cite {known.cite}"
    given = run.options.model_dump(exclude={"model", "hop_s", "dry_run", "verbose"})
    if classifier.interface.unused:
        unused = ", ".join(map(str, classifier.interface.unused))
        shown["not used"] = f"output {unused} of the model: neither scores nor embeddings"
    shown |= {
        name: _in_words(masked_value(name, value))
        for name, value in given.items()
        if value not in ((), ClassifyOptions.model_fields[name].default)
    }
    if run.beam_flags:
        shown["beam"] = " ".join(masked_flags(run.beam_flags))
    return list(shown.items())


def _in_words(value: object) -> str:
    if isinstance(value, (list, tuple)):
        return "  ".join(map(str, value))
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)


def _headline(record: Mapping[str, Any]) -> str:
    totals = record["totals"]
    counts = ", ".join(
        counted(totals[table.name], table.name.removesuffix("s"))
        for table in written_tables(record["files"])
        if not table.is_of_objects
    )
    clips = counted(totals["clips"], "clip")
    return f"\n[bold]{clips} scored[/bold], {in_words(totals['audio_s'])} of audio: {counts}."


def _label_table(labels: Mapping[str, Mapping[str, float]]) -> Table:
    table = Table(box=None, header_style="dim", pad_edge=False)
    table.add_column("label")
    for name in ("clips", "time", "best score"):
        table.add_column(name, justify="right")
    ranked = sorted(labels.items(), key=lambda item: (-item[1]["seconds"], item[0]))
    for label, total in ranked[:_LABELS_SHOWN]:
        table.add_row(
            plain(label, 100),
            f"{total['clips']:,}",
            in_short(total["seconds"]),
            f"{total['max_score']:.2f}",
        )
    if len(ranked) > _LABELS_SHOWN:
        table.caption = f"and {counted(len(ranked) - _LABELS_SHOWN, 'more label')}"
        table.caption_justify = "left"
    return table


def _show_reasons(what: str, table: str, reasons: Mapping[str, int], console: Console) -> None:
    if reasons:
        counts = ", ".join(f"{count:,} {reason}" for reason, count in sorted(reasons.items()))
        console.print(f"{sum(reasons.values()):,} {what} ({counts}): see {table}/")


def _show_implausible(labels: Mapping[str, int], console: Console) -> None:
    if labels:
        detections = counted(sum(labels.values()), "detection")
        console.print(
            f"{counted(len(labels), 'label')} left out, implausible where and when the recordings"
            f" were made ({detections}): see totals.implausible in _runs/"
        )


def _show_skipped(skipped: Mapping[str, int], console: Console) -> None:
    if skipped:
        files = counted(sum(skipped.values()), "file")
        counts = ", ".join(_most_frequent(skipped))
        console.print(
            f"{files} skipped, not audio by name ({counts}); --all_files includes them",
        )


def _most_frequent(skipped: Mapping[str, int]) -> Iterator[str]:
    """The most frequent kinds of files, and the number of all others."""
    named = {kind: count for kind, count in skipped.items() if kind != OTHERS}
    ranked = sorted(named.items(), key=lambda item: (-item[1], item[0]))[:_KINDS_SHOWN]
    yield from (f"{count:,} {plain(kind, 40) or 'without extension'}" for kind, count in ranked)
    others = sum(skipped.values()) - sum(count for _, count in ranked)
    if others:
        yield f"and {others:,} others"


def _show_folder(output: str, record: Mapping[str, Any], console: Console) -> None:
    """What the whole folder holds, if that is more than this run's rows."""
    try:
        tables = read(output)
        counts = {name: rows.count() for name, rows in tables.items()}
        audio_s = _audio_s(tables) if "clips" in counts else 0.0
    except unusable_errors(BrokenTableError):
        return  # the run is over, and its own totals are shown
    totals = record.get("totals", {})
    of_run = totals.get("clips", 0) + sum(totals.get("failures", {}).values())
    if counts.get("clips", 0) + counts.get("failures", 0) <= of_run:
        return
    held = [f"{counted(counts.pop('clips', 0), 'clip')}, {in_words(audio_s)} of audio"]
    held += [counted(count, name.removesuffix("s")) for name, count in counts.items() if count]
    console.print(f"{plain(output.rstrip('/'))}/ now holds {'; '.join(held)}")


def _audio_s(tables: Tables) -> float:
    return pc.sum(tables["clips"].arrow(["heard_s"])["heard_s"]).as_py() or 0.0


def _show_where(record: Mapping[str, Any], console: Console) -> None:
    output = record["options"]["output"].rstrip("/")
    tables = written_tables(record["files"])
    table, glance = next((table.name, table.glance) for table in tables if table.glance)
    files = f"{output}/{table}/*.parquet".replace("'", "''")
    console.print(f"\nThe rows are in [bold]{plain(output)}/[/bold]. To take a look, in DuckDB:\n")
    query = indent(glance.format(files=plain(files)), "  ")
    console.print(f"{query};\n", soft_wrap=True)
