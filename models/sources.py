"""Finding and reading models: by path, by URI or by a known name."""

from __future__ import annotations

import hashlib
import http.client
import logging
import os
import tempfile
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TypeAlias

from earmark.models.errors import ModelError, nearest

ReadUri: TypeAlias = Callable[[str], bytes]
"""Reads the content at a URI, or raises an OSError or a ValueError."""

FETCH_TIMEOUT_S = 30.0

LARGEST_BYTES = 2_000_000_000
"""The limit for .tflite files, whose offsets are signed 32-bit integers."""

BUILTIN = "builtin"
_BUILTIN_PATH = Path(__file__).parent / "builtin" / "builtin.tflite"

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class PublishedModel:
    """A model that is downloaded when it is used for the first time.

    Attributes:
      name: the name that users give.
      sha256: the SHA-256 of the .tflite file, in hex.
      size_bytes: the size of the .tflite file.
      urls: where to download it from, tried in this order.
    """

    name: str
    sha256: str
    size_bytes: int
    urls: tuple[str, ...]

    def path_in(self, cache: Path) -> Path:
        """The model's path in a cache folder."""
        return cache / f"{self.name}-{self.sha256[:8]}.tflite"


YAMNET = PublishedModel(
    name="yamnet",
    sha256="10c95ea3eb9a7bb4cb8bddf6feb023250381008177ac162ce169694d05c317de",
    size_bytes=4_126_810,
    urls=(
        "https://storage.googleapis.com/download.tensorflow.org/models/tflite/task_library/"
        "audio_classification/android/lite-model_yamnet_classification_tflite_1.tflite",
        "https://tfhub.dev/google/lite-model/yamnet/classification/tflite/1?lite-format=tflite",
    ),
)
PUBLISHED = (YAMNET,)


@dataclass(frozen=True)
class ModelSource:
    """A model that was found; it is sent to workers, which read the file themselves.

    Attributes:
      name: the model's name in rows: the known name, or the file's name without its suffix.
      location: an absolute path, a URI, or a known name.
      sha256: the SHA-256 of the .tflite file, in hex.
    """

    name: str
    location: str
    sha256: str

    def read(
        self, read: ReadUri | None = None, published: Sequence[PublishedModel] = PUBLISHED
    ) -> bytes:
        """Read the .tflite file.

        Args:
          read: reads the content at a URI; needed for a model at one.
          published: the models that can be downloaded by name.

        Raises:
          ModelError: the file cannot be read, or has changed since it was found.
        """
        model = _read(self.location, read, published)
        found = _sha256(model)
        if found != self.sha256:
            raise ModelError(
                f"{self.location} is not the file it was when the run began:"
                f" its sha256 is {found}, not {self.sha256}"
            )
        return model


def resolve(
    model: str, read: ReadUri | None = None, published: Sequence[PublishedModel] = PUBLISHED
) -> ModelSource:
    """Find a model, and read it once for its sha256.

    Args:
      model: a known name (builtin, or that of a published model), a URI (anything with `://`), or
        the path of a .tflite file. A file whose name is a known one is reached as `./yamnet`.
      read: reads the content at a URI.
      published: the models that can be downloaded by name.

    Raises:
      ModelError: there is no such model, or it cannot be read or fetched.
    """
    known = [BUILTIN, *(each.name for each in published)]
    if model in known:
        name, location = model, model
    elif "://" in model:
        name, location = PurePosixPath(model).stem, model
    else:
        path = _existing(model, known)
        name, location = path.stem, str(path)
    return ModelSource(name, location, _sha256(_read(location, read, published)))


def fetch(model: PublishedModel, cache: Path | None = None) -> bytes:
    """Read a published model from the cache, or download it into the cache.

    Several processes may do so at the same time.

    Args:
      model: the model to fetch.
      cache: the cache folder, by default `cache_folder()`.

    Returns:
      The content of the .tflite file.

    Raises:
      ModelError: the model is not in the cache and could not be downloaded.
    """
    path = model.path_in(cache or cache_folder())
    cached = _cached(path, model.sha256)
    if cached is not None:
        return cached
    content = _download(model, path)
    try:
        _write_whole(path, content)
    except OSError as error:
        _log.warning("%s is not kept for the next time: %s", model.name, error)
    return content


def cache_folder(environ: Mapping[str, str] = os.environ) -> Path:
    """The folder of downloaded models.

    It is $EARMARK_CACHE, else earmark in $XDG_CACHE_HOME, else ~/.cache/earmark.

    Raises:
      ModelError: neither variable is set, and there is no home folder.
    """
    if own := environ.get("EARMARK_CACHE"):
        return Path(own)
    if xdg := environ.get("XDG_CACHE_HOME"):
        return Path(xdg) / "earmark"
    try:
        return Path.home() / ".cache" / "earmark"
    except RuntimeError as error:
        raise ModelError("there is no home folder; name one for models in EARMARK_CACHE") from error


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


def _read(location: str, read: ReadUri | None, published: Sequence[PublishedModel]) -> bytes:
    for model in published:
        if model.name == location:
            return fetch(model)
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


def _cached(path: Path, sha256: str) -> bytes | None:
    try:
        content = path.read_bytes()
    except OSError:
        return None
    return content if _sha256(content) == sha256 else None


def _download(model: PublishedModel, path: Path) -> bytes:
    failures = []
    for home in model.urls:
        try:
            return _get(home, model)
        except (OSError, http.client.HTTPException, ModelError) as error:
            failures.append(f"{home}: {error}")
    raise ModelError(
        f"the model {model.name} could not be downloaded; without a network, put the file whose"
        f" sha256 is {model.sha256} at {path} ({'; '.join(failures)})"
    )


def _get(url: str, model: PublishedModel) -> bytes:
    """Download a model; no more is read than its size and a byte."""
    with urllib.request.urlopen(url, timeout=FETCH_TIMEOUT_S) as response:
        content: bytes = response.read(model.size_bytes + 1)
    if len(content) != model.size_bytes:
        found = f"more than {model.size_bytes}" if len(content) > model.size_bytes else len(content)
        raise ModelError(f"{found} bytes were received, not {model.size_bytes}")
    if _sha256(content) != model.sha256:
        raise ModelError(f"the file received has the sha256 {_sha256(content)}")
    return content


def _write_whole(path: Path, content: bytes) -> None:
    """Write a file atomically, so that nobody sees a part of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, partial = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(partial).chmod(0o644)  # a cache may be shared, and mkstemp makes private files
        Path(partial).replace(path)
    finally:
        Path(partial).unlink(missing_ok=True)


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
