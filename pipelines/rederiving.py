"""Deriving the rows of other settings from those that an output has."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any
from zoneinfo import ZoneInfo

from earmark.pipelines.console import counted, say, show
from earmark.pipelines.errors import UsageError
from earmark.pipelines.options import DERIVABLE, ClassifyOptions, told, validated
from earmark.pipelines.outputs import new_run_id, used_output
from earmark.pipelines.resolving import resolved, stated
from earmark.pipelines.runs import configured
from earmark.transforms.audio import Clock, RecordedAt, UntoldError, recorded_anew, recorded_at
from earmark.transforms.errors import AudioError
from earmark.transforms.output import (
    Begun,
    Derivation,
    check_history,
    check_times,
    is_told_by_best,
    locked,
    missing_labels,
    provenance_of,
    read,
    recover,
    rederive,
)
from earmark.transforms.settings import Decoding, Settings
from earmark.transforms.storage import local_path, look_up, shown

_LISTS = ("thresholds", "allow", "deny")
_NOWHERE = {"input": ["-"], "output": "-"}


def derive_anew(output: str, given: Mapping[str, Any], *, dry_run: bool) -> None:
    """Derive an output's rows anew, and say how many files that were.

    Args:
      output: the folder or URI that runs have written to.
      given: options that are to be other, by name, and what tells what the rows were made with.
      dry_run: whether only to say whether it can be done.

    Raises:
      UsageError: there is no such output, or its rows don't tell what was asked for.
      RunError: a file cannot be read or written.
    """
    with used_output(output) as folder:
        run_id = new_run_id()
        with locked(folder, run_id, say):
            recover(folder)
            show(_rederived(folder, run_id, given, dry_run=dry_run))


def _rederived(output: str, run_id: str, given: Mapping[str, Any], *, dry_run: bool) -> str:
    there = read(output).settings()
    model_name, _ = there.pop("model_name", ""), there.pop("model_version", "")
    check_history(output, there)
    made = _values_made_with(output, there, given)
    asked = resolved(validated({**_NOWHERE, **given}, set(given)))
    new = {name: asked[name] for name in given if name in DERIVABLE}
    before, after = configured(made)[0], configured({**made, **new})[0]
    for name, value in provenance_of(before).items():
        if there[name] != value:
            raise UsageError(
                f"the rows were made by {model_name or 'a model'} with {name} {there[name]:.100}, "
                f"not {value:.100}: name that model by --model"
            )
    if provenance_of(after) == there:
        return "Nothing to do: these are the settings of the rows.\n"
    _check_scores(before, after)
    _check_season(before, after)
    how = Derivation(before, after, _timed(before.decoding, after.decoding))
    check_times(output, how)
    if dry_run:
        return "The rows tell what was asked for. Without --dry_run they would be derived.\n"
    return f"{counted(rederive(output, run_id, how), 'file')} derived; nothing was heard.\n"


def _values_made_with(
    output: str, there: Mapping[str, str], given: Mapping[str, Any]
) -> dict[str, Any]:
    """The values of options that the rows were made with."""
    options = _options_of_last_run(output)
    lists = {name: options.pop(name, None) for name in _LISTS}
    options |= {name: value for name, value in given.items() if name not in DERIVABLE}
    said: dict[str, Any] = {
        "events_gap_s": float(there["events_gap_s"]),
        "time_zone": there["time_zone"],
        "time_pattern": there["time_pattern"] or None,
    }
    if there["min_score"] != told("min_score")["stated"]:
        said["min_score"] = float(there["min_score"])
    values = resolved(validated({**_NOWHERE, **options, **said}, set(given)))
    for name in _LISTS:
        values[name] = _list_made_with(name, there[name], values, [given.get(name), lists[name]])
    return values


def _options_of_last_run(output: str) -> dict[str, Any]:
    """The options that a run of the output was given, without those that rows don't depend on."""
    runs = read(output).runs()
    if not runs:
        raise UsageError(f"{shown(output)}: no run has come to its end; resume it first")
    fields, options = ClassifyOptions.model_fields, runs[-1]["options"]
    known = {name: value for name, value in options.items() if name in fields}
    return {
        name: value
        for name, value in known.items()
        if value != fields[name].default and told(name)["group"] != "run" and name not in _NOWHERE
    }


def _list_made_with(name: str, said: str, values: Mapping[str, Any], named: Sequence[Any]) -> Any:
    """The labels or thresholds that the rows were made with, which are what files state.

    Args:
      name: of the option.
      said: what files state of it: itself if it is short.
      values: of other options.
      named: what may have been its value as an option.
    """
    is_digest = said.startswith("sha256 ")
    parts = [] if said == "none" or is_digest else said.split("; ")
    candidates: list[Any] = [parts]
    if name == "thresholds":
        pairs = [part.rpartition(",") for part in parts]
        with suppress(ValueError):
            candidates = [{label: float(score) for label, _, score in pairs}]
    for value in filter(None, named):
        with suppress(UsageError):
            candidates.append(resolved(validated({**_NOWHERE, name: value}, {name}))[name])
    for each in candidates:
        if stated({**values, name: each})[name] == said:
            return each
    raise UsageError(
        f"the rows were made with {name} of {said[:15]}..., and no such file is known any more: "
        f"give it by --{name}, or name another folder for a run"
    )


def _check_scores(before: Settings, after: Settings) -> None:
    if missing := missing_labels(before, after):
        more = f" and {len(missing) - 1:,} other labels" if len(missing) > 1 else ""
        index = before.labels.index(missing[0])
        least, wanted = before.min_scores[index], after.min_scores[index]
        what = "none of its scores" if least == float("inf") else f"no scores below {least:g}"
        raise UsageError(
            f"of {missing[0]!r}{more} the rows have {what}, and {wanted:g} was asked for: name "
            "another folder for a run"
        )
    if not is_told_by_best(before, after):
        raise UsageError(
            f"with --top_k {after.top_k} the rows don't have what another label may have kept from "
            "being among the best: only --min_score can be raised; name another folder for a run"
        )


def _check_season(before: Settings, after: Settings) -> None:
    clocks = [(each.time_zone, each.time_pattern) for each in (before.decoding, after.decoding)]
    if clocks[0] != clocks[1] and before.stated.get("place", "none") != "none":
        raise UsageError(
            "with --place what counts depends on a recording's week, and so on --time_zone and "
            "--time_pattern: name another folder for a run"
        )


def _timed(before: Decoding, after: Decoding) -> Callable[[Begun], Begun] | None:
    old, new = (Clock(each.time_pattern, ZoneInfo(each.time_zone)) for each in (before, after))
    if old == new:
        return None

    def timed(begun: Begun) -> Begun:
        known = None if begun.source is None else RecordedAt(begun.recorded_at, begun.source)
        try:
            found = recorded_anew(known, begun.uri, old, new)
        except UntoldError:
            found = _asked(begun, new)
        time, source = found or (None, None)
        return begun._replace(recorded_at=time, source=source)

    return timed


def _asked(begun: Begun, clock: Clock) -> RecordedAt | None:
    """What a recording itself says of its time; only its header is read.

    Raises:
      UsageError: it isn't there any more as it was, or not on this machine.
    """
    path = local_path(begun.uri)
    try:
        if path is not None and look_up(begun.uri).version == begun.version:
            pattern, zone = clock
            return recorded_at(path, begun.uri, time_pattern=pattern, time_zone=zone)
    except AudioError as error:
        raise UsageError(str(error)) from error
    raise UsageError(
        f"{shown(begun.uri)}: its row doesn't tell whether its time, of {begun.source}, depends on "
        "the zone or the pattern, and its file isn't at hand; name another folder for a run"
    )
