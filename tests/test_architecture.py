"""What the code may import: the places of its house, and the arrows between them.

A place is a room, which is a package, or a module beside the rooms. Outside a room only its face
is imported, which is its `__init__`. A new arrow is added here, or better not needed.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.architecture import PACKAGES, Arrow, arrows, changing_globals, floors, names_in

ROOT = Path(__file__).resolve().parents[1]

TRANSFORMS = {
    "elements": "",
    "text": "",
    "threads": "",
    "samples": "",
    "sources": "",
    "settings": "elements",
    "errors": "elements text",
    "workers": "elements errors",
    "audio": "elements errors samples",
    "frames": "elements errors samples settings",
    "storage": "elements errors text",
    "archives": "elements errors storage",
    "detecting": "elements settings storage workers",
    "decoding": "archives audio elements errors frames samples settings storage threads workers",
    "listing": "archives audio elements storage text",
    "output": "detecting elements errors settings storage text workers",
    "planning": "archives elements errors listing output settings sources storage text workers",
}
MODELS = {
    "errors": "",
    "graphs": "",
    "metadata": "errors graphs",
    "running": "errors graphs metadata",
    "scores": "errors metadata running",
    "catalogue": "errors metadata",
    "sources": "catalogue errors",
    "places": "errors running sources",
    "describing": "errors metadata scores",
    "classifier": "errors graphs metadata running scores sources",
    "builtin": "classifier metadata",
}
PIPELINES = {
    "collecting": "",
    "console": "",
    "errors": "",
    "interrupts": "",
    "streams": "",
    "limits": "errors",
    "engines": "errors interrupts",
    "options": "console engines errors",
    "resolving": "errors options",
    "runs": "console engines errors interrupts limits options resolving",
    "screen": "console options runs",
    "library": "console errors interrupts options runs screen",
    "cli": "collecting console errors interrupts limits streams",
    "classify": "cli collecting console errors options runs screen streams",
    "embed": "classify options",
    "demo": "classify collecting console errors options runs",
    "model_facts": "console options resolving",
    "model": "console errors model_facts options resolving",
    "outputs": "errors",
    "rederive": "collecting errors options rederiving",
    "rederiving": "console errors options outputs resolving runs",
    "repair": "collecting console options outputs",
}
WITHIN = {"transforms": TRANSFORMS, "models": MODELS, "pipelines": PIPELINES}

PACKAGES_BELOW = {"pipelines": {"transforms", "models"}, "transforms": set(), "models": set()}
"""Transforms use no model themselves: scoring is handed a classifier."""

PAST_THE_FACE = {
    ("transforms/decoding", "pool"),
    ("transforms/decoding", "stage"),
    ("transforms/decoding", "splitting"),
    ("transforms/storage", "beam_filesystems"),
    ("transforms/workers", "sharing"),
    ("transforms/workers", "spreading"),
}
"""What a room's face leaves out, as it is imported by processes that need no Beam, and no pool."""

NEVER = {
    "models": {"apache_beam", "tensorflow"},
    "transforms": {"tensorflow"},
    "pipelines": {"tensorflow"},
}

TRAINING = Arrow("models/builtin", "tensorflow")


def forbidden(root: Path) -> list[Arrow]:
    """The arrows in a folder that no table above allows."""
    return sorted(arrow for arrow in arrows(root) if not _is_allowed(arrow))


def _is_allowed(arrow: Arrow) -> bool:
    package, name = arrow.start.split("/")[:2]
    if "/" not in arrow.end:
        return arrow.end not in NEVER[package] or arrow == TRAINING
    if arrow.start == arrow.end:
        return True
    if arrow.inner and (arrow.end, arrow.inner) not in PAST_THE_FACE:
        return False
    other, end = arrow.end.split("/")
    if other != package:
        return other in PACKAGES_BELOW[package]
    return end in WITHIN[package].get(name, "").split()


def test_every_import_is_allowed():
    assert forbidden(ROOT) == []


@pytest.mark.parametrize("package", PACKAGES)
def test_every_arrow_of_the_table_is_there(package):
    there = {
        (arrow.start, arrow.end)
        for arrow in arrows(ROOT)
        if arrow.start != arrow.end and arrow.end.startswith(f"{package}/")
    }
    for name, ends in WITHIN[package].items():
        for end in ends.split():
            assert (f"{package}/{name}", f"{package}/{end}") in there


@pytest.mark.parametrize(("package", "most"), [("transforms", 6), ("models", 6), ("pipelines", 8)])
def test_the_places_of_a_package_lie_on_few_floors_and_in_no_circle(package, most):
    table = {name: ends.split() for name, ends in WITHIN[package].items()}
    assert max(floors(table).values()) <= most


def test_a_circle_is_noticed():
    with pytest.raises(ValueError, match="a -> b -> c -> a"):
        floors({"a": ["b"], "b": ["c"], "c": ["a"]})


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ("transforms/audio/reading.py", "from earmark.transforms.storage import read_uri"),
        ("transforms/storage/paths.py", "def f():\n    from earmark.transforms.listing import x"),
        ("transforms/listing/globs.py", "from earmark.transforms.storage.paths import shown"),
        ("transforms/listing/globs.py", "import earmark.transforms.storage.paths"),
        ("transforms/errors.py", "from earmark.transforms import storage"),
        ("transforms/detecting/scoring.py", "from earmark.models.classifier import load"),
        ("transforms/output/deep/down.py", "from earmark.pipelines.errors import RunError"),
        ("models/running/scorers.py", "import apache_beam as beam"),
        ("models/graphs/cutting.py", "from earmark.transforms import elements"),
        ("pipelines/engines/local.py", "import tensorflow"),
        ("pipelines/engines/local.py", "from earmark.pipelines.runs import graph"),
    ],
)
def test_a_forbidden_import_is_found(tmp_path, path, line):
    for folder in ("transforms/storage", "transforms/audio"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "transforms/storage/paths.py").touch()
    assert forbidden(tmp_path) == []
    file = tmp_path / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f"{line}\n")
    assert len(forbidden(tmp_path)) == 1


@pytest.mark.parametrize(
    "module", ["transforms.audio", "transforms.decoding", "transforms.frames", "models.classifier"]
)
def test_what_needs_no_beam_imports_none(module):
    program = f"import sys, earmark.{module}\nsys.exit('apache_beam' in sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True)


def test_a_command_imports_what_decodes_and_what_reads_tables_only_when_it_needs_them():
    program = """if True:
        import sys
        import earmark.pipelines.classify, earmark.pipelines.runs, earmark.pipelines.screen
        print(*({"av", "soundfile", "pyarrow.dataset"} & set(sys.modules)))
        """
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True)
    assert done.stdout.split() == []


ENGINES_OWN = (
    *("is_local", "DirectRunner", "DirectOptions", "FnApiRunner", "FlinkRunner", "FlinkEngine"),
    *("DataflowRunner", "LocalEngine", "DataflowEngine", "RemoteEngine", "template_location"),
    *("StandardOptions", "GoogleCloudOptions", "PortableOptions", "job_endpoint", "create_runner"),
)
"""What tells one engine from another, or is asked of one alone."""


def test_nobody_but_engines_asks_which_engine_it_is():
    told = {(where, name) for where, name in names_in(ROOT, "pipelines") if name in ENGINES_OWN}
    assert {where for where, _ in told} == {"pipelines/engines"}


def test_only_one_thing_is_global_and_changes():
    assert changing_globals(ROOT) == {"src/earmark/shared.py: _REGISTRY"}


@pytest.mark.parametrize(
    "module",
    [
        "import threading\nTURN = threading.Lock()",
        "from threading import RLock\nturns = tuple(RLock() for _ in range(3))",
        "SEEN: set[str] = set()\ndef f(x):\n    SEEN.add(x)",
        "from collections import OrderedDict\nC = OrderedDict()\ndef f(x):\n    C[x] = 1",
        "N = {}\ndef f(x):\n    del N[x]",
        "class Pool:\n    pass\nSHARED = Pool()",
        "is_over = False\ndef f():\n    global is_over\n    is_over = True",
    ],
)
def test_a_global_that_changes_is_found(tmp_path, module):
    file = tmp_path / "models" / "one.py"
    file.parent.mkdir()
    file.write_text("A = {1: 2}\nB = frozenset()\ndef g():\n    x = []\n    x.append(1)\n")
    assert changing_globals(tmp_path) == set()
    file.write_text(module)
    assert len(changing_globals(tmp_path)) == 1
