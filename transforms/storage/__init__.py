"""Paths, URIs and object stores: looking objects up, reading them, and writing files whole.

What needs Beam is in beam_files and beam_filesystems, which are imported when a URI needs them.
"""

from earmark.transforms.errors import store_errors
from earmark.transforms.storage.checking import (
    check_known,
    check_reachable,
    check_store,
)
from earmark.transforms.storage.lookup import (
    find,
    local_object,
    look_up,
    remote_object,
    status_of,
    trouble_with,
)
from earmark.transforms.storage.paths import (
    APPLE_DOUBLE,
    KINDS,
    OTHERS,
    ListingError,
    absolute,
    file_kind,
    is_web,
    local_path,
    local_uri,
    normal_path,
    parse_root,
    relative_path,
    scheme,
    shown,
)
from earmark.transforms.storage.reading import fetched, read_small, read_uri
from earmark.transforms.storage.run_names import (
    ROUND,
    RUN_ID,
    STAGING_PREFIX,
    TABLE_FILE,
    is_round,
    is_run_id,
    is_staging_folder,
    run_id_of,
)
from earmark.transforms.storage.signed_urls import without_signature
from earmark.transforms.storage.stored import (
    Stored,
    StoreError,
    ignoring_store_errors,
    is_same_version,
    reason,
    unusable_errors,
)
from earmark.transforms.storage.stores import (
    exists,
    list_below,
    open_file,
    persisting,
    store_of,
)
from earmark.transforms.storage.temporary_copies import temporary_copy
from earmark.transforms.storage.whole_files import (
    create_file,
    delete_files,
    join,
    make_folder,
    move_whole,
    sync,
    write_whole,
)

__all__ = [
    "APPLE_DOUBLE",
    "KINDS",
    "OTHERS",
    "ROUND",
    "RUN_ID",
    "STAGING_PREFIX",
    "TABLE_FILE",
    "ListingError",
    "StoreError",
    "Stored",
    "absolute",
    "check_known",
    "check_reachable",
    "check_store",
    "create_file",
    "delete_files",
    "exists",
    "fetched",
    "file_kind",
    "find",
    "ignoring_store_errors",
    "is_round",
    "is_run_id",
    "is_same_version",
    "is_staging_folder",
    "is_web",
    "join",
    "list_below",
    "local_object",
    "local_path",
    "local_uri",
    "look_up",
    "make_folder",
    "move_whole",
    "normal_path",
    "open_file",
    "parse_root",
    "persisting",
    "read_small",
    "read_uri",
    "reason",
    "relative_path",
    "remote_object",
    "run_id_of",
    "scheme",
    "shown",
    "status_of",
    "store_errors",
    "store_of",
    "sync",
    "temporary_copy",
    "trouble_with",
    "unusable_errors",
    "without_signature",
    "write_whole",
]
