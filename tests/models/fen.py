"""A model's metadata as its tests describe it: of the birds of a fen."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from earmark.models.metadata.reading import InputMetadata, LabelFile, ModelMetadata, OutputMetadata

ENGLISH = LabelFile("labels.txt", None, ("bittern", "water rail", "crake"))
GERMAN = LabelFile("labels_de.txt", "de", ("Rohrdommel, große", "Wasserralle", "Ralle"))
FEN = ModelMetadata(
    name="birds of the fen",
    description="Tells apart what calls there.",
    author="the fen people",
    license="CC-BY-4.0",
    inputs=(InputMetadata("audio", sample_rate_hz=32_000, channels=1),),
    outputs=(OutputMetadata("scores", label_files=(ENGLISH, GERMAN)),),
)


def fen(**changes: Any) -> ModelMetadata:
    """FEN with changes to its only output."""
    return replace(FEN, outputs=(replace(FEN.outputs[0], **changes),))
