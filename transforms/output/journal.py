"""What commits write down: journals of those begun, and files of the rounds that are whole.

An output may be shared, and whoever writes to it can leave anything there under these names. So
what is read is taken only in the form in which runs write it: names of runs, rounds and files
in tables' folders, never a path.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePath
from typing import Annotated, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    NonNegativeInt,
    ValidationError,
    model_validator,
)
from pydantic_core import from_json

from earmark.transforms.output.tables import TABLES
from earmark.transforms.output.totals import Totals
from earmark.transforms.storage import is_round, is_run_id, is_staging_folder, read_uri, shown


class JournalError(Exception):
    """A file that no run has written lies where one of a commit should; the message is a line."""


def _table_file(path: str) -> str:
    table, _, name = path.partition("/")
    is_name = "/" not in name and not name.startswith(".") and name.endswith(".parquet")
    if table not in {each.name for each in TABLES} or not is_name:
        raise ValueError("is no file of a table")
    return path


def _run_id(name: str) -> str:
    if not is_run_id(name):
        raise ValueError("is no name of a run")
    return name


def _round(name: str) -> str:
    if not is_round(name):
        raise ValueError("is no name of a round")
    return name


TablePath = Annotated[str, AfterValidator(_table_file)]
"""TABLE/NAME, relative to the output: a file of a table."""


class _Written(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")


class ListedObjects(_Written):
    """What a round was to process.

    Attributes:
      objects: how many objects.
      skipped: how many files the listing left out, by kind.
    """

    objects: NonNegativeInt
    skipped: Mapping[str, NonNegativeInt]


class RoundRecord(_Written):
    """The content of a round's file, whose presence says that the round is whole.

    Attributes:
      listed: what was to be processed.
      totals: what its rows say in sum.
      files: those that it brought.
    """

    listed: ListedObjects
    totals: Totals
    files: list[TablePath]


class Journal(_Written):
    """What is to be done to commit a round.

    Attributes:
      run_id: names the run.
      name: of the round in it.
      replaced: files of earlier rounds, written anew without the rows that are superseded.
      round: what the round's file is to say; its files are new.
    """

    run_id: Annotated[str, AfterValidator(_run_id)]
    name: Annotated[str, AfterValidator(_round)]
    replaced: list[TablePath]
    round: RoundRecord

    @property
    def files(self) -> list[str]:
        """All files that are to be moved into place, those of the round first."""
        return [*self.round.files, *self.replaced]

    @model_validator(mode="after")
    def _has_its_own_files(self) -> Journal:
        for file in self.round.files:
            if not PurePath(file).name.startswith(f"{self.run_id}-{self.name}-"):
                raise ValueError(f"names {file} as new")
        return self


def read_journal(path: str) -> Journal | None:
    """A journal; None if it was not written to its end, when nothing of it was begun.

    Args:
      path: of the journal, in the staging folder of its run.

    Raises:
      JournalError: it is none that a run has written, or was copied from elsewhere.
      OSError: it cannot be read.
    """
    content = read_uri(path)
    try:
        from_json(content)
    except ValueError:
        return None
    journal = _parsed(path, content, Journal)
    where = PurePath(path)
    is_its_place = is_staging_folder(where.parent.name) and where.parent.name.endswith(
        journal.run_id
    )
    if not is_its_place or where.stem != journal.name:
        raise JournalError(f"{shown(path)} is the journal of another commit{_WAY_OUT}")
    return journal


def read_round_file(path: str) -> RoundRecord:
    """A round's file.

    Raises:
      JournalError: it is none that a run has written.
      OSError: it cannot be read.
    """
    return _parsed(path, read_uri(path), RoundRecord)


_WAY_OUT = "; `earmark repair` sets it aside"

_Model = TypeVar("_Model", bound=_Written)


def _parsed(path: str, content: bytes, kind: type[_Model]) -> _Model:
    try:
        return kind.model_validate_json(content)
    except ValidationError as error:
        where = ".".join(map(str, error.errors(include_input=False)[0]["loc"]))
        what = "journal of a commit" if kind is Journal else "file of a round"
        at = f" (at {where[:80]!r})" if where else ""
        raise JournalError(f"{shown(path)} is no {what}{at}{_WAY_OUT}") from error
