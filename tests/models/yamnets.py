"""The models that make_yamnets.py makes, kept for the next time."""

from __future__ import annotations

import shutil
import subprocess
from hashlib import sha256
from pathlib import Path

from benchmarks.environments import alone

SCRIPT = Path(__file__).with_name("make_yamnets.py")


def make(yamnet: Path, python: Path) -> Path:
    """The folder with yamnet_full.tflite and model_maker.tflite, which are made if need be.

    They lie in TensorFlow's environment, to go when it goes: another version writes other bytes.
    Any number of processes may ask at once.

    Args:
      yamnet: the int8 model that they have their weights from.
      python: the interpreter of an environment with TensorFlow.
    """
    content = sha256(yamnet.read_bytes() + SCRIPT.read_bytes()).hexdigest()
    folder = python.parents[1] / "yamnets" / content
    with alone(folder):
        if not folder.is_dir():
            unfinished = folder.with_suffix(".unfinished")
            shutil.rmtree(unfinished, ignore_errors=True)
            subprocess.run([python, SCRIPT, yamnet, unfinished], check=True)
            unfinished.rename(folder)
    return folder
