"""What the library's calls take of the commands' options: those of their keywords."""

from __future__ import annotations

from collections.abc import Iterable

from earmark.pipelines.options import (
    CLASSIFY,
    EMBED,
    ClassifyKeywords,
    ClassifyOptions,
    Command,
    EmbedKeywords,
    ModelKeywords,
    UriKeywords,
)


def _taking(options: Iterable[str], command: Command, name: str) -> Command:
    takes = {"model", *options}
    known = ("config", *ClassifyOptions.model_fields)
    without = tuple(each for each in known if each not in takes)
    return command._replace(name=f"earmark.{name}", without=without)


_NO_RUN = {"input": ("uris",), "output": "nowhere"}

RUN = _taking(ClassifyKeywords.__annotations__, CLASSIFY, "classify")
EMBED_RUN = _taking(EmbedKeywords.__annotations__, EMBED, "embed")
URIS = _taking(UriKeywords.__annotations__, CLASSIFY, "Classify")._replace(fixed=_NO_RUN)
MODEL = _taking(ModelKeywords.__annotations__, CLASSIFY, "load_classifier")._replace(fixed=_NO_RUN)
FRAMES = _taking(("hop_s", "channels"), CLASSIFY, "frames")._replace(fixed=_NO_RUN)
LABEL = _taking(("hop_s", "channels", "top_k", "min_score"), CLASSIFY, "label")._replace(
    fixed=_NO_RUN
)
