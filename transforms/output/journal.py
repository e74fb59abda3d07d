"""The records of commits: journals of those begun, and files of complete rounds.

An output may be shared, and anyone who can write to it can put anything there under these names.
So content is accepted only in the form in which runs write it: names of runs, rounds and files in
tables' folders, never a path.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import PurePath
from typing import Annotated, Any, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    ValidationError,
    model_validator,
)
from pydantic_core import from_json

from earmark.transforms.elements import Listed
from earmark.transforms.errors import ExpectedError
from earmark.transforms.output.tables import TABLES
from earmark.transforms.output.totals import Totals
from earmark.transforms.storage import is_round, is_run_id, is_staging_folder, read_uri, shown


class JournalError(ExpectedError):
    """A file in place of a commit's record was not written by a run; the message is one line."""


def _is_table_file(path: str) -> bool:
    table, _, name = path.partition("/")
    is_name = "/" not in name and not name.startswith(".") and name.endswith(".parquet")
    return is_name and table in {each.name for each in TABLES}


def _holds(is_right: Callable[[str], bool]) -> AfterValidator:
    def check(name: str) -> str:
        if not is_right(name):
            raise ValueError("is no name that runs give")
        return name

    return AfterValidator(check)


TablePath = Annotated[str, _holds(_is_table_file)]
"""TABLE/NAME, relative to the output: a file of a table."""


def _with_rows(totals: Any) -> Any:
    """Totals with their rows by table, which earlier versions wrote as a field for each."""
    if not isinstance(totals, dict) or "clips" not in totals:
        return totals
    try:
        failures = sum(totals["failures"].values())
        rows = {name: totals[name] for name in ("detections", "events", "embeddings", "clips")}
    except (KeyError, AttributeError, TypeError) as error:
        raise ValueError("are no totals that runs write") from error
    others = {name: value for name, value in totals.items() if name not in rows}
    return {"rows": {**rows, "failures": failures}, **others}


class _Written(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")


class RoundRecord(_Written):
    """The content of a round's file, which marks the round as complete.

    Attributes:
      listed: what was to be processed.
      totals: what its rows say in sum.
      files: its files.
    """

    listed: Listed
    totals: Annotated[Totals, BeforeValidator(_with_rows)]
    files: list[TablePath]


class Journal(_Written):
    """The steps of a round's commit.

    Attributes:
      run_id: names the run.
      name: of the round in it.
      replaced: files of earlier rounds, written anew without the rows that are superseded.
      round: the content of the round's file, whose files are the new ones; None if there is none,
        since only files of earlier rounds are replaced.
    """

    run_id: Annotated[str, _holds(is_run_id)]
    name: Annotated[str, _holds(is_round)]
    replaced: list[TablePath]
    round: RoundRecord | None = None

    @property
    def files(self) -> list[str]:
        """All files that are to be moved into place, those of the round first."""
        return [*self.new_files, *self.replaced]

    @property
    def new_files(self) -> list[str]:
        """The files that add to those that were there."""
        return [] if self.round is None else self.round.files

    @model_validator(mode="after")
    def _has_its_own_files(self) -> Journal:
        for file in self.new_files:
            if not PurePath(file).name.startswith(f"{self.run_id}-{self.name}-"):
                raise ValueError(f"names {file} as new")
        return self


def read_journal(path: str) -> Journal | None:
    """Read a journal; None if it is incomplete, in which case its commit was not begun.

    Args:
      path: of the journal, in the staging folder of its run.

    Raises:
      JournalError: it was not written by a run, or was copied from elsewhere.
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
      JournalError: it was not written by a run.
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
        what = "journal" if kind is Journal else "round file"
        at = f" (at {where[:80]!r})" if where else ""
        raise JournalError(f"{shown(path)} is not a valid {what}{at}{_WAY_OUT}") from error
