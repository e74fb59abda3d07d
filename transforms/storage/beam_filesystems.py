"""Beam's filesystems, and its options that stores go by.

Importing Beam takes a second. So nothing here is imported before a URI of a store is used.
"""

from __future__ import annotations

from apache_beam.io.filesystem import FileSystem
from apache_beam.io.filesystems import FileSystems
from apache_beam.io.localfilesystem import LocalFileSystem
from apache_beam.options.pipeline_options import GoogleCloudOptions, PipelineOptions, S3Options

from earmark.transforms.storage.clients import forget_clients

_OPTIONS_SCHEME = "earmark-options"


class _AskedForOptions(LocalFileSystem):  # type: ignore[misc]
    """Has Beam tell its options, which each plugin is given, in workers, too; no filesystem."""

    @classmethod
    def scheme(cls) -> str:
        return _OPTIONS_SCHEME

    def __init__(self, pipeline_options: PipelineOptions | None) -> None:
        super().__init__(pipeline_options)
        self.options = pipeline_options


def use_options(options: PipelineOptions) -> None:
    """Have stores, and Beam's own filesystems, go by Beam's options from now on."""
    FileSystems.set_options(options)
    forget_clients()


def s3_options() -> S3Options:
    """What Beam's options say of S3."""
    return _options().view_as(S3Options)


def google_options() -> GoogleCloudOptions:
    """What Beam's options say of Google's cloud."""
    return _options().view_as(GoogleCloudOptions)


def beam_filesystem(uri: str) -> FileSystem:
    """Beam's filesystem for a URI; some can do nothing without options.

    Raises:
      ValueError: there is none.
    """
    _options()
    return FileSystems.get_filesystem(uri)


def beam_schemes() -> set[str]:
    """The schemes of URIs that Beam has a filesystem for."""
    every = {each.scheme() for each in FileSystem.get_all_subclasses()}
    return every - {None, _OPTIONS_SCHEME}


def _options() -> PipelineOptions:
    told = FileSystems.get_filesystem(f"{_OPTIONS_SCHEME}://").options
    if isinstance(told, PipelineOptions):
        return told
    FileSystems.set_options(PipelineOptions([]))
    return PipelineOptions([])
