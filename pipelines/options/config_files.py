"""Config files: YAML with JSON's numbers, and without what surprises or swells."""

from __future__ import annotations

import re
from typing import Any

import yaml

from earmark.pipelines.errors import UsageError
from earmark.pipelines.options.model import ClassifyOptions
from earmark.transforms.storage import read_small
from earmark.transforms.text import printable

LARGEST_BYTES = 1_000_000


def read_config(path: str) -> dict[str, Any]:
    """The options in a config file, by name.

    Plain numbers, true, false and null are read as in JSON; anything else is text: `no` is not
    false, 1:30 not 90, 010 not 8. Anchors, aliases, tags and duplicate keys are refused.

    Raises:
      UsageError: it cannot be read or is no config file; its content, which may be secret, is not
        quoted.
    """
    named = f"--config {printable(path)}"
    try:
        text = read_small(path, LARGEST_BYTES).decode("utf-8-sig")
        values = yaml.load(text, _Plain)
    except UnicodeDecodeError:
        raise UsageError(f"{named}: not UTF-8 text") from None
    except OSError as error:
        raise UsageError(f"{named}: {error.strerror or error}") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise UsageError(f"{named}: not YAML: {_problem(error)}") from None
    if not isinstance(values, dict):
        raise UsageError(f"{named}: contains no options; write them as 'name: value' lines")
    return values


def _problem(error: Exception) -> str:
    """What is wrong, and where, without quoting the line."""
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    if not isinstance(error, yaml.MarkedYAMLError):
        return str(getattr(error, "reason", "it contains invalid characters"))
    mark = error.problem_mark or error.context_mark
    where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
    return where + printable(error.problem or error.context or "cannot be parsed", 200)


class _Plain(yaml.SafeLoader):
    """Reads mappings, lists and scalars only."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 (as the library has it)

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        event = self.peek_event()  # type: ignore[no-untyped-call]
        if isinstance(event, yaml.AliasEvent):
            raise _Refused("aliases (*name) are not supported: repeat the value", event)
        if getattr(event, "anchor", None):
            raise _Refused("anchors (&name) are not supported: repeat the value", event)
        if getattr(event, "tag", None):
            raise _Refused("tags (!name) are not supported", event)
        node: yaml.Node | None = super().compose_node(parent, index)
        return node

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        known: set[str] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise _Refused("a key must be a name, not a list or a mapping", key)
            if key.value in known:
                is_option = key.value in ClassifyOptions.model_fields
                raise _Refused(f"{key.value if is_option else 'a name'} is given twice", key)
            known.add(key.value)
        return {key.value: self.construct_object(value, deep=True) for key, value in node.value}


class _Refused(yaml.MarkedYAMLError):
    def __init__(self, problem: str, at: yaml.Event | yaml.Node) -> None:
        super().__init__(problem=problem, problem_mark=at.start_mark)  # type: ignore[arg-type]


_JSON_SCALARS = (
    ("null", re.compile(r"(?:null|~|)\Z"), ["n", "~", ""]),
    ("bool", re.compile(r"(?:true|True|TRUE|false|False|FALSE)\Z"), [*"tTfF"]),
    ("int", re.compile(r"-?(?:0|[1-9][0-9]{0,300})\Z"), [*"-0123456789"]),
    (
        "float",
        re.compile(r"-?(?:0|[1-9][0-9]{0,300})(?:\.[0-9]{1,300})?(?:[eE][+-]?[0-9]{1,4})?\Z"),
        [*"-0123456789"],
    ),
)
for _kind, _form, _first in _JSON_SCALARS:
    _Plain.add_implicit_resolver(f"tag:yaml.org,2002:{_kind}", _form, _first)
