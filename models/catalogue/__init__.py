"""Models known by name: what they are, how they are used, and how to get their files."""

from earmark.models.catalogue.fetching import cache_folder, fetch, label_locales, read_labels_of
from earmark.models.catalogue.published import (
    PublishedFile,
    PublishedModel,
    Role,
    known_model,
    published_models,
)

__all__ = [
    "PublishedFile",
    "PublishedModel",
    "Role",
    "cache_folder",
    "fetch",
    "known_model",
    "label_locales",
    "published_models",
    "read_labels_of",
]
