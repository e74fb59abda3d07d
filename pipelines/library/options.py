"""What the library's calls take of the commands' options: those of their keywords."""

from __future__ import annotations

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


def _taking(keywords: type, command: Command, name: str) -> Command:
    takes = {"model", *keywords.__annotations__}
    known = ("config", *ClassifyOptions.model_fields)
    without = tuple(each for each in known if each not in takes)
    return command._replace(name=f"earmark.{name}", without=without)


_NO_RUN = {"input": ("uris",), "output": "nowhere"}

RUN = _taking(ClassifyKeywords, CLASSIFY, "classify")
EMBED_RUN = _taking(EmbedKeywords, EMBED, "embed")
URIS = _taking(UriKeywords, CLASSIFY, "Classify")._replace(fixed=_NO_RUN)
MODEL = _taking(ModelKeywords, CLASSIFY, "load_classifier")._replace(fixed=_NO_RUN)
