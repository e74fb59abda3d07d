"""The Task Library's audio classifier, run in an environment of its own."""

from __future__ import annotations

import base64
import json
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

PROGRAM = Path(__file__).with_name("task_library_program.py")


class Category(NamedTuple):
    """A class as the Task Library answers it; its score is exactly a float32."""

    index: int
    score: float
    name: str
    display_name: str


class Head(NamedTuple):
    """An output's categories, in the order in which the Task Library gives them."""

    index: int
    name: str
    categories: list[Category]


class TaskLibraryError(Exception):
    """The Task Library refuses a model, its options, or a frame; its own words."""


class TaskLibrary:
    """The Task Library in a process that lives until it is closed, as a start takes a second.

    Attributes:
      python: the interpreter of an environment with the Task Library.
    """

    def __init__(self, python: Path) -> None:
        self.python = python
        self._process: subprocess.Popen[str] | None = None
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 (open as long as this is)

    def classify(
        self,
        model: bytes | Path,
        frames: NDArray[np.float32],
        *,
        score_threshold: float | None = None,
        category_allowlist: Sequence[str] | None = None,
        category_denylist: Sequence[str] | None = None,
        max_results: int | None = None,
        display_names_locale: str | None = None,
        num_threads: int = 1,
    ) -> list[list[Head]]:
        """The heads of each frame, of frames float32 [n, samples, channels].

        None leaves an option at the Task Library's own default.

        Raises:
          TaskLibraryError: the Task Library refuses.
          RuntimeError: its process ended: it crashed, or the frames are not of the model's shape.
        """
        if frames.dtype != np.float32 or frames.ndim != 3:
            found = f"{frames.dtype} {list(frames.shape)}"
            raise ValueError(f"frames must be float32 [n, samples, channels], not {found}")
        options = {
            "score_threshold": score_threshold,
            "category_name_allowlist": category_allowlist,
            "category_name_denylist": category_denylist,
            "max_results": max_results,
            "display_names_locale": display_names_locale,
        }
        job = {
            **({"path": str(model)} if isinstance(model, Path) else {"model": _text(model)}),
            "frames": _text(frames.tobytes()),
            "shape": frames.shape,
            "options": options,
            "num_threads": num_threads,
        }
        answer = self._ask(job)
        if "refused" in answer:
            raise TaskLibraryError(answer["refused"])
        return [[_head(*head) for head in heads] for heads in answer["frames"]]

    def close(self) -> None:
        """End the process."""
        self._end()
        self._log.close()

    def _ask(self, job: dict[str, Any]) -> dict[str, Any]:
        process = self._process = self._process or self._start()
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(json.dumps(job) + "\n")
            process.stdin.flush()
            line = process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            raise RuntimeError(f"the Task Library's process ended ({self._end()})")
        return json.loads(line)

    def _start(self) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [self.python, PROGRAM],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
        )

    def _end(self) -> str:
        """End the process, if there is one; how it ended and the last lines that it wrote."""
        if self._process is None:
            return "it never began"
        self._process.communicate()
        status, self._process = self._process.returncode, None
        self._log.seek(0)
        said = self._log.read().decode(errors="replace")
        return f"exit status {status}: {said[-1000:].strip()}"


def _text(content: bytes) -> str:
    return base64.b64encode(content).decode()


def _head(index: int, name: str, categories: list[list[Any]]) -> Head:
    return Head(index, name, [Category(*each) for each in categories])
