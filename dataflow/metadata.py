"""Prints the metadata of a Dataflow Flex Template: its parameters, which `launch.py` takes.

They are the options of `earmark classify`, with what the command's help says of them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, get_args

from earmark.pipelines.options.model import ClassifyOptions

NOT_PARAMETERS = {
    "dry_run": "what it says goes to a terminal, and it starts no job",
    "verbose": "what workers log goes to Cloud Logging anyway",
}
"""The options that a template has no use for, and why."""

_A_URI = "^[a-z][a-z0-9+.-]*://.+$"

_FORMS = {
    "input": _A_URI,
    "output": _A_URI,
    "notifications": "^(pubsub|kafka)://.+$|^projects/.+/subscriptions/.+$",
}
"""The form of values that the console of Dataflow is to check, where the type doesn't say it."""

_IN_A_FILE = "for several, a file such as @gs://bucket/labels.txt"

_MORE = {
    "input": "URIs separated by commas",
    "output": "such as gs://bucket/labels",
    "model": "a model built into the image is /opt/earmark/models/NAME.tflite",
    "heads": "several are separated by commas",
    "allow": _IN_A_FILE,
    "deny": _IN_A_FILE,
}
"""What is to be said of parameters beside what the help says of options."""


def metadata() -> dict[str, Any]:
    """The template's metadata; JSON values."""
    names = [name for name in ClassifyOptions.model_fields if name not in NOT_PARAMETERS]
    return {
        "name": "earmark",
        "description": "Writes down, in Parquet, what is heard where in an archive of audio.",
        "parameters": [dict(_parameter(name)) for name in names],
    }


def _parameter(name: str) -> Iterator[tuple[str, Any]]:
    field = ClassifyOptions.model_fields[name]
    said = [str(field.description).replace("%%", "%"), *filter(None, [_MORE.get(name)])]
    yield "name", name
    yield "label", name.replace("_", " ").capitalize()
    yield "helpText", "; ".join(said)
    if not field.is_required():
        yield "isOptional", True
    form = _FORMS.get(name) or _form(field.annotation)
    if form:
        yield "regexes", [form]


def _form(kind: Any) -> str | None:
    """The form of switches and of options with a few values."""
    words = ["true", "false"] if kind is bool else _words(kind)
    return f"^({'|'.join(words)})$" if words else None


def _words(kind: Any) -> list[str]:
    """The values of a Literal, or of one that may be None."""
    parts = get_args(kind)
    return [word for each in parts for word in ([each] if isinstance(each, str) else _words(each))]


if __name__ == "__main__":
    print(json.dumps(metadata(), indent=2))
