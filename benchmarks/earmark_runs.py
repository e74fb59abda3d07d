"""Whole runs of earmark, as a user starts them."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from benchmarks.processes import Cost, ProcessError, python, run
from benchmarks.setting import Setting


def classify(
    setting: Setting,
    archive: Path,
    files: int,
    *options: object,
    environment: Mapping[str, str] | None = None,
) -> Cost:
    """Have `earmark classify` hear a folder, with its defaults but for the options given.

    Args:
      setting: the model, and where to put the output.
      archive: the folder.
      files: how many are in it.
      options: more arguments.
      environment: variables to set besides those that are.

    Raises:
      ProcessError: it failed, or did not hear each of so many files whole.
    """
    output = Path(tempfile.mkdtemp(dir=setting.work))
    try:
        where = ("--input", archive, "--output", output, "--model", setting.model)
        cost = run(python("earmark.pipelines.classify", *where, *options), environment).cost
        heard = _scored(output)
    finally:
        shutil.rmtree(output)
    if heard != files:
        raise ProcessError(f"earmark heard {heard} of the {files} files in {archive}")
    return cost


def tiny_archive(setting: Setting) -> Path:
    """A folder with one frame of noise: a run over it is start-up, and the end of a run."""
    import soundfile

    folder = setting.work / "tiny"
    folder.mkdir(exist_ok=True)
    noise = np.random.default_rng(0).normal(0, 0.01, setting.frame_samples)
    soundfile.write(folder / "tiny.wav", noise, setting.sample_rate_hz, subtype="PCM_16")
    return folder


def _scored(output: Path) -> int:
    """The clips of a run that were heard to their end."""
    import pyarrow.parquet

    statuses = pyarrow.parquet.read_table(output / "clips", columns=["status"])["status"]
    return int(statuses.to_pylist().count("scored"))
