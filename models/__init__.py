"""Everything about a model: where it comes from, what it says of itself, scoring frames."""
