"""What a frame costs at best: the sum of what cannot be left out, each by the fastest call found.

Decoding, resampling, the log-mel patch and the network are measured by themselves (see
benchmarks.parts), in a process on each core at once. Nothing is mixed, measured, cut or written,
and no file is looked for.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean
from typing import TypeAlias

from benchmarks import decoding
from benchmarks.archives import Format
from benchmarks.environments import MissingPeerError, python_with
from benchmarks.machine import cores
from benchmarks.parts import WAYS
from benchmarks.processes import ProcessError, run_together
from benchmarks.setting import Setting
from earmark.transforms.threads import ONE_BLAS_THREAD

Parts: TypeAlias = dict[str, float]
"""CPU time of a frame by part, or by way to do one, in milliseconds."""

_TRIALS = 2


def fastest_way(setting: Setting, part: str, form: Format, files: Sequence[Path]) -> str:
    """The way to do a part of hearing such files that took the least, of a few trials.

    Raises:
      ProcessError: it can't be done in any way.
    """
    took: dict[str, float] = {}
    for _ in range(_TRIALS):
        for requirements, ways in _ways_by_requirements(part, files[0]).items():
            try:
                trial = _measure(setting, part, ways, requirements, form, files)
            except MissingPeerError as error:
                print(f"{part} without {', '.join(ways)}: {error}", flush=True)
                continue
            took |= {way: min(ms, took.get(way, ms)) for way, ms in trial.items()}
    if not took:
        raise ProcessError(f"there is no way of {part}")
    return min(took, key=lambda way: took[way])


def measure(
    setting: Setting, form: Format, files: Sequence[Path], ways: Mapping[str, str]
) -> Parts:
    """Measure each part of hearing such files, done in these ways."""
    parts = {}
    for part, way in ways.items():
        requirements = decoding.WAYS[way].requirements if part == "decoding" else ()
        parts[part] = _measure(setting, part, [way], requirements, form, files)[way]
    return parts


def _ways_by_requirements(part: str, path: Path) -> dict[tuple[str, ...], list[str]]:
    """The ways to do a part, by what they need: what needs the same is measured together."""
    if part != "decoding":
        return {(): list(WAYS[part])}
    found: dict[tuple[str, ...], list[str]] = {}
    for name, way in decoding.WAYS.items():
        if way.takes(path):
            found.setdefault(way.requirements, []).append(name)
    return found


def _measure(
    setting: Setting,
    part: str,
    ways: Sequence[str],
    requirements: Sequence[str],
    form: Format,
    files: Sequence[Path],
) -> Parts:
    """CPU time of a frame by way: the mean of all cores, each with a file of its own.

    Raises:
      MissingPeerError: what they need can't be had.
      ProcessError: they failed.
    """
    python = sys.executable
    if requirements:
        python = str(python_with(requirements, setting.cache / "peers" / "decoding"))
    commands = []
    for core in range(cores()):
        inputs: Sequence[object] = [setting.model]
        if part == "decoding":
            inputs = [files[core % len(files)]]
        elif part == "resampling":
            inputs = [form.sample_rate_hz, setting.sample_rate_hz]
        task = (part, ";".join(ways), setting.frame_s, *inputs)
        commands.append([python, "-m", "benchmarks.parts", *map(str, task)])
    said = [json.loads(each.said) for each in run_together(commands, ONE_BLAS_THREAD)]
    return {way: mean(each[way] for each in said) for way in said[0]}
