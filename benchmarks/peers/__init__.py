"""Ways to score frames, each a process that is asked for one round after another."""
