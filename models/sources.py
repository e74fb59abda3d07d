"""Finding and reading models: by path, by URI or by a known name."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TypeAlias

from earmark.models.catalogue import PublishedModel, Role, fetch, known_model, published_models
from earmark.models.errors import ModelError, nearest

ReadUri: TypeAlias = Callable[[str], bytes]
"""Reads the content at a URI, or raises an OSError or a ValueError."""

LARGEST_BYTES = 2_000_000_000
"""The limit for .tflite files, whose offsets are signed 32-bit integers."""

BUILTIN = "builtin"
_BUILTIN_PATH = Path(__file__).parent / "builtin" / "builtin.tflite"


@dataclass(frozen=True)
class ModelSource:
    """A model that was found; it is sent to workers, which read the file themselves.

    Attributes:
      name: the model's name in rows: the known name, or the file's name without its suffix.
      location: an absolute path, a URI, or a known name.
      sha256: the SHA-256 of the .tflite file, in hex.
      role: which file of a known model it is.
    """

    name: str
    location: str
    sha256: str
    role: Role = "model"

    def read(
        self, read: ReadUri | None = None, published: Sequence[PublishedModel] | None = None
    ) -> bytes:
        """Read the .tflite file.

        Args:
          read: reads the content at a URI; needed for a model at one.
          published: the models that are known by name, by default those of the catalogue.

        Raises:
          ModelError: the file cannot be read, or has changed since it was found.
        """
        model = _read(self.location, read, published, self.role)
        found = _sha256(model)
        if found != self.sha256:
            raise ModelError(
                f"{self.location} is not the file it was when the run began:"
                f" its sha256 is {found}, not {self.sha256}"
            )
        return model


def resolve(
    model: str, read: ReadUri | None = None, published: Sequence[PublishedModel] | None = None
) -> ModelSource:
    """Find a model, and read it once for its sha256.

    Args:
      model: a known name (builtin, or that of a published model), a URI (anything with `://`), or
        the path of a .tflite file. A file whose name is a known one is reached as `./yamnet`.
      read: reads the content at a URI.
      published: the models that are known by name, by default those of the catalogue.

    Raises:
      ModelError: there is no such model, or it cannot be read or fetched.
    """
    published = published_models() if published is None else published
    known = [BUILTIN, *(each.name for each in published)]
    if model in known:
        name, location = model, model
    elif "://" in model:
        name, location = PurePosixPath(model).stem, model
    else:
        path = _existing(model, known)
        name, location = path.stem, str(path)
    return ModelSource(name, location, _sha256(_read(location, read, published)))


def places_of(source: ModelSource) -> ModelSource:
    """Find the companion of a known model that tells what is plausible where.

    Raises:
      ModelError: there is none, or it cannot be fetched.
    """
    known = known_model(source.sha256)
    if known is None or "places" not in known.files:
        having = " ".join(each.name for each in published_models() if "places" in each.files)
        raise ModelError(
            f"--place: {source.name} has no companion that tells what is plausible where; of known"
            f" models there is one for {having}"
        )
    return ModelSource(known.name, known.name, _sha256(fetch(known, role="places")), "places")


def read_file(path: Path) -> bytes:
    """Read a regular file of at most LARGEST_BYTES.

    Raises:
      ModelError: it cannot be read; the message names it.
    """
    try:
        if path.exists() and not (path.is_file() or path.is_dir()):
            # a pipe would wait, a device has no end
            raise ModelError(f"cannot read the model {path}: it is not a regular file")
        if path.stat().st_size > LARGEST_BYTES:
            raise ModelError(f"cannot read the model {path}: it is larger than 2 GB")
        return path.read_bytes()
    except OSError as error:
        raise ModelError(f"cannot read the model {path}: {error.strerror}") from error


def _existing(model: str, known: Sequence[str]) -> Path:
    path = Path(model).absolute()
    if model and path.exists():
        return path
    if Path(model).name != model or path.suffix:
        raise ModelError(f"no such model file: {model}")
    raise ModelError(
        f"no such model: {model!r}{nearest(model, known)} (known by name: {', '.join(known)};"
        " any other is given by the path or URI of its .tflite file)"
    )


def _read(
    location: str,
    read: ReadUri | None,
    published: Sequence[PublishedModel] | None,
    role: Role = "model",
) -> bytes:
    for model in published_models() if published is None else published:
        if model.name == location:
            return fetch(model, role=role)
    if location == BUILTIN:
        return read_file(_BUILTIN_PATH)
    if "://" in location:
        return _read_uri(location, read)
    return read_file(Path(location))


def _read_uri(uri: str, read: ReadUri | None) -> bytes:
    if read is None:
        raise ModelError(f"cannot read the model {uri}: only paths can be read here")
    try:
        return read(uri)
    except (OSError, ValueError) as error:
        raise ModelError(f"cannot read the model {uri}: {error}") from error


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
