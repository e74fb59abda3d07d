"""What a person runs: the graphs, their options, the command line."""
