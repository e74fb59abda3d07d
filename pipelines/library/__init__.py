"""earmark as a Python library: what `import earmark` offers, beside the command line."""

from earmark.pipelines.library.runs import carry_out

__all__ = ["carry_out"]
