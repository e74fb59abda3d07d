"""The folder that a run writes: its tables, committing to them, and what earlier runs left."""

from earmark.transforms.output.committing import (
    CommitRound,
    OutputTakenError,
    ReconcileError,
    recover,
)
from earmark.transforms.output.concluding import ConcludeRun, committed_objects, conclude
from earmark.transforms.output.folder import (
    SET_ASIDE,
    STREAM,
    LinkedFolderError,
    aside_folder,
    discard_folder,
    has_tables,
    is_written_by_runs,
    refuse_links,
    round_file,
    round_id,
    run_file,
    staging_folder,
    without_own_files,
)
from earmark.transforms.output.history import (
    HistoryError,
    OtherSettingsError,
    Processed,
    check_history,
    read_history,
)
from earmark.transforms.output.journal import JournalError, RoundRecord, read_round_file
from earmark.transforms.output.lock import LockedError, leave_locked, locked, release
from earmark.transforms.output.provenance import provenance_of
from earmark.transforms.output.rederiving import (
    Begun,
    Derivation,
    check_times,
    is_told_by_best,
    missing_labels,
    rederive,
)
from earmark.transforms.output.relocating import Known, relocate
from earmark.transforms.output.repairing import Damage, find_damage, repair
from earmark.transforms.output.rows import (
    BrokenTableError,
    NoSuchTableError,
    Rows,
    Tables,
    read,
)
from earmark.transforms.output.superseding import is_since_planned, superseded
from earmark.transforms.output.tables import made_tables, written_tables
from earmark.transforms.output.windows import CommitWindows
from earmark.transforms.output.writing import WriteParquet

__all__ = [
    "SET_ASIDE",
    "STREAM",
    "Begun",
    "BrokenTableError",
    "CommitRound",
    "CommitWindows",
    "ConcludeRun",
    "Damage",
    "Derivation",
    "HistoryError",
    "JournalError",
    "Known",
    "LinkedFolderError",
    "LockedError",
    "NoSuchTableError",
    "OtherSettingsError",
    "OutputTakenError",
    "Processed",
    "ReconcileError",
    "RoundRecord",
    "Rows",
    "Tables",
    "WriteParquet",
    "aside_folder",
    "check_history",
    "check_times",
    "committed_objects",
    "conclude",
    "discard_folder",
    "find_damage",
    "has_tables",
    "is_since_planned",
    "is_told_by_best",
    "is_written_by_runs",
    "leave_locked",
    "locked",
    "made_tables",
    "missing_labels",
    "provenance_of",
    "read",
    "read_history",
    "read_round_file",
    "recover",
    "rederive",
    "refuse_links",
    "release",
    "relocate",
    "repair",
    "round_file",
    "round_id",
    "run_file",
    "staging_folder",
    "superseded",
    "without_own_files",
    "written_tables",
]
