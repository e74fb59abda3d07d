"""From blocks of frames to the results of each clip: scores, detections, events, embeddings."""

from earmark.transforms.detecting.aggregating import AggregateClips, find_hits, label_summaries
from earmark.transforms.detecting.embeddings import EmbeddingSpool, loaded, mean_embedding, rows_of
from earmark.transforms.detecting.events import merge_events
from earmark.transforms.detecting.scoring import ScoreFrames, score_block

__all__ = [
    "AggregateClips",
    "EmbeddingSpool",
    "ScoreFrames",
    "find_hits",
    "label_summaries",
    "loaded",
    "mean_embedding",
    "merge_events",
    "rows_of",
    "score_block",
]
