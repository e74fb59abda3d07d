"""What a person sees of a run."""

from earmark.pipelines.screen.forecast import show_forecast
from earmark.pipelines.screen.progress import is_notebook, watch
from earmark.pipelines.screen.summary import show_end, show_start

__all__ = ["is_notebook", "show_end", "show_forecast", "show_start", "watch"]
