"""The command line: earmark classify, embed, demo, model, rederive and repair."""

from __future__ import annotations

import importlib
import importlib.util
import os
import signal
import sys
from collections.abc import Callable, Sequence
from typing import NoReturn, cast

from earmark import __version__
from earmark.models.errors import nearest
from earmark.pipelines.collecting import uncollected
from earmark.pipelines.console import UnshownError, quiet_libraries, say, show, show_bug
from earmark.pipelines.errors import RunError, UsageError
from earmark.pipelines.interrupts import StoppedError, end_on_signals
from earmark.pipelines.limits import LEAST_FILES, check_open_files, exhausted
from earmark.pipelines.streams import flush_stdout, prepare_streams
from earmark.transforms.threads import ONE_BLAS_THREAD

DONE, FAILED, WRONG_USAGE = 0, 1, 2

COMMANDS = {
    "classify": "earmark.pipelines.classify",
    "demo": "earmark.pipelines.demo",
    "embed": "earmark.pipelines.embed",
    "model": "earmark.pipelines.model",
    "rederive": "earmark.pipelines.rederive",
    "repair": "earmark.pipelines.repair",
}
"""The module of each command, imported only when needed: Beam's import takes a second."""

_HELP = f"""\
earmark {__version__}: writes down, in Parquet, what is heard where in archives of audio.

  earmark classify archive --output labels/   label the sounds in an archive
  earmark embed archive --output vectors/     write embeddings of its frames only
  earmark demo                                make and process a small archive
  earmark model list                          list the models that are known by name
  earmark model info MODEL                    show a model's inputs, outputs, labels
  earmark model label MODEL --labels FILE     pack labels and metadata into a model
  earmark model fetch yamnet                  get a model in advance
  earmark rederive labels/ --min_score 0.3    derive rows of other settings
  earmark repair labels/                      set broken files of an output aside

Each command has its own --help.
"""


def run() -> None:
    """Run the command line of this process, and exit."""
    run_command(sys.argv[1:])


def run_command(arguments: Sequence[str]) -> NoReturn:
    """Run a command line, and exit with its status."""
    if importlib.util.find_spec("fcntl") is None:  # Windows
        sys.exit(_ended("earmark runs on Linux and macOS", WRONG_USAGE))
    prepare_streams()
    sys.excepthook = show_bug
    try:
        end_on_signals()
        status = _flushed(main(arguments))
    except SystemExit as ended:  # argparse's answer to --help
        status = _flushed(int(ended.code or DONE))
    except KeyboardInterrupt as error:  # in the middle of a last word
        status = _interrupted(error)
    if status > 128:
        # Beam's threads go on decoding until the process ends, and libraries complain of them then.
        sys.stderr.flush()
        os._exit(status)
    sys.exit(status)


def main(arguments: Sequence[str]) -> int:
    """Run a command line; returns the exit status."""
    name, *rest = arguments or ["--help"]
    if "--verbose" not in rest:
        quiet_libraries(True)
    _settle_libraries()
    try:
        _carry_out(name, rest)
    except UsageError as error:
        return _ended(error, WRONG_USAGE)
    except RunError as error:
        return _ended(error, FAILED)
    except StoppedError as error:
        return _ended(f"interrupted; {error}", error.status)
    except UnshownError as error:
        return DONE if error.is_unread else _ended(f"cannot print the output: {error}", FAILED)
    except (MemoryError, ImportError, OSError, RuntimeError) as error:
        if (said := exhausted(error)) is None:
            raise
        return _ended(said, FAILED)
    except KeyboardInterrupt as error:
        return _interrupted(error)
    return DONE


def _flushed(status: int) -> int:
    """The exit status after flushing stdout; a reader that has gone is not a failure."""
    error = flush_stdout()
    if error is None or isinstance(error, BrokenPipeError) or status != DONE:
        return status
    return _ended(f"cannot print the output: {error.strerror}", FAILED)


def _interrupted(error: KeyboardInterrupt) -> int:
    said = str(error) or "nothing was committed"
    return _ended(f"interrupted; {said}", 128 + getattr(error, "number", signal.SIGINT))


def _carry_out(name: str, rest: Sequence[str]) -> None:
    if name in ("-h", "--help"):
        show(_HELP)
    elif name == "--version":
        show(f"earmark {__version__}\n")
    else:
        check_open_files(LEAST_FILES)
        with uncollected():
            command = _command(name)
        command(rest)


def _command(name: str) -> Callable[[Sequence[str]], None]:
    if name not in COMMANDS:
        raise UsageError(
            f"unknown command {name}{nearest(name, COMMANDS) or '; see earmark --help'}"
        )
    module = importlib.import_module(COMMANDS[name])
    return cast(Callable[[Sequence[str]], None], module.command)


def _settle_libraries() -> None:
    """Limit BLAS to a thread for each worker, and spare a search of all packages for plugins.

    What the user has set stays.
    """
    for name, value in {**ONE_BLAS_THREAD, "PYDANTIC_DISABLE_PLUGINS": "__all__"}.items():
        os.environ.setdefault(name, value)


def _ended(message: object, status: int) -> int:
    say(message)
    return status
