"""The stages of the pipeline, a file each, and the pure functions that do their work."""
