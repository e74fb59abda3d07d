"""What a person sees of a run and of a model."""

from earmark.pipelines.screen.forecast import show_forecast
from earmark.pipelines.screen.model_facts import facts, show_facts
from earmark.pipelines.screen.progress import is_notebook, watch
from earmark.pipelines.screen.summary import show_end, show_start

__all__ = ["facts", "is_notebook", "show_end", "show_facts", "show_forecast", "show_start", "watch"]
