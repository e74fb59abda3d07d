"""Getting the files of published models: from the cache, from the web, or from a user's copy."""

from __future__ import annotations

import hashlib
import io
import logging
import os
import re
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from earmark.models import metadata
from earmark.models.catalogue.published import PublishedFile, PublishedModel, Role, published_models
from earmark.models.errors import ModelError

FETCH_TIMEOUT_S = 30.0

_LOCALE = re.compile(r"(?:^|[/_])(?P<locale>[a-z]{2}(?:_[a-z]{2})?)\.txt$")
"""How files of labels in a language are named: labels/de.txt or BirdNET_..._Labels_de.txt."""

_LARGEST_LABELS_BYTES = 16_000_000

_BROKEN_ARCHIVE = (
    *(zipfile.BadZipFile, tarfile.TarError),
    *(EOFError, NotImplementedError, RuntimeError),
)

_log = logging.getLogger(__name__)


def fetch(
    model: PublishedModel, cache: Path | None = None, role: Role = "model", copy: Path | None = None
) -> bytes:
    """Read a file of a published model from the cache, or get all of its files into the cache.

    Several processes may do so at the same time.

    Args:
      model: the model.
      cache: the cache folder, by default `cache_folder()`.
      role: which of its files.
      copy: a file, archive or folder of the user's to take the files from, whatever their names,
        instead of the web.

    Returns:
      The content of the file.

    Raises:
      ModelError: the file is not in the cache and could not be had.
    """
    folder = cache or cache_folder()
    if copy is None and (cached := _cached(model, folder, role)) is not None:
        return cached
    found = _download(model, folder, role) if copy is None else _copied(model, copy)
    _keep(model, folder, found)
    if role in found.files:
        return found.files[role]
    sha256s = " or ".join(file.sha256 for file in model.files[role])
    raise ModelError(f"{copy or model.urls[0]} has no file whose sha256 is {sha256s}")


def read_labels_of(model: PublishedModel, locale: str | None = None) -> str | None:
    """The text of a published model's labels, one a line; None if its metadata has them.

    Args:
      model: the model.
      locale: a language among `label_locales`; None for the labels of its files.

    Raises:
      ModelError: they are not in the cache and could not be had, or not in this language.
    """
    if locale is not None:
        fetch(model, role="labels")
        path = _locale_path(model, cache_folder(), locale)
        try:
            return path.read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            there = ", ".join(label_locales(model)) or "none"
            raise ModelError(f"no labels in the language {locale!r}; there is {there}") from error
    if "labels" in model.files:
        return fetch(model, role="labels").decode("utf-8")
    if model.labels_of is not None:
        other = next(each for each in published_models() if each.name == model.labels_of)
        labels = metadata.read(fetch(other)).output(0).labels
        return None if labels is None else "\n".join(labels)
    return None


def label_locales(model: PublishedModel) -> list[str]:
    """The languages of labels that came with a published model's files."""
    files = cache_folder().glob(_locale_path(model, Path(), "*").name)
    return sorted(found["locale"] for file in files if (found := _LOCALE.search(file.name)))


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


class _Found(NamedTuple):
    """What of a model's files there is.

    Attributes:
      files: the content of files whose SHA-256 is known.
      locales: by language, files with as many lines as there are labels.
    """

    files: Mapping[Role, bytes]
    locales: Mapping[str, bytes]


class _Entry(NamedTuple):
    name: str
    content: bytes


def _cached(model: PublishedModel, folder: Path, role: Role) -> bytes | None:
    for path, file in model.paths_in(folder, role).items():
        with suppress(OSError):
            if file.is_this(content := path.read_bytes()):
                return content
    return None


def _keep(model: PublishedModel, folder: Path, found: _Found) -> None:
    paths = {
        path: content
        for role, content in found.files.items()
        for path, file in model.paths_in(folder, role).items()
        if file.is_this(content)
    }
    for locale, content in found.locales.items():
        paths[_locale_path(model, folder, locale)] = content
    try:
        for path, content in paths.items():
            _write_whole(path, content)
    except OSError as error:
        _log.warning("%s is not kept for the next time: %s", model.name, error)


def _locale_path(model: PublishedModel, folder: Path, locale: str) -> Path:
    return folder / f"{model.name}-labels_{locale}.txt"


def _download(model: PublishedModel, folder: Path, role: Role) -> _Found:
    from http.client import HTTPException

    failures = []
    for url in model.urls:
        try:
            return _get(url, model)
        except (OSError, HTTPException, ModelError) as error:
            failures.append(f"{url}: {error}")
    raise ModelError(
        f"the model {model.name} could not be downloaded; without a network, put the file whose"
        f" sha256 is {model.files[role][0].sha256} at {model.path_in(folder, role)}, or name a copy"
        f" to `earmark model fetch {model.name} --from PATH` ({'; '.join(failures)})"
    )


def _get(url: str, model: PublishedModel) -> _Found:
    """Download a model's files; no more is read than an archive of them can hold."""
    import urllib.request  # not above: it takes longer than all else that a known model needs

    largest = 2 * sum(file.size_bytes for file in _all_files(model)) + 1_000_000
    size_bytes = model.files["model"][0].size_bytes
    with urllib.request.urlopen(url, timeout=FETCH_TIMEOUT_S) as response:
        content: bytes = response.read(4)
        is_archive = _is_archive(content)
        content += response.read((largest if is_archive else size_bytes + 1) - len(content))
    if is_archive:
        found = _found(model, _members(url, content, model))
        if "model" not in found.files:
            raise ModelError("the archive received does not contain the model")
        return found
    if len(content) != size_bytes:
        received = f"more than {size_bytes}" if len(content) > size_bytes else len(content)
        raise ModelError(f"{received} bytes were received, not {size_bytes}")
    found = _found(model, [_Entry(url, content)])
    if "model" not in found.files:
        sha256 = hashlib.sha256(content).hexdigest()
        raise ModelError(f"the file received has the sha256 {sha256}")
    return found


def _copied(model: PublishedModel, copy: Path) -> _Found:
    """The files of a model in a user's folder, archive or file."""
    try:
        if copy.is_dir():
            there = (path for path in sorted(copy.rglob("*")) if path.is_file())
            wanted = (p for p in there if _is_wanted(model, str(p), p.stat().st_size))
            return _found(model, (_Entry(str(path), path.read_bytes()) for path in wanted))
        content = copy.read_bytes()
    except OSError as error:
        raise ModelError(f"cannot read {copy}: {error.strerror}") from error
    if _is_archive(content):
        return _found(model, _members(str(copy), content, model))
    return _found(model, [_Entry(str(copy), content)])


def _is_wanted(model: PublishedModel, name: str, size_bytes: int) -> bool:
    """Whether a file may be one of the model's, or labels in a language, by its name and size."""
    if any(file.size_bytes == size_bytes for file in _all_files(model)):
        return True
    return size_bytes <= _LARGEST_LABELS_BYTES and _LOCALE.search(name) is not None


def _all_files(model: PublishedModel) -> list[PublishedFile]:
    return list(chain.from_iterable(model.files.values()))


def _is_archive(content: bytes) -> bool:
    return content.startswith((b"PK\x03\x04", b"\x1f\x8b"))


def _members(name: str, content: bytes, model: PublishedModel) -> Iterator[_Entry]:
    """The files in a zip or a gzipped tar that may be the model's; no other is unpacked."""
    try:
        if content.startswith(b"PK"):
            with zipfile.ZipFile(io.BytesIO(content)) as packed:
                for each in packed.infolist():
                    if _is_wanted(model, each.filename, each.file_size):
                        yield _Entry(each.filename, packed.read(each))
        else:
            with tarfile.open(fileobj=io.BytesIO(content), mode="r:gz") as packed_tar:
                for member in packed_tar:
                    is_wanted = member.isfile() and _is_wanted(model, member.name, member.size)
                    if is_wanted and (file := packed_tar.extractfile(member)):
                        yield _Entry(member.name, file.read())
    except _BROKEN_ARCHIVE as error:
        raise ModelError(f"{name} is not a whole archive: {error}") from error


def _found(model: PublishedModel, entries: Iterator[_Entry] | Sequence[_Entry]) -> _Found:
    files: dict[Role, bytes] = {}
    texts: dict[str, bytes] = {}
    for name, content in entries:
        for role, alternatives in model.files.items():
            if any(file.is_this(content) for file in alternatives):
                files[role] = content
        if (locale := _LOCALE.search(name)) and "labels" in model.files:
            texts[locale["locale"]] = content
    lines = files.get("labels", b"").count(b"\n")
    return _Found(files, {each: text for each, text in texts.items() if text.count(b"\n") == lines})


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
