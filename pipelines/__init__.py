"""What a person runs: the graphs, their options, the command line."""

__version__ = "0.1.0"
