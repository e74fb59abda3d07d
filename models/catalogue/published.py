"""Published models, described by a YAML file each in this folder."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Literal, TypeAlias

import yaml
from pydantic import BaseModel, ConfigDict

Role: TypeAlias = Literal["model", "labels", "places"]

_SUFFIXES: Mapping[Role, str] = {"model": ".tflite", "labels": ".txt", "places": ".tflite"}


class PublishedFile(BaseModel):
    """A file of a published model.

    Attributes:
      sha256: its SHA-256, in hex.
      size_bytes: its size.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    sha256: str
    size_bytes: int

    def is_this(self, content: bytes) -> bool:
        """Whether this is the file's content."""
        return len(content) == self.size_bytes and _sha256(content) == self.sha256


class PublishedModel(BaseModel):
    """A model that users name, and that is downloaded when it is first used.

    Attributes:
      name: the name that users give.
      title: what it recognizes, in a line.
      home: the URL of its publisher's page.
      license: its license.
      terms: what the license asks of users, if a run has to say so; else None.
      cite: the publication to cite.
      files: the .tflite file; where they exist, the labels, one a line, and the model that tells
        which labels are plausible at a place in a week. One of several files will do, the first
        is preferred.
      urls: where to download the files, tried in this order: the .tflite file itself, or a zip or
        gzipped tar with all files under any names.
      sample_rate: of the model's input in Hz, if its metadata doesn't give it.
      activation: turns the model's outputs into scores: see `earmark.models.scores.ACTIVATIONS`.
      label_form: plain, or scientific_common for `Turdus merula_Eurasian Blackbird`.
      labels_of: another published model, whose metadata has the labels.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    title: str = ""
    home: str = ""
    license: str = ""
    terms: str | None = None
    cite: str = ""
    files: Mapping[Role, tuple[PublishedFile, ...]]
    urls: tuple[str, ...]
    sample_rate: int | None = None
    activation: Literal["none", "sigmoid", "softmax"] = "none"
    label_form: Literal["plain", "scientific_common"] = "plain"
    labels_of: str | None = None

    @property
    def sha256(self) -> str:
        """The SHA-256 of the .tflite file, in hex."""
        return self.files["model"][0].sha256

    def paths_in(self, folder: Path, role: Role = "model") -> dict[Path, PublishedFile]:
        """The paths in a cache folder of the files of which one will do."""
        stem = self.name if role == "model" else f"{self.name}-{role}"
        names = {f"{stem}-{file.sha256[:8]}{_SUFFIXES[role]}": file for file in self.files[role]}
        return {folder / name: file for name, file in names.items()}

    def path_in(self, folder: Path, role: Role = "model") -> Path:
        """The path in a cache folder of a file, of several the preferred one."""
        return next(iter(self.paths_in(folder, role)))

    def is_in(self, folder: Path) -> bool:
        """Whether a cache folder has all of its files."""
        return all(any(map(Path.exists, self.paths_in(folder, role))) for role in self.files)


@cache
def published_models() -> tuple[PublishedModel, ...]:
    """All published models that earmark knows, the default first."""
    files = sorted(Path(__file__).parent.glob("*.yaml"), key=lambda path: path.stem != "yamnet")
    return tuple(PublishedModel(**yaml.safe_load(file.read_bytes())) for file in files)


def known_model(sha256: str) -> PublishedModel | None:
    """The published model of a .tflite file, wherever the file lies; None for any other file."""
    return next((model for model in published_models() if model.sha256 == sha256), None)


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
